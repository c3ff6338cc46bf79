//go:build integration

package guest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/e2e/guest"
)

// row is what the test reads of guest list --json.
type row struct {
	Guest      int    `json:"guest"`
	Controller string `json:"controller"`
	Running    string `json:"running_image"`
	Message    string `json:"message"`
	Rollout    *struct {
		State  string `json:"state"`
		Failed int    `json:"failed"`
		Left   int    `json:"left"`
	} `json:"rollout"`
}

// rolled is what the test reads of guest rollout --json.
type rolled struct {
	State   string `json:"state"`
	Healthy int    `json:"healthy"`
	Guests  []struct {
		State   string `json:"state"`
		Outcome string `json:"outcome"`
	} `json:"guests"`
}

func (r rolled) states() string {
	text := r.State + ":"
	for _, g := range r.Guests {
		text += " " + g.State
	}
	return text
}

// dayTwo changes the images of two guests that run: to one that is ready, to one that
// is not, and by rollouts that stop, are killed, and continue.
func (o *own) dayTwo(t *testing.T) {
	first := strconv.Itoa(o.vmid[0])
	repository := o.bed.Registry + "/felhom/controller"
	for _, vmid := range o.vmid { // the limit is for what follows: the health test and the engine end what fails before
		out := o.agentd(t, "guest", "set", strconv.Itoa(vmid), "--image", repository+":v1", "--ready-wait", "3m")
		if !strings.Contains(out, ": up in ") {
			t.Fatalf("want the guest to be up, got %q", out)
		}
	}
	good := o.container(t, o.guest(o.vmid[0]))
	o.wantFailed(t, "still runs "+repository+":v1: ", "guest", "set-image", first, repository+":unhealthy")
	o.wantKept(t, repository+":v1", "its health test says")
	back, err := engineOf(t, o.guest(o.vmid[0])).ContainerInspect(t.Context(), "felhom-controller")
	if err != nil || !strings.HasPrefix(good, back.ID[:12]) || back.Config.Image != repository+":v1" {
		t.Fatalf("want the container before, %s, got %+v %v", good, back, err)
	}
	t.Run("reboot", func(t *testing.T) { o.rebootAfterRollback(t, repository) })
	t.Run("rollout", func(t *testing.T) { o.rollout(t, repository) })
}

// rebootAfterRollback: the same bootstrap.json at the next boot stops nothing.
func (o *own) rebootAfterRollback(t *testing.T, repository string) {
	g := o.guest(o.vmid[0])
	before := result(t, g)
	if err := o.driver.Shutdown(t.Context(), o.vmid[0], time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := o.driver.Start(t.Context(), o.vmid[0]); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	if err := guest.Poll(ctx, func() error {
		if r := result(t, g); r.Run == before.Run || r.ExitCode != 3 || !strings.HasPrefix(r.Message, "not tried again, because it was rolled back at ") {
			return fmt.Errorf("want another run that leaves the change alone, got %+v", r)
		}
		return nil
	}); err != nil {
		t.Fatalf("%v\n%s", err, journal(g))
	}
	o.wantKept(t, repository+":v1", "not tried again")
	c, err := engineOf(t, g).ContainerInspect(t.Context(), "felhom-controller")
	if err != nil || !c.State.Running || c.Config.Image != repository+":v1" {
		t.Errorf("after the boot: %+v %v", c, err)
	}
}

// rollout: the first guest fails, so the second is not touched; once the image is corrected under
// the same tag, --resume is killed after its first guest, and the next one ends it.
func (o *own) rollout(t *testing.T, repository string) {
	image := repository + ":day-two"
	if err := o.bed.TagImage(t.Context(), "exits", "day-two"); err != nil {
		t.Fatal(err)
	}
	untouched := o.container(t, o.guest(o.vmid[1]))
	var got rolled
	out := o.wantFailed(t, "1 failed, 1 not reached", "guest", "rollout", "--image", image, "--all", "--wave", "1", "--json")
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.states() != "stopped: failed pending" {
		t.Fatalf("want it to stop at the first guest, got %s %v", out, err)
	}
	if now := o.container(t, o.guest(o.vmid[1])); now != untouched {
		t.Errorf("the guest that was not reached had %s, and has %s", untouched, now)
	}
	if rows := o.rows(t); rows[0].Rollout == nil || rows[0].Rollout.State != "failed" || rows[1].Rollout == nil || rows[1].Rollout.State != "pending" || rows[1].Rollout.Left != 1 {
		t.Errorf("the list has %+v", rows)
	}
	if list := o.agentd(t, "guest", "list"); !strings.Contains(list, "rollout of "+image+": wave 2 of 2, 0 done, 1 failed, 1 left; it has stopped") {
		t.Errorf("want the rollout in\n%s", list)
	}

	if err := o.bed.TagImage(t.Context(), "v2", "day-two"); err != nil {
		t.Fatal(err)
	}
	if err := o.host.KillAndRestart(t.Context()); err != nil { // it keeps what a tag means for a minute
		t.Fatal(err)
	}
	o.killAfterFirst(t, "guest", "rollout", "--resume", "--json")
	done := o.container(t, o.guest(o.vmid[0]))
	out = o.agentd(t, "guest", "rollout", "--resume", "--json")
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.states() != "done: healthy healthy" {
		t.Fatalf("want it to end, got %s %v", out, err)
	}
	if now := o.container(t, o.guest(o.vmid[0])); now != done {
		t.Errorf("the guest that was done had %s, and has %s", done, now)
	}
	v2, err := o.bed.Image("v2")
	if err != nil {
		t.Fatal(err)
	}
	for _, vmid := range o.vmid {
		c, err := engineOf(t, o.guest(vmid)).ContainerInspect(t.Context(), "felhom-controller")
		if err != nil || c.Image != v2.ConfigDigest || !c.State.Running {
			t.Errorf("guest %d runs %+v %v, want %s", vmid, c, err, v2.ConfigDigest)
		}
	}
	if list := o.agentd(t, "guest", "list"); strings.Contains(list, "rollout") {
		t.Errorf("the rollout has ended, and is in\n%s", list)
	}
}

// killAfterFirst kills the command once it has said that a wave has ended.
func (o *own) killAfterFirst(t *testing.T, args ...string) {
	t.Helper()
	argv := o.host.Command(args...)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	isEnded := false
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		fmt.Fprintln(&said, lines.Text())
		if strings.HasPrefix(lines.Text(), "rollout: 1 healthy") {
			isEnded = true
			cancel()
		}
	}
	if err := cmd.Wait(); !isEnded || err == nil {
		t.Fatalf("want it to be killed after its first wave, got %v\n%s", err, said.String())
	}
}

// wantFailed wants a command to fail with words on stderr, and returns its stdout.
func (o *own) wantFailed(t *testing.T, words string, args ...string) string {
	t.Helper()
	var stderr strings.Builder
	argv := o.host.Command(args...)
	res, err := run.Run(t.Context(), run.Cmd{Path: argv[0], Args: argv[1:], Stderr: &stderr})
	if failed, ok := errors.AsType[*run.Error](err); !ok || failed.ExitCode != 1 || !strings.Contains(stderr.String(), words) {
		t.Fatalf("%v: want it to exit with 1 and %q, got %v\n%s", args, words, err, stderr.String())
	}
	return string(res.Stdout)
}

// rows returns the list of both guests.
func (o *own) rows(t *testing.T) []row {
	t.Helper()
	var rows []row
	out := o.agentd(t, "guest", "list", "--json")
	if err := json.Unmarshal([]byte(out), &rows); err != nil || len(rows) != 2 {
		t.Fatalf("%s: %v", out, err)
	}
	return rows
}

// wantKept wants guest list to say of the first guest that it still runs the image
// before, and why.
func (o *own) wantKept(t *testing.T, image, why string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := guest.Poll(ctx, func() error { // the last report may still be under way
		rows := o.rows(t)
		if rows[0].Controller != "failed" || rows[0].Running != image || !strings.Contains(rows[0].Message, why) {
			return fmt.Errorf("the list has %+v", rows)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if list := o.agentd(t, "guest", "list"); !strings.Contains(list, "still runs "+image+": ") || !strings.Contains(list, why) {
		t.Errorf("want what runs and %q in\n%s", why, list)
	}
}
