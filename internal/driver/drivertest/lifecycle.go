package drivertest

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/pctconf"
)

const description = "Kölner Golden: 100%\nsecond line"

// lifecycle restores two guests at the same time, the first with every option,
// and takes them to their end. Its parts depend on each other, so the first
// that fails for good ends it.
func (s *suite) lifecycle(t *testing.T) {
	h, ctx := s.Hypervisor, t.Context()
	full, plain := s.take(t), s.take(t)
	onBoot, swap := false, 64
	spec := s.spec()
	spec.Hostname, spec.Description = "conform-a", description
	spec.Cores, spec.MemoryMiB, spec.SwapMiB, spec.OnBoot = 1, 512, &swap, &onBoot
	spec.Net = dualStack(s.Bridge)

	var errs [2]error
	seen := &watch{}
	var restores sync.WaitGroup
	restores.Go(func() { errs[0] = h.Restore(ctx, full, spec, seen.progress) })
	restores.Go(func() { errs[1] = h.Restore(ctx, plain, s.spec(), nil) })
	restores.Wait()
	no(t, "restore", errors.Join(errs[:]...))
	seen.check(t)

	t.Run("restored", func(t *testing.T) { s.restored(t, full, plain) })
	t.Run("taken", func(t *testing.T) { s.taken(t, full) })
	t.Run("mount of a stopped guest", func(t *testing.T) { s.mountStopped(t, full) })
	source := s.directory(t, "before-start")
	no(t, "attach", h.Attach(ctx, full, driver.Mount{Source: source, Target: "/etc/felhom-bootstrap", ReadOnly: true}))
	no(t, "start", h.Start(ctx, full))
	t.Run("running", func(t *testing.T) { s.running(t, full, source) })
	if t.Failed() {
		return
	}
	no(t, "shutdown", h.Shutdown(ctx, full, grace))
	t.Run("stopped again", func(t *testing.T) { s.stoppedAgain(t, full) })
	no(t, "attach", h.Attach(ctx, full, driver.Mount{Source: source, Target: "/mnt"}))
	no(t, "destroy", h.Destroy(ctx, full))
	s.absent(t, full)
	want(t, "destroy again", h.Destroy(ctx, full), driver.ErrNotFound)
	if data, err := os.ReadFile(filepath.Join(source, "before-start")); err != nil || string(data) != "before-start" {
		t.Errorf("the mounted directory after destroy: %q, %v", data, err)
	}
	s.state(t, plain, driver.Stopped)
}

// watch holds what a Progress was told.
type watch struct {
	mu    sync.Mutex
	calls [][2]int64
}

func (w *watch) progress(done, total int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, [2]int64{done, total})
}

func (w *watch) check(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	var last int64
	for _, c := range w.calls {
		if done, total := c[0], c[1]; done < last || done < 0 || total != 0 && done > total {
			t.Errorf("progress %d of %d after %d", done, total, last)
		}
		last = c[0]
	}
	if len(w.calls) == 0 {
		t.Error("progress was told nothing")
	}
}

// dualStack is an interface with every part that a guest can be given.
func dualStack(bridge string) driver.Net {
	return driver.Net{
		Bridge: bridge, MTU: 1400,
		IP: pctconf.Fixed(netip.MustParsePrefix("192.0.2.10/24")), Gateway: netip.MustParseAddr("192.0.2.1"),
		IP6: pctconf.Fixed(netip.MustParsePrefix("2001:db8::10/64")), Gateway6: netip.MustParseAddr("fe80::1"),
	}
}

func (s *suite) restored(t *testing.T, full, plain int) {
	a, b := s.guest(t, full), s.guest(t, plain)
	got := a
	got.Net.MAC = ""
	conf, err := s.Hypervisor.ArchiveConfig(t.Context(), s.Archive)
	no(t, "pct.conf", err)
	config, _ := pctconf.Parse(conf)
	archived, _, err := config.Net(0)
	no(t, "net0 of the archive", err)
	want := archived.With(dualStack(s.Bridge)) // its firewall flag, say, stays
	if d := cmp.Diff(driver.Guest{
		VMID: full, State: driver.Stopped, Hostname: "conform-a", Description: description, Root: s.Root,
		Net: want,
	}, got, cmp.Comparer(func(x, y netip.Prefix) bool { return x == y }), cmp.Comparer(func(x, y netip.Addr) bool { return x == y })); d != "" {
		t.Errorf("the guest with every option (-want +got):\n%s", d)
	}
	if b.State != driver.Stopped || b.Partial || b.Hostname == "" || b.Net.Bridge != s.Bridge || b.Net.IP.Word != pctconf.DHCP {
		t.Errorf("the guest with the archive's own settings is %+v", b)
	}
	for _, mac := range []string{a.Net.MAC, b.Net.MAC} {
		if !strings.HasPrefix(mac, "BC:24:11:") || len(mac) != len("BC:24:11:00:00:00") {
			t.Errorf("MAC %q, want one that begins BC:24:11", mac)
		}
	}
	if a.Net.MAC == b.Net.MAC {
		t.Errorf("both guests have the MAC %s", a.Net.MAC)
	}
	nets, err := s.Hypervisor.Networks(t.Context())
	if nets[full] != a.Net || nets[plain] != b.Net || err != nil {
		t.Errorf("networks are %v, %v, want those of both guests", nets, err)
	}
	for _, g := range []driver.Guest{a, b} {
		nics, err := s.Hypervisor.Interfaces(t.Context(), g.VMID)
		if len(nics) != 1 || nics[0].Net != g.Net || !slices.Contains(nics[0].Ports, driver.PortName(g.VMID, 0)) || err != nil {
			t.Errorf("interfaces of guest %d are %+v, %v, want that of the guest with its port", g.VMID, nics, err)
		}
	}
	usage, err := s.Hypervisor.Storage(t.Context(), full)
	if err == nil && (len(usage) == 0 || usage[0].Path != "/" || usage[0].Size <= 0) {
		t.Errorf("storage of a stopped guest: %v", usage)
	}
}

// taken holds the guest's number against everything that could overwrite it.
func (s *suite) taken(t *testing.T, vmid int) {
	h, before := s.Hypervisor, s.guest(t, vmid)
	other := s.spec()
	other.Hostname = "conform-other"
	want(t, "restore", h.Restore(t.Context(), vmid, other, nil), driver.ErrExists)
	want(t, "discard", h.Discard(t.Context(), vmid, s.Storage), driver.ErrExists)
	no(t, "check", h.Check(t.Context(), vmid, s.spec()))
	if after := s.guest(t, vmid); after.Hostname != before.Hostname || after.Net.MAC != before.Net.MAC {
		t.Errorf("guest changed from %+v to %+v", before, after)
	}
	want(t, "shutdown", h.Shutdown(t.Context(), vmid, grace), driver.ErrNotRunning)
}

func (s *suite) mountStopped(t *testing.T, vmid int) {
	h, ctx := s.Hypervisor, t.Context()
	m := driver.Mount{Source: s.directory(t, "first"), Target: "/mnt/conform", ReadOnly: true}
	mac := s.guest(t, vmid).Net.MAC
	for _, what := range []string{"attach", "attach again"} {
		no(t, what, h.Attach(ctx, vmid, m))
		s.mounts(t, vmid, m)
	}
	m.Source, m.ReadOnly = s.directory(t, "second"), false
	no(t, "attach another source", h.Attach(ctx, vmid, m))
	s.mounts(t, vmid, m)

	link := filepath.Join(s.Dir(t), "link")
	no(t, "symlink", os.Symlink(m.Source, link))
	for what, bad := range map[string]driver.Mount{
		"source that is not there":        {Source: filepath.Join(m.Source, "gone"), Target: "/mnt/bad"},
		"source that is a link":           {Source: link, Target: "/mnt/bad"},
		"source below a link":             {Source: filepath.Join(link, "x"), Target: "/mnt/bad"},
		"source that is a file":           {Source: filepath.Join(m.Source, "second"), Target: "/mnt/bad"},
		"source that is relative":         {Source: "mnt", Target: "/mnt/bad"},
		"target that is relative":         {Source: m.Source, Target: "mnt/bad"},
		"target that leaves":              {Source: m.Source, Target: "/mnt/../../bad"},
		"target that is the root":         {Source: m.Source, Target: "/"},
		"source with a comma":             {Source: m.Source + ",ro=0", Target: "/mnt/bad"},
		"target with a comma":             {Source: m.Source, Target: "/mnt/bad,ro=0"},
		"target with a line break":        {Source: m.Source, Target: "/mnt/bad\nlxc.idmap: u"},
		"target that is not a clean path": {Source: m.Source, Target: "/mnt//bad"},
		"source that has a line break":    {Source: m.Source + "\nx", Target: "/mnt/bad"},
		"source that is not a clean path": {Source: m.Source + "/.", Target: "/mnt/bad"},
	} {
		want(t, what, h.Attach(ctx, vmid, bad), driver.ErrRefused)
	}
	s.mounts(t, vmid, m)

	for _, what := range []string{"detach", "detach again"} {
		no(t, what, h.Detach(ctx, vmid, m.Target))
		s.mounts(t, vmid)
	}
	if got := s.guest(t, vmid).Net.MAC; got != mac {
		t.Errorf("the mounts changed the MAC from %s to %s", mac, got)
	}
}

// mounts compares the guest's mounts; what is shared is for clusters, which
// not every hypervisor has.
func (s *suite) mounts(t *testing.T, vmid int, want ...driver.Mount) {
	t.Helper()
	got := slices.Clone(s.guest(t, vmid).Mounts)
	for i := range got {
		got[i].Shared = false
	}
	if len(got) != len(want) || !slices.Equal(got, want) {
		t.Errorf("mounts %+v, want %+v", got, want)
	}
}

func (s *suite) running(t *testing.T, vmid int, source string) {
	h, ctx := s.Hypervisor, t.Context()
	s.state(t, vmid, driver.Running)
	s.sees(t, vmid, "/etc/felhom-bootstrap/before-start", true)
	want(t, "start again", h.Start(ctx, vmid), driver.ErrRunning)
	want(t, "destroy", h.Destroy(ctx, vmid), driver.ErrRunning)
	s.state(t, vmid, driver.Running)

	first := driver.Mount{Source: source, Target: "/etc/felhom-bootstrap", ReadOnly: true}
	second := driver.Mount{Source: s.directory(t, "hotplugged"), Target: "/mnt/conform", ReadOnly: true}
	for _, what := range []string{"attach", "attach again"} {
		no(t, what, h.Attach(ctx, vmid, second))
		s.mounts(t, vmid, first, second)
	}
	s.sees(t, vmid, "/mnt/conform/hotplugged", true)

	third := driver.Mount{Source: s.directory(t, "third"), Target: second.Target, ReadOnly: true}
	want(t, "attach another source", h.Attach(ctx, vmid, third), driver.ErrPending)
	s.mounts(t, vmid, first, second)
	s.sees(t, vmid, "/mnt/conform/hotplugged", true)
	no(t, "attach what is there", h.Attach(ctx, vmid, second)) // the refused change left nothing behind

	no(t, "detach what is not there", h.Detach(ctx, vmid, "/mnt/nothing"))
	err := h.Detach(ctx, vmid, second.Target)
	if err == nil {
		s.mounts(t, vmid, first)
		s.sees(t, vmid, "/mnt/conform/hotplugged", false)
	} else {
		want(t, "detach", err, driver.ErrPending)
	}

	usage, err := h.Storage(ctx, vmid)
	no(t, "storage", err)
	if len(usage) == 0 || usage[0].Path != "/" || usage[0].Size <= 0 || usage[0].Used < 0 || usage[0].Used > usage[0].Size {
		t.Errorf("storage %v, want the root file system first", usage)
	}
}

func (s *suite) sees(t *testing.T, vmid int, path string, want bool) {
	t.Helper()
	if s.Sees != nil && s.Sees(t, vmid, path) != want {
		t.Errorf("guest %d has %s is %v, want %v", vmid, path, !want, want)
	}
}

// stoppedAgain: what Detach left for the next stop is done by then.
func (s *suite) stoppedAgain(t *testing.T, vmid int) {
	h, ctx := s.Hypervisor, t.Context()
	s.state(t, vmid, driver.Stopped)
	want(t, "shutdown again", h.Shutdown(ctx, vmid, grace), driver.ErrNotRunning)
	for _, target := range []string{"/mnt/conform", "/etc/felhom-bootstrap"} {
		no(t, "detach", h.Detach(ctx, vmid, target))
	}
	s.mounts(t, vmid)
}
