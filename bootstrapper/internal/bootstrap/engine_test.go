package bootstrap

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-golden/bootstrapper/internal/engineunit"
	"github.com/felhom/felhom-golden/internal/driver/docker"
	"github.com/felhom/felhom-golden/internal/fault"
)

// silent is an engine that holds each question, or refuses it at once.
type silent struct {
	began   time.Time
	refuses bool
	up      time.Duration // it answers after this; 0: never
}

func (s silent) Connect(ctx context.Context) (docker.Engine, error) {
	if s.up > 0 && time.Since(s.began) >= s.up {
		return docker.Engine{API: "1.45"}, nil
	}
	if !s.refuses {
		<-ctx.Done()
		return docker.Engine{}, ctx.Err()
	}
	return docker.Engine{}, &docker.FaultError{Op: "reach the engine", Kind: docker.EngineAbsent, Err: errors.New("connection refused")}
}

func (s silent) Subnets(context.Context) ([]docker.Subnet, error) { return nil, nil }

// TestFailedUnitIsNamedWithinSeconds guards against 90 s of silence that ended
// with "Is the docker daemon running?".
func TestFailedUnitIsNamedWithinSeconds(t *testing.T) {
	starts := engineunit.State{Text: "docker.service is activating (auto-restart)"}
	bare := engineunit.State{Failed: true, Text: "docker.service is failed"}
	quoted := engineunit.State{Failed: true, Text: "docker.service is failed: bad daemon.json", Quoted: true}
	for _, test := range []struct {
		name   string
		engine silent
		states []engineunit.State // one for each look, the last for all others; nil: no systemd
		most   time.Duration
		want   string // "": it came up
	}{
		{"refuses", silent{refuses: true}, []engineunit.State{quoted}, 4 * time.Second, "bad daemon.json"},
		{"holds the question", silent{}, []engineunit.State{starts, bare, quoted}, 5 * time.Second, "bad daemon.json"},
		{"without its words", silent{refuses: true}, []engineunit.State{bare}, 6 * time.Second, "docker.service is failed"},
		{"seems to fail while it starts", silent{refuses: true, up: 8 * time.Second}, []engineunit.State{quoted, starts, quoted, starts}, 10 * time.Second, ""},
		{"hangs", silent{refuses: true}, []engineunit.State{starts}, 91 * time.Second, "after 1m30s: reach the engine: connection refused; docker.service is activating"},
		{"no systemd", silent{refuses: true}, nil, 91 * time.Second, "after 1m30s: reach the engine: connection refused"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, looks := time.Now(), 0
				test.engine.began = began
				s := engineStep{engine: test.engine, limit: 90 * time.Second, unit: func(context.Context) (engineunit.State, error) {
					if test.states == nil {
						return engineunit.State{}, errors.New("no systemd")
					}
					looks++
					return test.states[min(looks, len(test.states))-1], nil
				}}
				_, err := s.run(t.Context(), func(string) {})
				took := time.Since(began)
				if took > test.most {
					t.Errorf("took %s, want at most %s", took, test.most)
				}
				if test.want == "" {
					if err != nil {
						t.Errorf("error %v, want it up", err)
					}
					return
				}
				if err == nil || !strings.Contains(err.Error(), test.want) || fault.Of(err) != fault.NotReady || !strings.Contains(fault.HintOf(err), "journalctl -u docker.service") {
					t.Errorf("error %v of class %s with hint %q, want %q and not ready", err, fault.Of(err), fault.HintOf(err), test.want)
				}
			})
		})
	}
}
