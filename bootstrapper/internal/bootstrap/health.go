package bootstrap

import (
	"time"

	"github.com/felhom/felhom-golden/internal/driver/docker"
)

// The engine's defaults for what an image's health test leaves out.
const (
	engineInterval = 30 * time.Second
	engineRetries  = 3
	// engineLeast is the shortest time that an engine accepts in a request. An image
	// from another tool may have less, such as 30 for seconds.
	engineLeast = time.Millisecond
)

// How often a health test runs while a controller starts.
const (
	oftenInterval = 200 * time.Millisecond // engines with a start interval
	slowInterval  = time.Second            // the same, if the image has a long grace
	onlyInterval  = 2 * time.Second        // engines before 25, without end
	longGrace     = 2 * time.Minute
)

// The limit of the ready step if nothing sets another one.
const (
	leastReadyWait = 2 * time.Minute
	mostReadyWait  = 24 * time.Hour // the image's value can be anything
	// readyMargin covers the last test: it runs when the grace is over.
	readyMargin = 30 * time.Second
)

// graceOf returns how long a container may be not ready by its image: the start
// period, and as many intervals as the test may fail. Nil means no health test.
func graceOf(image *docker.Health) time.Duration {
	if image == nil {
		return 0
	}
	interval, retries := image.Interval, image.Retries
	if interval < engineLeast {
		interval = engineInterval
	}
	if retries <= 0 {
		retries = engineRetries
	}
	period := min(max(image.StartPeriod, 0), mostReadyWait)
	if interval > mostReadyWait/time.Duration(retries) {
		return mostReadyWait
	}
	return min(period+interval*time.Duration(retries), mostReadyWait)
}

// readyLimit returns how long a controller may take to become ready if neither
// the command line nor the contract sets that: never less than the image allows.
func readyLimit(image *docker.Health) time.Duration {
	return max(leastReadyWait, min(graceOf(image)+readyMargin, mostReadyWait))
}

// schedule has the engine test a new container often while it starts, and not
// only after the image's whole interval (30 s by default). No test that fails
// within the image's grace counts.
func schedule(image *docker.Health, knowsStartInterval bool) *docker.Health {
	if image == nil {
		return nil
	}
	grace := graceOf(image)
	if knowsStartInterval {
		h := &docker.Health{StartPeriod: grace, StartInterval: oftenInterval}
		if grace > longGrace {
			h.StartInterval = slowInterval
		}
		if image.Interval > 0 && image.Interval < engineLeast {
			h.Interval = engineInterval
		}
		return h
	}
	// Engines before 25 have one interval only. 2 s finds a ready controller
	// soon and costs one short process each time.
	h := &docker.Health{StartPeriod: grace}
	if image.Interval < engineLeast || image.Interval > onlyInterval {
		h.Interval = onlyInterval
		// After the start as well, the test may fail for as long as the image
		// allows.
		h.Retries = max(1, int((grace-max(image.StartPeriod, 0)+onlyInterval-1)/onlyInterval))
	}
	return h
}
