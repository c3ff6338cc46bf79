package provision_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/agentd/internal/configmount"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
)

// kill runs a job that ends as a killed process does where arm says so with
// die: without an undo.
func (r *rig) kill(t *testing.T, arm func(r *rig, die func())) {
	t.Helper()
	r.killWork(t, arm, func() {
		_, err := r.Apply(t.Context(), job())
		t.Errorf("the run was not killed: %v", err)
	})
}

func (r *rig) killWork(t *testing.T, arm func(r *rig, die func()), work func()) {
	t.Helper()
	observer := r.Observer
	arm(r, runtime.Goexit)
	done := make(chan struct{})
	go func() {
		defer close(done)
		work()
	}()
	<-done
	r.Observer = observer
}

func atStep(step string) func(*rig, func()) {
	return func(r *rig, die func()) { r.Observer = &onEnd{steps: r.steps, step: step, do: die} }
}

func atCall(method string) func(*rig, func()) {
	return func(r *rig, die func()) { r.hv.Kill(method, die) }
}

// Killed at every point where something has changed: the same command finishes
// it, and a removal leaves nothing.
func TestKilled(t *testing.T) {
	cases := []struct {
		name string
		at   func(*rig, func())
	}{
		{"after the check", atStep("check done")},
		{"after the token", atStep("token done")},
		{"after the mount", atStep("mount done")},
		{"in the restore", atCall("Restore")},
		{"after the restore", atStep("restore done")},
		{"in the attach", atCall("Attach")},
		{"after the attach", atStep("attach done")},
		{"in the start", atCall("Start")},
		{"after the start", atStep("start done")},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			want := provision.Finished
			if c.name == "after the check" {
				want = provision.Provisioned // nothing was started
			}
			r := newRig(t)
			r.kill(t, c.at)
			r.apply(t, job(), want)
			r.isWhole(t, driver.Running)
			r.apply(t, job(), provision.Unchanged)

			r = newRig(t)
			r.kill(t, c.at)
			_, err := r.Remove(t.Context(), vmid, true)
			if want == provision.Provisioned {
				wantError(t, err, fault.Invalid, "guest list", "knows no guest")
			} else if err != nil {
				t.Error(err)
			}
			if left := r.left(t); len(left) > 0 {
				t.Errorf("left after the removal: %v", left)
			}
		})
	}
}

// The run after an interrupted one fails: what either has made goes.
func TestKilledAndThenFailing(t *testing.T) {
	for name, spoil := range map[string]func(*rig){
		"check":   func(r *rig) { r.hv.Fail("Check", errBroken) },
		"restore": func(r *rig) { r.hv.Fail("Restore", errBroken) },
		"start":   func(r *rig) { r.hv.Fail("Start", errBroken) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.kill(t, atCall("Restore"))
			spoil(r)
			if _, err := r.Apply(t.Context(), job()); !errors.Is(err, errBroken) {
				t.Errorf("error %v", err)
			}
			if left := r.left(t); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestKilledAndThenAskedOtherwise(t *testing.T) {
	r := newRig(t)
	r.kill(t, atStep("restore done"))
	other := job()
	other.Spec.Hostname = "mail"
	_, err := r.Apply(t.Context(), other)
	wantError(t, err, fault.Invalid, "guest remove 8200", "hostname web and not mail")
	r.apply(t, job(), provision.Finished)
	r.isWhole(t, driver.Running)
}

func TestTakenByAnotherGuest(t *testing.T) {
	foreign := driver.Guest{VMID: vmid, State: driver.Running, Hostname: "foreign", Description: "felhom-agentd: provision by hand", Net: driver.Net{Bridge: "vmbr0"}}
	untouched := func(t *testing.T, r *rig, left ...string) {
		t.Helper()
		if d := cmp.Diff(foreign.Hostname, r.guest(t).Hostname); d != "" || r.guest(t).State != driver.Running {
			t.Errorf("their guest is now %+v", r.guest(t))
		}
		if d := cmp.Diff(append([]string{"guest 8200"}, left...), r.left(t)); d != "" {
			t.Errorf("what exists (-want +got):\n%s", d)
		}
	}
	t.Run("from the start", func(t *testing.T) {
		r := newRig(t)
		r.hv.Put(foreign)
		_, err := r.Apply(t.Context(), job())
		wantError(t, err, fault.Invalid, "guest add 8200", "guest 8200 (foreign)", "already", "felhom-agentd did not make it")
		untouched(t, r)
	})
	t.Run("a foreign partial guest", func(t *testing.T) {
		r := newRig(t)
		r.hv.MakePartial(vmid)
		_, err := r.Apply(t.Context(), job())
		wantError(t, err, fault.Invalid, "another VMID", "guest 8200: ")
		if d := cmp.Diff([]string{"guest 8200"}, r.left(t)); d != "" {
			t.Error(d)
		}
	})
	for _, at := range []string{"token done", "mount done", "restore done"} {
		t.Run("after a run that was killed: "+at, func(t *testing.T) {
			r := newRig(t)
			r.kill(t, atStep(at))
			r.hv.Put(foreign)
			_, err := r.Apply(t.Context(), job())
			wantError(t, err, fault.Invalid, "another VMID", "foreign")
			untouched(t, r)
		})
	}
	t.Run("half a guest after a kill before the restore", func(t *testing.T) {
		for _, again := range []func(*rig) error{
			func(r *rig) error { _, err := r.Apply(t.Context(), job()); return err },
			func(r *rig) error { _, err := r.Remove(t.Context(), vmid, true); return err },
		} {
			r := newRig(t)
			r.kill(t, atStep("mount done"))
			r.hv.MakePartial(vmid)
			_ = again(r) // the one refuses, the other removes what felhom-agentd made
			if d := cmp.Diff([]string{"guest 8200"}, r.left(t)); d != "" {
				t.Errorf("what exists (-want +got):\n%s", d)
			}
		}
	})
	t.Run("in the middle", func(t *testing.T) {
		r := newRig(t)
		r.Observer = &onEnd{steps: r.steps, step: "mount done", do: func() { r.hv.Put(foreign) }}
		_, err := r.Apply(t.Context(), job())
		if !errors.Is(err, driver.ErrExists) {
			t.Errorf("error %v", err)
		}
		untouched(t, r)
	})
}

func TestConverge(t *testing.T) {
	cases := []struct {
		name   string
		change func(*testing.T, *rig)
		job    func(*provision.Job)
		want   provision.Outcome
		calls  []string
	}{
		{name: "as it should be", want: provision.Unchanged},
		{
			name: "stopped", want: provision.Started, calls: []string{"Start 8200"},
			change: func(t *testing.T, r *rig) { no(t, r.hv.Shutdown(t.Context(), vmid, 0)) },
		},
		{
			name: "mount detached", want: provision.Updated, calls: []string{"Attach 8200"},
			change: func(t *testing.T, r *rig) { no(t, r.hv.Detach(t.Context(), vmid, configmount.Target)) },
		},
		{
			name: "mount removed", want: provision.Updated,
			change: func(t *testing.T, r *rig) { no(t, r.Mounts.Remove(vmid)) },
		},
		{
			name: "another image", want: provision.Updated,
			job: func(j *provision.Job) { j.Image = "registry.example/controller:v2" },
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r, j := newRig(t), job()
			r.apply(t, j, provision.Provisioned)
			before, _ := r.inMount(t)
			if c.change != nil {
				c.change(t, r)
			}
			if c.job != nil {
				c.job(&j)
			}
			done := len(r.hv.Calls())
			r.apply(t, j, c.want)
			if d := cmp.Diff(c.calls, r.hv.Calls()[done:]); c.calls != nil && d != "" {
				t.Errorf("calls (-want +got):\n%s", d)
			}
			r.isWhole(t, driver.Running)
			if _, image := r.inMount(t); j.Image != "" && image != j.Image {
				t.Errorf("image %q in the mount, want %q", image, j.Image)
			}
			r.isValid(t, before)
			r.apply(t, j, provision.Unchanged)
		})
	}
}

func no(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestConvergeRefuses(t *testing.T) {
	r := newRig(t)
	r.apply(t, job(), provision.Provisioned)
	other := job()
	other.Spec.Hostname, other.Spec.Net.Bridge = "mail", "vmbr1"
	_, err := r.Apply(t.Context(), other)
	wantError(t, err, fault.Invalid, "leave those options out", "hostname web and not mail, bridge vmbr0 and not vmbr1")
	r.isWhole(t, driver.Running)
}

// An update that fails is done by the next run: the record does not name what
// the mount does not.
func TestUpdateThatFails(t *testing.T) {
	r, j := newRig(t), job()
	r.apply(t, j, provision.Provisioned)
	tok, _ := r.inMount(t)
	before, err := r.store.Get(vmid)
	no(t, err)
	j.Image = "registry.example/controller:v2"
	r.Bootstrap = func(vmid int, asked provision.Asked) (contract.Bootstrap, error) {
		boot, err := bootstrap(vmid, asked)
		boot.ControllerImage = contract.ImageRef{}
		return boot, err
	}
	if _, err := r.Apply(t.Context(), j); err == nil {
		t.Fatal("no error")
	}
	after, err := r.store.Get(vmid)
	if d := cmp.Diff(before, after); d != "" || err != nil {
		t.Errorf("error %v, record (-before +after):\n%s", err, d)
	}
	r.isValid(t, tok)
	r.Bootstrap = bootstrap
	r.apply(t, j, provision.Updated)
	if _, image := r.inMount(t); image != j.Image {
		t.Errorf("image %q, want %q", image, j.Image)
	}
}

func TestJournal(t *testing.T) {
	r := newRig(t)
	r.kill(t, atStep("token done"))
	file := filepath.Join(r.StateDir, "provision/8200.json")
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Fatalf("journal: %v, %v", info, err)
	}
	if data, err := os.ReadFile(file); err != nil || strings.Contains(string(data), "fgt_") {
		t.Errorf("the journal holds a token, or %v:\n%s", err, data)
	}
	_, err := provision.Claim(t.Context(), r.StateDir, vmid)
	wantError(t, err, fault.Invalid, "provision --vmid 8200 finishes it", "interrupted")
	no(t, os.WriteFile(file, []byte("{}"), 0o600))
	_, err = r.Apply(t.Context(), job())
	wantError(t, err, fault.Invalid, "look at guest, record and mount yourself", file+" is not a journal of guest 8200")
	_, err = r.Remove(t.Context(), vmid, true)
	wantError(t, err, fault.Invalid, "look at", file)
}

// The first write of a journal that was killed leaves nothing that a later command
// knows the guest by, so each command on the guest removes it first.
func TestTemporaryFileOfAJournal(t *testing.T) {
	for name, command := range map[string]func(r *rig) error{
		"provision": func(r *rig) error { _, err := r.Apply(t.Context(), job()); return err },
		"remove": func(r *rig) error {
			if _, err := r.Remove(t.Context(), vmid, true); !errors.Is(err, provision.ErrKnownNothing) {
				return fmt.Errorf("want an unknown guest, got %w", err)
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			file := filepath.Join(r.StateDir, "provision/.8200.json.ABCDEFGH.tmp")
			no(t, os.MkdirAll(filepath.Dir(file), 0o700))
			no(t, os.WriteFile(file, []byte("{"), 0o600))
			no(t, command(r))
			if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("after it: %v", err)
			}
		})
	}
}

func TestRemove(t *testing.T) {
	t.Run("unknown", func(t *testing.T) {
		_, err := newRig(t).Remove(t.Context(), vmid, false)
		if !errors.Is(err, provision.ErrKnownNothing) {
			t.Errorf("error %v", err)
		}
		wantError(t, err, fault.Invalid, "guest list shows those it knows", "guest 8200")
	})
	t.Run("running", func(t *testing.T) {
		r := newRig(t)
		r.apply(t, job(), provision.Provisioned)
		_, err := r.Remove(t.Context(), vmid, false)
		wantError(t, err, fault.Invalid, "--force", "guest 8200 (web)", "running")
		r.isWhole(t, driver.Running)
		got, err := r.Remove(t.Context(), vmid, true)
		if left := r.left(t); err != nil || !got.Guest || !got.Record || len(left) > 0 {
			t.Errorf("removed %+v, error %v, left %v", got, err, left)
		}
	})
	t.Run("not created here", func(t *testing.T) {
		r := newRig(t)
		r.add(t)
		r.hv.Put(driver.Guest{VMID: vmid, State: driver.Running})
		got, err := r.Remove(t.Context(), vmid, false)
		if d := cmp.Diff([]string{"guest 8200"}, r.left(t)); err != nil || got.Guest || !got.Record || d != "" {
			t.Errorf("removed %+v, error %v, what exists:\n%s", got, err, d)
		}
	})
	t.Run("made again by hand", func(t *testing.T) {
		r := newRig(t)
		r.apply(t, job(), provision.Provisioned)
		r.hv.Put(driver.Guest{VMID: vmid, State: driver.Stopped})
		if got, err := r.Remove(t.Context(), vmid, true); err != nil || got.Guest || len(r.hv.VMIDs()) != 1 {
			t.Errorf("removed %+v, error %v", got, err)
		}
	})
	t.Run("reports", func(t *testing.T) {
		r := newRig(t)
		r.apply(t, job(), provision.Provisioned)
		r.report(t, report("run1", contract.StepRun, contract.StateDone))
		_, err := r.Remove(t.Context(), vmid, true)
		left := slices.DeleteFunc(r.left(t), func(name string) bool {
			return strings.HasPrefix(name, "state/reports/log") // the daemon's, which continues
		})
		if err != nil || len(left) > 0 {
			t.Errorf("error %v, left %v", err, left)
		}
	})
	for _, method := range []string{"Shutdown", "Destroy"} {
		t.Run("killed in "+method, func(t *testing.T) {
			r := newRig(t)
			r.apply(t, job(), provision.Provisioned)
			r.killWork(t, atCall(method), func() { _, _ = r.Remove(context.WithoutCancel(t.Context()), vmid, true) })
			_, err := r.Apply(t.Context(), job())
			wantError(t, err, fault.Invalid, "guest remove 8200 finishes it", "removal was interrupted")
			if _, err := r.Remove(t.Context(), vmid, false); err != nil {
				t.Error(err)
			}
			if left := r.left(t); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}
