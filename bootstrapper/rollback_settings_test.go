package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/bootstrapper/internal/bootstrap"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver/docker/dockertest"
)

const (
	templateInMount = "etc/felhom-bootstrap/controller.yaml.tmpl"
	judgedImage     = testImage + "judged"
)

// judgedGuest has a controller that runs well with its settings, and as they say
// with others: "mode: unhealthy", or "MODE=unhealthy" in its environment.
func judgedGuest(t *testing.T) (g *guest, e *dockertest.Engine, first string) {
	t.Helper()
	g, e = fakeGuest(t)
	e.Push(judgedImage)
	e.Judge = func(config []byte) string {
		settings, err := os.ReadFile(filepath.Join(g.root, bootstrap.SettingsDir, bootstrap.SettingsFile))
		if err != nil {
			return "exits"
		}
		text := string(settings) + string(config)
		for _, how := range []string{"unhealthy", "starting", "exits"} {
			if strings.Contains(text, "mode: "+how) || strings.Contains(text, "MODE="+how) {
				return how
			}
		}
		return "healthy"
	}
	g.template("good")
	g.set("controller_image", judgedImage)
	g.want(0, nil)
	return g, e, wantRunning(t, e, "judged")
}

func (g *guest) template(mode string) {
	g.t.Helper()
	g.write(templateInMount, "mode: "+mode+"\nhub: {{quote .HubURL}}\ntoken: {{quote .Token}}\n")
}

func (g *guest) settings() string {
	g.t.Helper()
	data, err := os.ReadFile(filepath.Join(g.root, bootstrap.SettingsDir, bootstrap.SettingsFile))
	if err != nil {
		g.t.Fatal(err)
	}
	return string(data)
}

// changes are those of settings alone, and of settings with the image, that fail.
var changes = map[string]func(g *guest, mode string){
	"template": func(g *guest, mode string) { g.template(mode) },
	"template, and a value": func(g *guest, mode string) {
		g.template(mode)
		g.set("hub_url", "https://other-hub.example")
	},
	"environment, and a value": func(g *guest, mode string) {
		g.set("hub_url", "https://other-hub.example", "container", map[string]any{"environment": map[string]any{"MODE": mode}})
	},
	"image, and a value": func(g *guest, mode string) {
		g.set("hub_url", "https://other-hub.example", "controller_image", testImage+mode)
	},
	"everything": func(g *guest, mode string) {
		g.template(mode)
		g.set("hub_url", "https://other-hub.example", "controller_image", testImage+mode,
			"container", map[string]any{"environment": map[string]any{"MODE": mode}, "ports": []string{"9001:9001"}})
	},
}

// wantGood wants the controller of before, with its settings, and that it is ready.
func (g *guest) wantGood(e *dockertest.Engine, id, settings string) {
	g.t.Helper()
	if now := wantRunning(g.t, e, "judged"); now != id {
		g.t.Errorf("it is another container: %.12s, want %.12s", now, id)
	}
	if now := g.settings(); now != settings {
		g.t.Errorf("controller.yaml is\n%s\nwant\n%s", now, settings)
	}
	if kept := g.result().Kept; kept != judgedImage {
		g.t.Errorf("kept is %q: what was ready last is not ready now", kept)
	}
}

// A change of settings that fails is rolled back, container and controller.yaml, is
// tried once, and the host hears it.
func TestSettingsThatFailAreRolledBack(t *testing.T) {
	t.Parallel()
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			g, e, first := judgedGuest(t)
			before := g.settings()
			change(g, "unhealthy")
			g.want(3, []string{"runs again and is ready"}, "--ready-wait", "2m")
			g.wantGood(e, first, before)

			// A boot, and a second one.
			for range 2 {
				_ = e.Calls()
				said := g.want(3, []string{"not tried again, because it was rolled back at "})
				for _, call := range e.Calls() {
					if strings.HasSuffix(call, "/stop") || strings.HasSuffix(call, "/restart") || strings.HasSuffix(call, "/create") || strings.HasPrefix(call, "DELETE ") {
						t.Errorf("a later run does %s:\n%s", call, said)
					}
				}
				g.wantGood(e, first, before)
			}
			if last, want := g.host.last().Message, contract.StillRuns(judgedImage, "not tried again"); !strings.HasPrefix(last, want) {
				t.Errorf("the host hears %q, want it to begin with %q", last, want)
			}

			if _, _, text := g.doctor(); !strings.Contains(text, "ready last, because a change was rolled back at ") {
				t.Errorf("doctor does not say why controller.yaml is not that of now:\n%s", text)
			}

			// What is corrected is tried, and is what a later rollback returns to.
			change(g, "fine")
			g.set("controller_image", judgedImage, "host_id", "corrected")
			g.want(0, nil)
			second, corrected := wantRunning(t, e, "judged"), g.settings()
			if corrected == before {
				t.Errorf("controller.yaml is as before:\n%s", corrected)
			}
			g.template("exits")
			g.want(3, []string{"runs again and is ready"}, "--ready-wait", "2m")
			g.wantGood(e, second, corrected)
		})
	}
}

// A run that tried other settings was killed while it waited. The next one, with the
// same input, returns to the settings of before; one that fails before it comes to
// the controller does so too.
func TestSettingsOnTrialSurviveAKill(t *testing.T) {
	t.Parallel()
	for name, change := range changes {
		for next, spoil := range map[string]func(g *guest){
			"the same":      func(*guest) {},
			"no such image": func(g *guest) { g.set("controller_image", testImage+"missing") },
		} {
			t.Run(name+", then "+next, func(t *testing.T) {
				g, e, first := judgedGuest(t)
				before := g.settings()
				change(g, "starting")
				g.killInWait()
				spoil(g)
				if code, said := g.apply("--pull-patience", "1ms", "--ready-wait", "200ms"); code == 0 {
					t.Fatalf("the run succeeded:\n%s", said)
				}
				if next == "the same" {
					g.wantGood(e, first, before)
					return
				}
				// It may not be ready yet when the run ends, but it is to become so.
				wantRunning(t, e, "judged")
				if now := g.settings(); now != before {
					t.Errorf("controller.yaml is\n%s\nwant\n%s", now, before)
				}
				g.untilKept(judgedImage)
				g.wantGood(e, first, before)
			})
		}
	}
}

// killInWait ends a run as a kill does while it waits for the controller.
func (g *guest) killInWait() {
	g.t.Helper()
	g.host.mu.Lock()
	g.host.reports = nil // of the run before
	g.host.mu.Unlock()
	ctx, cancel := context.WithTimeout(g.t.Context(), 2*time.Minute)
	defer cancel()
	ended := g.start(ctx, "--ready-wait", "1h")
	for !g.hasReport(func(r contract.Report) bool { return r.Step == contract.StepReady }) && ctx.Err() == nil {
		<-time.After(time.Millisecond)
	}
	cancel()
	<-ended
}

// untilKept repeats the run, which fails, until it finds the controller of before ready.
func (g *guest) untilKept(image string) {
	g.t.Helper()
	for deadline := time.Now().Add(time.Minute); g.result().Kept != image; {
		if time.Now().After(deadline) {
			g.t.Fatalf("kept is %q, want %q", g.result().Kept, image)
		}
		_, _ = g.apply("--pull-patience", "1ms", "--ready-wait", "200ms")
	}
}

// A run was killed while it waited for a new controller, and the next one has a long
// pull: the controller of before runs meanwhile, and not one that is not ready.
func TestGoodControllerRunsDuringALongPull(t *testing.T) {
	g, e, first := judgedGuest(t)
	before := g.settings()
	g.template("starting")
	g.set("controller_image", testImage+"starting")
	g.killInWait()
	for range 20 {
		e.Fail("POST /images/create", 500, "Get \"https://reg.example/v2/\": net/http: TLS handshake timeout")
	}
	g.template("good")
	g.set("controller_image", testImage+"v2")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	ended := g.start(ctx, "--pull-patience", "1h")
	g.await(e, judgedImage, true, ended)
	if now := wantRunning(t, e, "judged"); now != first {
		t.Errorf("it is another container: %.12s, want %.12s", now, first)
	}
	if now := g.settings(); now != before {
		t.Errorf("controller.yaml is\n%s\nwant\n%s", now, before)
	}
	cancel()
	<-ended
}

// The controller of before ran during a pull, with its settings. The new one gets those
// of the host, though the run that was killed had written the same ones.
func TestSettingsAreWrittenAgainAfterAPull(t *testing.T) {
	g, e, _ := judgedGuest(t)
	g.template("starting")
	g.killInWait()
	tried := g.settings()
	g.set("controller_image", testImage+"v2")
	g.want(0, []string{"pulled"})
	wantRunning(t, e, "v2")
	if now := g.settings(); now != tried {
		t.Errorf("controller.yaml is\n%s\nwant\n%s", now, tried)
	}
}

// controller.yaml may have a MiB: as any other, it is kept, and put back.
func TestLargeSettingsAreRolledBack(t *testing.T) {
	g, e, first := judgedGuest(t)
	large := func(mode string) {
		g.write(templateInMount, "mode: "+mode+"\ntoken: {{quote .Token}}\nlist:\n{{range 50000}}- 0123456789\n{{end}}")
	}
	large("good")
	g.set("host_id", "large")
	g.want(0, nil)
	before := g.settings()
	g.want(0, nil)
	if last := g.host.last(); last.State != contract.StateDone {
		t.Errorf("the host hears of %s: %s", last.State, last.Message)
	}
	large("unhealthy")
	g.want(3, []string{"runs again and is ready"}, "--ready-wait", "2m")
	g.wantGood(e, first, before)
}
