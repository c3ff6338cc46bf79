package provision_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/agentd/internal/configmount"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/agentd/internal/token"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/drivertest"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/pin"
)

const (
	vmid    = 8200
	archive = "/srv/golden.tar.zst"
	pctConf = "arch: amd64\nhostname: golden\nnet0: name=eth0,bridge=vmbr0,ip=dhcp\nostype: debian\nunprivileged: 1\n"
)

// rig is a host with a real store and real mounts, and a hypervisor in memory.
type rig struct {
	provision.Options
	hv     *drivertest.FakeHypervisor
	store  *guests.Store
	faults *faults
	dir    string
	steps  *steps
}

// faults wraps the store and fails the methods that it is told to.
type faults struct {
	*guests.Store
	fail  map[string]error
	after map[string]int // how many calls go well first
}

func (f *faults) check(method string) error {
	if f.after[method] > 0 {
		f.after[method]--
		return nil
	}
	return f.fail[method]
}

func (f *faults) Get(vmid int) (guests.Record, error) {
	if err := f.check("Get"); err != nil {
		return guests.Record{}, err
	}
	return f.Store.Get(vmid)
}

func (f *faults) Mint(ctx context.Context, vmid, base int, overlap time.Duration) (guests.Minted, error) {
	if err := f.check("Mint"); err != nil {
		return guests.Minted{}, err
	}
	return f.Store.Mint(ctx, vmid, base, overlap)
}

func (f *faults) Update(ctx context.Context, vmid int, change func(*guests.Record) error) error {
	if err := f.check("Update"); err != nil {
		return err
	}
	return f.Store.Update(ctx, vmid, change)
}

func (f *faults) Replace(ctx context.Context, vmid int, old *guests.Record) error {
	if err := f.check("Replace"); err != nil {
		return err
	}
	return f.Store.Replace(ctx, vmid, old)
}

// steps is an observer that remembers what ended, and how.
type steps struct {
	ended []string
	notes []string
	bytes int64
}

func (s *steps) Started(int, provision.Step)                  {}
func (s *steps) Bytes(_ int, _ provision.Step, done, _ int64) { s.bytes = done }
func (s *steps) Note(_ int, step provision.Step, text string) {
	s.notes = append(s.notes, string(step)+": "+text)
}

func (s *steps) Ended(_ int, step provision.Step, r provision.StepResult) {
	s.ended = append(s.ended, string(step)+" "+r.Word)
}

func (r *rig) Apply(ctx context.Context, j provision.Job) (provision.Result, error) {
	return provision.New(r.Options).Provision(ctx, j)
}

func (r *rig) Remove(ctx context.Context, vmid int, force bool) (provision.Removed, error) {
	return provision.New(r.Options).Remove(ctx, vmid, force)
}

func (r *rig) Wait(ctx context.Context, vmid int, after string, limit time.Duration) error {
	return provision.New(r.Options).Wait(ctx, vmid, provision.Result{After: after}, limit)
}

func newRig(t *testing.T) *rig {
	t.Helper()
	dir := t.TempDir()
	store, err := guests.Open(filepath.Join(dir, "state/guests"), filepath.Join(dir, "state"), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &rig{hv: drivertest.NewFakeHypervisor("vmbr0"), store: store, dir: dir, steps: &steps{}}
	r.faults = &faults{Store: store, fail: map[string]error{}, after: map[string]int{}}
	r.hv.AddArchive(archive, drivertest.FakeArchive{Config: []byte(pctConf)})
	r.Options = provision.Options{
		Hypervisor: r.hv, Store: r.faults, Mounts: configmount.New(filepath.Join(dir, "mounts"), configmount.OwnerHost),
		StateDir: filepath.Join(dir, "state"), Overlap: time.Hour, Bootstrap: bootstrap, Observer: r.steps, Now: time.Now, Poll: 100 * time.Millisecond,
		Root: driver.IDs{UID: 100000, GID: 100000},
	}
	return r
}

func bootstrap(vmid int, asked provision.Asked) (contract.Bootstrap, error) {
	image := asked.Image
	endpoint, err := contract.ParseEndpoint("https://192.0.2.1:8443")
	if err != nil {
		return contract.Bootstrap{}, err
	}
	if image == "" {
		image = "registry.example/controller:v1"
	}
	ref, err := contract.ParseImageRef(image)
	return contract.Bootstrap{
		SchemaVersion: contract.SchemaVersion, HubURL: "https://hub.example", HostID: "demo", GuestID: vmid,
		LocalAPIEndpoint: endpoint, LocalAPIPins: pins, ControllerImage: ref,
	}, err
}

func job() provision.Job {
	return provision.Job{VMID: vmid, Spec: driver.Spec{Archive: archive, Hostname: "web", Net: driver.Net{Bridge: "vmbr0"}}, Start: true}
}

// inMount returns the token and the image in the guest's bootstrap.json.
func (r *rig) inMount(t *testing.T) (token.Token, string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(r.Mounts.Path(vmid), configmount.BootstrapFile))
	if err != nil {
		t.Fatal(err)
	}
	boot, findings := contract.Parse(data)
	if err := findings.Err(); err != nil {
		t.Fatal(err)
	}
	tok, err := token.Parse(boot.LocalAPIToken.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	return tok, boot.ControllerImage.String()
}

func (r *rig) isValid(t *testing.T, tok token.Token) {
	t.Helper()
	if _, err := r.store.Authenticate(tok); err != nil {
		t.Errorf("the token is of no use any more: %v", err)
	}
}

// left lists what exists of any guest but locks: nothing if all was undone.
func (r *rig) left(t *testing.T) []string {
	t.Helper()
	var list []string
	for _, v := range r.hv.VMIDs() {
		list = append(list, fmt.Sprint("guest ", v))
	}
	err := filepath.WalkDir(r.dir, func(path string, d os.DirEntry, err error) error {
		name, _ := filepath.Rel(r.dir, path)
		isOwn := strings.HasPrefix(name, "mounts/") || !d.IsDir() && filepath.Ext(name) != ".lock"
		if isOwn {
			list = append(list, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func (r *rig) apply(t *testing.T, j provision.Job, want provision.Outcome) provision.Result {
	t.Helper()
	got, err := r.Apply(t.Context(), j)
	if err != nil || got.Outcome != want {
		t.Fatalf("outcome %q, error %v, want %q", got.Outcome, err, want)
	}
	return got
}

func (r *rig) guest(t *testing.T) driver.Guest {
	t.Helper()
	g, err := r.hv.Guest(t.Context(), vmid)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// isWhole wants a finished guest: known, mounted, without a journal.
func (r *rig) isWhole(t *testing.T, state driver.State) {
	t.Helper()
	g := r.guest(t)
	record, err := r.store.Get(vmid)
	if err != nil {
		t.Fatal(err)
	}
	if record.Provisioned == nil || record.Provisioned.Golden != archive || len(record.Provisioned.ID) != 16 ||
		g.Description != "felhom-agentd: provision "+record.Provisioned.ID {
		t.Errorf("record says %+v, the guest %q", record.Provisioned, g.Description)
	}
	wantMounts := []driver.Mount{{Source: r.Mounts.Path(vmid), Target: "/etc/felhom-bootstrap", ReadOnly: true}}
	if d := cmp.Diff(wantMounts, g.Mounts); d != "" || g.State != state {
		t.Errorf("the guest is %s, want %s; mounts (-want +got):\n%s", g.State, state, d)
	}
	tok, _ := r.inMount(t)
	r.isValid(t, tok)
	if unfinished, err := provision.Unfinished(r.StateDir); err != nil || len(unfinished) > 0 {
		t.Errorf("unfinished: %v, %v", unfinished, err)
	}
}

func wantError(t *testing.T, err error, code fault.Kind, hint string, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q, want %q in it", err, text)
		}
	}
	if fault.Of(err) != code || !strings.Contains(fault.HintOf(err), hint) {
		t.Errorf("class %v, hint %q, want %v and %q in the hint", fault.Of(err), fault.HintOf(err), code, hint)
	}
}

func TestProvision(t *testing.T) {
	r := newRig(t)
	r.apply(t, job(), provision.Provisioned)
	r.isWhole(t, driver.Running)
	want := []string{"check done", "token done", "mount done", "restore done", "attach done", "start done"}
	if d := cmp.Diff(want, r.steps.ended); d != "" {
		t.Errorf("steps (-want +got):\n%s", d)
	}
	calls := []string{"Check 8200", "Restore 8200", "Attach 8200", "Start 8200"}
	if d := cmp.Diff(calls, r.hv.Calls()); d != "" {
		t.Errorf("calls of the hypervisor (-want +got):\n%s", d)
	}
	if r.steps.bytes == 0 {
		t.Error("the progress of the restore was not reported")
	}
	if g := r.guest(t); g.Hostname != "web" {
		t.Errorf("hostname %q, want web", g.Hostname)
	}
}

func TestNoStart(t *testing.T) {
	r, j := newRig(t), job()
	j.Start, j.Image = false, "registry.example/other:v2"
	r.apply(t, j, provision.Provisioned)
	r.isWhole(t, driver.Stopped)
	if _, image := r.inMount(t); image != j.Image {
		t.Errorf("image %q, want %q", image, j.Image)
	}
	r.apply(t, j, provision.Unchanged)
	r.isWhole(t, driver.Stopped)
}

var errBroken = errors.New("broken on purpose")

// Every way to fail, and whether a mint by guest add comes before: what is left
// is what was there.
func TestFailureLeavesNothing(t *testing.T) {
	store := func(method string, after int) func(*rig) {
		return func(r *rig) { r.faults.fail[method], r.faults.after[method] = errBroken, after }
	}
	hv := func(method string) func(*rig) { return func(r *rig) { r.hv.Fail(method, errBroken) } }
	cases := []struct {
		name   string
		spoil  func(*rig)
		undone bool
	}{
		{"bootstrap", func(r *rig) {
			r.Bootstrap = func(int, provision.Asked) (contract.Bootstrap, error) { return contract.Bootstrap{}, errBroken }
		}, false},
		{"check", hv("Check"), false},
		{"archive's configuration", hv("ArchiveConfig"), false},
		{"record unreadable", store("Get", 0), false},
		{"mint", store("Mint", 0), true},
		{"bootstrap.json that is not valid", func(r *rig) { r.Bootstrap = withoutImage }, false},
		{"mount", func(r *rig) { r.Mounts = full{r.Mounts} }, true},
		{"image into the record", store("Update", 0), true},
		{"restore", hv("Restore"), true},
		{"attach", hv("Attach"), true},
		{"record of the guest", store("Update", 1), true},
		{"start", hv("Start"), true},
	}
	for _, c := range cases {
		for _, before := range []bool{false, true} {
			name := c.name
			if before {
				name += " of a known guest"
			}
			t.Run(name, func(t *testing.T) {
				r := newRig(t)
				var old token.Token
				if before {
					old = r.add(t)
				}
				want := r.left(t)
				if c.name == "image into the record" && before {
					// What undoes it is an Update as well: it fails once.
					c.spoil = func(r *rig) { r.Store = &once{faults: r.faults} }
				}
				if c.name == "record of the guest" && before {
					c.spoil = func(r *rig) { r.Store = &once{faults: r.faults, skip: 1} }
				}
				c.spoil(r)
				_, err := r.Apply(t.Context(), job())
				if !errors.Is(err, errBroken) && c.name != "bootstrap.json that is not valid" || err == nil {
					t.Fatalf("error %v, want the cause in it", err)
				}
				if d := cmp.Diff(want, r.left(t)); d != "" {
					t.Errorf("what exists (-before +after):\n%s", d)
				}
				last := r.steps.ended[len(r.steps.ended)-1]
				if (last == "undo done") != c.undone {
					t.Errorf("the last step was %q", last)
				}
				if before {
					r.isValid(t, old)
					now, _ := r.inMount(t)
					r.isValid(t, now)
					if record, err := r.store.Get(vmid); err != nil || record.Provisioned != nil {
						t.Errorf("record %+v, %v", record, err)
					}
				}
			})
		}
	}
}

// full is mounts that take no file.
type full struct{ provision.Mounts }

func (full) Put(int, driver.IDs, string, []byte) error { return errBroken }

func withoutImage(vmid int, asked provision.Asked) (contract.Bootstrap, error) {
	boot, err := bootstrap(vmid, asked)
	boot.ControllerImage = contract.ImageRef{} // Encode refuses it
	return boot, err
}

// once fails one Update.
type once struct {
	*faults
	skip int
	did  bool
}

func (o *once) Update(ctx context.Context, vmid int, change func(*guests.Record) error) error {
	if o.skip > 0 {
		o.skip--
	} else if !o.did {
		o.did = true
		return errBroken
	}
	return o.faults.Update(ctx, vmid, change)
}

// add does what guest add does.
func (r *rig) add(t *testing.T) token.Token {
	t.Helper()
	if _, err := provision.New(r.Options).Register(t.Context(), vmid); err != nil {
		t.Fatal(err)
	}
	tok, _ := r.inMount(t)
	if err := r.store.MarkUsed(t.Context(), tok); err != nil {
		t.Fatal(err)
	}
	return tok
}

// Where the mount was not reached, or did not exist, no guest has the new token:
// the record is what it was, without an overlap that ends.
func TestFailureRestoresTheRecord(t *testing.T) {
	for name, spoil := range map[string]func(*rig){
		"mount not reached": func(r *rig) {
			r.Mounts = full{r.Mounts}
		},
		"no mount before": func(r *rig) {
			r.hv.Fail("Start", errBroken)
			if err := r.Mounts.Remove(vmid); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.add(t)
			spoil(r)
			before, err := r.store.Get(vmid)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.Apply(t.Context(), job()); err == nil {
				t.Fatal("no error")
			}
			after, err := r.store.Get(vmid)
			if d := cmp.Diff(before, after); d != "" || err != nil {
				t.Errorf("error %v, record (-before +after):\n%s", err, d)
			}
		})
	}
}

func TestInterruptedByTheUser(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	r.Observer = &onEnd{steps: r.steps, step: "mount done", do: cancel}
	_, err := r.Apply(ctx, job())
	wantError(t, err, fault.Interrupted, "")
	if left := r.left(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// onEnd does something when a step has ended.
type onEnd struct {
	*steps
	step string
	do   func()
}

func (o *onEnd) Ended(vmid int, step provision.Step, r provision.StepResult) {
	o.steps.Ended(vmid, step, r)
	if string(step)+" "+r.Word == o.step {
		o.do()
	}
}

func TestUndoThatFails(t *testing.T) {
	r := newRig(t)
	r.hv.Fail("Start", errBroken)
	r.hv.Fail("Destroy", errors.New("the disk is held"))
	_, err := r.Apply(t.Context(), job())
	if !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "undo: guest 8200: the disk is held") {
		t.Errorf("error %v, want the cause and what the undo met", err)
	}
	wantError(t, err, fault.Failed, "felhom-agentd guest remove --force 8200")
	if unfinished, err := provision.Unfinished(r.StateDir); err != nil || !unfinished[vmid] {
		t.Errorf("unfinished: %v, %v; want the guest", unfinished, err)
	}
	r.hv.Fail("Destroy", nil)
	if _, err := r.Remove(t.Context(), vmid, false); err != nil {
		t.Error(err)
	}
	if left := r.left(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

var pins = func() pin.Set {
	p, err := pin.ParseSPKI("uSSmg6cuEJj9CF7hiBdQ5OEJKOs0NszXJXjRNBwq8DM=")
	if err != nil {
		panic(err)
	}
	return pin.Set{p}
}()
