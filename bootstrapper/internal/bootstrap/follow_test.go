package bootstrap

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-golden/internal/driver/docker"
	"github.com/felhom/felhom-golden/internal/fault"
)

// link is a store whose pulls go as the test says.
type link struct {
	imageStore
	pulls int
	pull  func(number int, report func(docker.Progress)) error
	has   bool
}

func (l *link) Pull(_ context.Context, _ string, _ docker.Credential, report func(docker.Progress)) error {
	l.pulls++
	err := l.pull(l.pulls, report)
	l.has = err == nil
	return err
}

func (l *link) Image(context.Context, string) (docker.Image, error) {
	if !l.has {
		return docker.Image{}, docker.ErrNotFound
	}
	return docker.Image{ID: "sha256:0", OS: "linux", Architecture: runtime.GOARCH}, nil
}

func stalled() error {
	return &docker.FaultError{Op: "pull reg.example/c:v1", Kind: docker.Stalled, Err: errors.New("no byte arrived for 2m0s")}
}

// overLink runs the step with the patience of five minutes.
func overLink(t *testing.T, l *link, bytes func(done, total int64)) (outcome, error) {
	t.Helper()
	s := imageStep{store: l, ref: mustRef(t, ref), preload: t.TempDir(), arch: runtime.GOARCH, patience: 5 * time.Minute}
	_, out, err := s.run(t.Context(), func(string) {}, bytes)
	return out, err
}

// TestAPullThatMovesIsTriedAgain: each pull moves a little, and is cut or stalls.
// Hours later one comes through.
func TestAPullThatMovesIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &link{pull: func(number int, report func(docker.Progress)) error {
			for i := range int64(10) {
				<-time.After(time.Minute)
				report(docker.Progress{Done: i, Total: 100, Moved: i + 1, Work: i + 1})
			}
			if number == 20 {
				return nil
			}
			<-time.After(docker.StallLimit)
			return stalled()
		}}
		began := time.Now()
		out, err := overLink(t, l, func(int64, int64) {})
		if err != nil || out.Message != "pulled" || l.pulls != 20 || time.Since(began) < 3*time.Hour {
			t.Errorf("%+v, %v after %d pulls and %v", out, err, l.pulls, time.Since(began))
		}
	})
}

// TestAPullThatMovesNothingEnds: layers that begin and give no byte do not count
// as movement. The end is one that a later run tries again.
func TestAPullThatMovesNothingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &link{pull: func(_ int, report func(docker.Progress)) error {
			report(docker.Progress{Work: 1})
			report(docker.Progress{Work: 2})
			<-time.After(docker.StallLimit)
			return stalled()
		}}
		began := time.Now()
		_, err := overLink(t, l, func(int64, int64) {})
		if fault.Of(err) != fault.NotReady || !strings.Contains(err.Error(), "no byte arrived") || fault.HintOf(err) == "" {
			t.Errorf("error %v of class %s, hint %q; want not-ready", err, fault.Of(err), fault.HintOf(err))
		}
		if took := time.Since(began); took > 15*time.Minute || l.pulls < 2 {
			t.Errorf("%d pulls in %v", l.pulls, took)
		}
	})
}

// TestSilenceOfAPullIsPassedOn: who watches hears of the same counters again.
func TestSilenceOfAPullIsPassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &link{pull: func(_ int, report func(docker.Progress)) error {
			report(docker.Progress{Done: 7, Total: 9, Moved: 7, Work: 1})
			<-time.After(time.Minute)
			return nil
		}}
		told := 0
		if _, err := overLink(t, l, func(done, total int64) {
			told++
			if done != 7 || total != 9 {
				t.Errorf("told of %d of %d bytes", done, total)
			}
		}); err != nil {
			t.Fatal(err)
		}
		if told < 50 {
			t.Errorf("told %d times within a minute", told)
		}
	})
}
