package bootstrap

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/internal/driver/docker"
)

// TestGraceIsNeverLessThanTheImageGives guards against a controller that needs 40 s
// and was rolled back for good: its test ran each 200 ms for 30 s and then, the
// image saying each 5 minutes, not within the limit.
func TestGraceIsNeverLessThanTheImageGives(t *testing.T) {
	const s, m = time.Second, time.Minute
	for name, image := range map[string]docker.Health{
		"nothing said":   {},
		"interval":       {Interval: 5 * m},
		"short interval": {Interval: s},
		"start period":   {StartPeriod: 10 * m, Interval: 10 * s},
		"retries":        {Interval: 10 * s, Retries: 30},
		"all":            {Interval: 45 * s, Retries: 5, StartPeriod: 90 * s, StartInterval: 5 * s},
		"huge":           {Interval: math.MaxInt64, Retries: math.MaxInt, StartPeriod: math.MaxInt64},
	} {
		t.Run(name, func(t *testing.T) {
			interval, retries := image.Interval, image.Retries
			if interval == 0 {
				interval = 30 * s
			}
			if retries == 0 {
				retries = 3
			}
			author := 24 * time.Hour
			if name != "huge" {
				author = image.StartPeriod + interval*time.Duration(retries)
			}
			if got := readyLimit(&image); got < author || got < 2*m || got > 24*time.Hour {
				t.Errorf("the limit is %s, the author gave %s", got, author)
			}
			for _, knows := range []bool{true, false} {
				h := *schedule(&image, knows)
				if h.StartPeriod < author {
					t.Errorf("start interval known %v: tests count after %s, the author gave %s", knows, h.StartPeriod, author)
				}
				often := h.StartInterval
				if !knows {
					if often = h.Interval; often == 0 {
						often = image.Interval
					}
				}
				if often <= 0 || often > 2*s {
					t.Errorf("start interval known %v: tested each %s", knows, often)
				}
				if h.Interval > 0 && name != "huge" && h.Interval*time.Duration(h.Retries) < interval*time.Duration(retries) {
					t.Errorf("unhealthy after %d times %s, the author gave %d times %s", h.Retries, h.Interval, retries, interval)
				}
			}
		})
	}
	if diff := cmp.Diff((*docker.Health)(nil), schedule(nil, true)); diff != "" || readyLimit(nil) != 2*m {
		t.Errorf("without a test: %s, limit %s", diff, readyLimit(nil))
	}
}

// TestOddHealthOfImages: other tools than engines write any numbers into an image,
// such as an interval of 30 that means seconds. Engines refuse times below 1 ms in
// what they are asked for, and not in what an image has.
func TestOddHealthOfImages(t *testing.T) {
	for name, image := range map[string]docker.Health{
		"nanoseconds":          {Interval: 30, Retries: 3, StartPeriod: 5},
		"one try":              {Interval: 1, Retries: 1},
		"overflow":             {Interval: 50 * time.Millisecond, Retries: 200_000_000_000},
		"overflow to positive": {Interval: 50 * time.Millisecond, Retries: 400_000_000_000},
		"negative":             {Interval: -1, Retries: -1, StartPeriod: -1},
	} {
		for _, knows := range []bool{true, false} {
			h := schedule(&image, knows)
			for _, d := range []time.Duration{h.Interval, h.StartPeriod, h.StartInterval} {
				if d < 0 || d > 0 && d < time.Millisecond {
					t.Errorf("%s, start interval known %v: engines refuse %+v", name, knows, *h)
				}
			}
			if h.StartPeriod == 0 || h.Retries < 0 || image.Interval > 0 && image.Interval < time.Millisecond && h.Interval == 0 {
				t.Errorf("%s, start interval known %v: %+v", name, knows, *h)
			}
		}
	}
}
