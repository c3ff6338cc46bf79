//go:build integration

package registry_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/e2e/host"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

const largeBytes = 160 << 20

// pushLarge adds a layer to the upstream's image that takes some time to pull.
func (u *upstream) pushLarge(t testing.TB, size int64) {
	t.Helper()
	ref, err := name.ParseReference(u.host + "/" + repository + ":v1")
	if err != nil {
		t.Fatal(err)
	}
	access := remote.WithTransport(&authorized{trusting(t, u.ca), u})
	image, err := remote.Image(ref, access)
	if err != nil {
		t.Fatal(err)
	}
	layer, err := random.Layer(size, "application/vnd.docker.image.rootfs.diff.tar")
	if err != nil {
		t.Fatal(err)
	}
	if image, err = mutate.AppendLayers(image, layer); err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, image, access); err != nil {
		t.Fatal(err)
	}
}

// TestTheDaemonIsRestartedDuringAPull ends the daemon when a part of a layer has
// gone through, and starts it again a moment later. The guest's run must end
// with a healthy controller, and the daemon's memory must stay small.
func TestTheDaemonIsRestartedDuringAPull(t *testing.T) {
	s := newScene(t, false)
	t.Cleanup(func() { _ = s.daemon.StopAnyway() }) // the one that was started last
	for _, c := range []struct {
		name   string
		signal unix.Signal
	}{{"SIGTERM", unix.SIGTERM}, {"SIGKILL", unix.SIGKILL}} {
		t.Run(c.name, func(t *testing.T) {
			s.pushLarge(t, largeBytes)
			ended := make(chan error, 1)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() { ended <- s.restartWhileSending(ctx, c.signal) }()
			out, err := s.apply(t)
			cancel()
			if restart := <-ended; restart != nil {
				t.Fatalf("%v\n%s", restart, out)
			}
			if err != nil {
				t.Fatalf("%v\n%s\n%s", err, out, s.daemon.Tail())
			}
			container, err := s.bed.Engine(t).ContainerInspect(t.Context(), controller)
			if err != nil || container.State.Health == nil || container.State.Health.Status != "healthy" {
				t.Errorf("%+v, %v, want a healthy controller\n%s", container.State, err, out)
			}
			if peak := s.peakMB(t); peak > 64 {
				t.Errorf("the daemon took %.0f MB", peak)
			} else {
				t.Logf("the daemon took %.0f MB", peak)
			}
			s.forget(t)
		})
	}
}

// forget removes the container and the image from the engine.
func (s *scene) forget(t testing.TB) {
	t.Helper()
	engine := s.bed.Engine(t)
	if err := engine.Remove(t.Context(), controller); err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{s.host, s.agent} {
		if err := engine.RemoveImage(t.Context(), host+"/"+repository+":v1"); err != nil && !strings.Contains(err.Error(), "No such image") {
			t.Fatal(err)
		}
	}
}

// restartWhileSending ends the daemon with a signal once it has sent an eighth of
// the large layer, and starts it again.
func (s *scene) restartWhileSending(ctx context.Context, signal unix.Signal) error {
	logged, err := os.ReadFile(filepath.Join(s.dir, "agentd.log")) // of earlier pulls
	if err != nil {
		return err
	}
	before, err := written(s.daemon.PID())
	if err != nil {
		return err
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		now, err := written(s.daemon.PID())
		if err != nil {
			return err
		}
		// It writes to the guest and into its cache.
		if now-before > 2*largeBytes/8 {
			break
		}
		select {
		case <-ctx.Done():
			return errors.New("the run ended before the daemon was restarted")
		case <-tick.C:
		}
	}
	if err := unix.Kill(s.daemon.PID(), signal); err != nil {
		return err
	}
	_ = s.daemon.StopAnyway() // it was ended by a signal, which is reported
	log, err := os.ReadFile(filepath.Join(s.dir, "agentd.log"))
	if err != nil {
		return err
	}
	if isWhole := regexp.MustCompile(fmt.Sprintf(`"bytes":%d\d*,.*"msg":"pull"`, largeBytes/10_000_000)).Match(log[len(logged):]); isWhole {
		return errors.New("the large layer was sent before the daemon ended")
	}
	if s.daemon, err = testbed.StartDaemon("felhom-agentd", exec.CommandContext(context.WithoutCancel(ctx), filepath.Join(s.programs, "felhom-agentd"), "--config", filepath.Join(s.dir, "agentd.yaml"), "serve", "--log-level", "debug"), filepath.Join(s.dir, "agentd.log")); err != nil {
		return err
	}
	ready, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	return s.daemon.Wait(ready, host.Healthy(filepath.Join(s.dir, "h.sock")))
}

// written returns how many bytes a process has written, to sockets too.
func written(pid int) (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if text, ok := strings.CutPrefix(line, "wchar: "); ok {
			return strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		}
	}
	return 0, errors.New("the kernel does not say it")
}
