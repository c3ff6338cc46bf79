package drivertest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/pctconf"
)

// HypervisorBed is one implementation of [driver.Hypervisor] under test, and
// what the suite needs around it.
type HypervisorBed struct {
	Hypervisor driver.Hypervisor

	Archive   string // a whole archive whose guest starts; pct.conf with hostname, unprivileged, nesting and net0
	Truncated string // one whose pct.conf can be read and whose tree ends early
	NoConfig  string // one without pct.conf
	Bridge    string // a bridge of this host
	Storage   string // Spec.Storage of all restores

	// VMID returns a number that no guest has, another one at each call.
	VMID func() int
	// Root is the mapped root that guests of Archive get; zero is 100000:100000.
	Root driver.IDs
	// Dir returns a new directory of the host without symbolic links in its path;
	// nil is a temporary directory that is readable by all users.
	Dir func(t *testing.T) string

	// MakePartial leaves what an interrupted Restore leaves. nil: the suite says
	// that it did not look at partial guests.
	MakePartial func(t *testing.T, vmid int)
	// Sees reports whether the running guest has a file at path. nil: the suite
	// believes what Guest says of mounts.
	Sees func(t *testing.T, vmid int, path string) bool
}

// grace is what a guest gets to shut down; the suite's guests need a second or two.
const grace = 30 * time.Second

// RunHypervisor runs the suite of [driver.Hypervisor]. A bed is made once: the
// tests share two guests, since a restore of a real archive takes seconds.
func RunHypervisor(t *testing.T, bed func(t *testing.T) HypervisorBed) {
	s := newSuite(bed(t))
	t.Run("archive", s.archive)
	t.Run("check", s.check)
	t.Run("unknown guest", s.unknown)
	t.Run("done context", s.done)
	t.Run("refused restore", s.refused)
	t.Run("interrupted restore", s.interrupted)
	if s.MakePartial != nil {
		t.Run("partial guest", s.partial)
	} else {
		t.Log("no MakePartial: partial guests were not looked at")
	}
	t.Run("two guests", s.lifecycle)
}

type suite struct{ HypervisorBed }

func newSuite(bed HypervisorBed) *suite {
	s := &suite{HypervisorBed: bed}
	if s.Root == (driver.IDs{}) {
		s.Root = driver.IDs{UID: 100000, GID: 100000}
	}
	if s.Dir == nil {
		s.Dir = publicDir
	}
	return s
}

// spec is the least that restores Archive on the bed.
func (s *suite) spec() driver.Spec {
	return driver.Spec{Archive: s.Archive, Storage: s.Storage, Net: driver.Net{Bridge: s.Bridge}}
}

// want fails unless err is each of the sentinels. Where the VMID matters, the
// text must name it: it may be the only trace that a user sees.
func want(t *testing.T, what string, err error, sentinels ...error) {
	t.Helper()
	for _, sentinel := range sentinels {
		if !errors.Is(err, sentinel) {
			t.Errorf("%s: error %v, want %q", what, err, sentinel)
		}
	}
}

// no fails at once when err is not nil.
func no(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// absent fails when there is anything of guest vmid.
func (s *suite) absent(t *testing.T, vmid int) {
	t.Helper()
	if g, err := s.Hypervisor.Guest(t.Context(), vmid); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("guest %d is left: %+v, %v", vmid, g, err)
	}
}

// take reserves a number and removes its guest when the test is over.
func (s *suite) take(t *testing.T) int {
	t.Helper()
	vmid := s.VMID()
	t.Cleanup(func() { s.remove(t, vmid) })
	return vmid
}

func (s *suite) remove(t *testing.T, vmid int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	g, err := s.Hypervisor.Guest(ctx, vmid)
	switch {
	case errors.Is(err, driver.ErrNotFound):
		return
	case g.Partial:
		err = s.Hypervisor.Discard(ctx, vmid, s.Storage)
	case err == nil:
		if g.State == driver.Running {
			err = s.Hypervisor.Shutdown(ctx, vmid, 0)
		}
		err = errors.Join(err, s.Hypervisor.Destroy(ctx, vmid))
	}
	if err != nil {
		t.Errorf("remove guest %d: %v", vmid, err)
	}
}

// guest returns what the hypervisor knows of a guest that must be there.
func (s *suite) guest(t *testing.T, vmid int) driver.Guest {
	t.Helper()
	g, err := s.Hypervisor.Guest(t.Context(), vmid)
	no(t, "guest", err)
	if g.VMID != vmid {
		t.Errorf("guest %d says it is %d", vmid, g.VMID)
	}
	return g
}

func (s *suite) state(t *testing.T, vmid int, want driver.State) {
	t.Helper()
	if got := s.guest(t, vmid).State; got != want {
		t.Errorf("guest %d is %s, want %s", vmid, got, want)
	}
	st, err := s.Hypervisor.Status(t.Context(), vmid)
	if err != nil || st.State != want {
		t.Errorf("status of guest %d is %+v, %v, want %s", vmid, st, err, want)
	}
}

// publicDir is a directory that a guest's root can reach: the directories above a
// test's own are 0700 or wider, never more closed.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	no(t, "temporary directory", err)
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// directory returns a directory of the host with one file in it.
func (s *suite) directory(t *testing.T, file string) string {
	t.Helper()
	dir := s.Dir(t)
	no(t, "write", os.WriteFile(filepath.Join(dir, file), []byte(file), 0o644))
	return dir
}

func (s *suite) archive(t *testing.T) {
	conf, err := s.Hypervisor.ArchiveConfig(t.Context(), s.Archive)
	no(t, "pct.conf of a whole archive", err)
	config, _ := pctconf.Parse(conf)
	if name, _ := config.Get("hostname"); name == "" {
		t.Errorf("no hostname in\n%s", conf)
	}
	if _, err := s.Hypervisor.ArchiveConfig(t.Context(), s.Truncated); err != nil {
		t.Errorf("pct.conf of a truncated archive: %v", err)
	}
	for _, path := range []string{s.NoConfig, s.Archive + ".gone.tar.zst"} {
		conf, err := s.Hypervisor.ArchiveConfig(t.Context(), path)
		want(t, path, err, driver.ErrArchive)
		if conf != nil || err != nil && !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %q, error %v without the archive's name", path, conf, err)
		}
	}
}

func (s *suite) check(t *testing.T) {
	h, vmid := s.Hypervisor, s.VMID()
	no(t, "good spec", h.Check(t.Context(), vmid, s.spec()))

	both := s.spec()
	both.Archive, both.Net.Bridge = s.NoConfig, noBridge
	want(t, "all findings at once", h.Check(t.Context(), vmid, both), driver.ErrArchive, driver.ErrNoBridge)

	gone := s.spec()
	gone.Archive += ".gone.tar.zst"
	bare := both
	bare.Archive = ""
	want(t, "the rest without an archive", h.Check(t.Context(), vmid, bare), driver.ErrNoBridge)
	want(t, "missing archive", h.Check(t.Context(), vmid, gone), driver.ErrArchive)
	s.absent(t, vmid)
}

const noBridge = "nobr0felhom"

func (s *suite) unknown(t *testing.T) {
	h, ctx, vmid := s.Hypervisor, t.Context(), s.VMID()
	usage, err := h.Storage(ctx, vmid)
	if usage != nil {
		t.Errorf("storage of an unknown guest: %v", usage)
	}
	_, guestErr := h.Guest(ctx, vmid)
	_, statusErr := h.Status(ctx, vmid)
	for what, err := range map[string]error{
		"storage": err, "guest": guestErr, "status": statusErr,
		"attach":   h.Attach(ctx, vmid, driver.Mount{Source: s.Dir(t), Target: "/mnt"}),
		"detach":   h.Detach(ctx, vmid, "/mnt"),
		"start":    h.Start(ctx, vmid),
		"shutdown": h.Shutdown(ctx, vmid, grace),
		"destroy":  h.Destroy(ctx, vmid),
	} {
		want(t, what, err, driver.ErrNotFound)
		if kind := fault.Of(err); kind != fault.NotFound {
			t.Errorf("%s: error %v of kind %q, want %q", what, err, kind, fault.NotFound)
		}
	}
	no(t, "discard of nothing", h.Discard(ctx, vmid, s.Storage))
}

func (s *suite) done(t *testing.T) {
	h, vmid := s.Hypervisor, s.take(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, storageErr := h.Storage(ctx, vmid)
	_, configErr := h.ArchiveConfig(ctx, s.Archive)
	_, guestErr := h.Guest(ctx, vmid)
	_, statusErr := h.Status(ctx, vmid)
	for what, err := range map[string]error{
		"storage": storageErr, "archive config": configErr, "guest": guestErr, "status": statusErr,
		"check":    h.Check(ctx, vmid, s.spec()),
		"restore":  h.Restore(ctx, vmid, s.spec(), nil),
		"discard":  h.Discard(ctx, vmid, s.Storage),
		"attach":   h.Attach(ctx, vmid, driver.Mount{Source: s.Dir(t), Target: "/mnt"}),
		"detach":   h.Detach(ctx, vmid, "/mnt"),
		"start":    h.Start(ctx, vmid),
		"shutdown": h.Shutdown(ctx, vmid, grace),
		"destroy":  h.Destroy(ctx, vmid),
	} {
		want(t, what, err, context.Canceled)
	}
	s.absent(t, vmid)
}

func (s *suite) refused(t *testing.T) {
	cases := []struct {
		name   string
		change func(*driver.Spec)
		want   error
	}{
		{"missing archive", func(sp *driver.Spec) { sp.Archive += ".gone.tar.zst" }, driver.ErrArchive},
		{"truncated archive", func(sp *driver.Spec) { sp.Archive = s.Truncated }, driver.ErrArchive},
		{"archive without pct.conf", func(sp *driver.Spec) { sp.Archive = s.NoConfig }, driver.ErrArchive},
		{"missing bridge", func(sp *driver.Spec) { sp.Net.Bridge = noBridge }, driver.ErrNoBridge},
		{"no hostname", func(sp *driver.Spec) { sp.Hostname = "under_score" }, driver.ErrRefused},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			vmid, spec := s.take(t), s.spec()
			c.change(&spec)
			want(t, "restore", s.Hypervisor.Restore(t.Context(), vmid, spec, nil), c.want)
			s.absent(t, vmid)
		})
	}
}

// interrupted cancels at the first sign of progress: not a killed process, so
// that nothing may be left.
func (s *suite) interrupted(t *testing.T) {
	vmid := s.take(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	want(t, "restore", s.Hypervisor.Restore(ctx, vmid, s.spec(), func(int64, int64) { cancel() }), context.Canceled)
	s.absent(t, vmid)
}

func (s *suite) partial(t *testing.T) {
	h, ctx, vmid := s.Hypervisor, t.Context(), s.take(t)
	s.MakePartial(t, vmid)
	if g := s.guest(t, vmid); !g.Partial || g.State != driver.Stopped {
		t.Errorf("partial guest is %+v", g)
	}
	s.state(t, vmid, driver.Stopped)
	want(t, "restore over it", h.Restore(ctx, vmid, s.spec(), nil), driver.ErrExists)
	want(t, "start", h.Start(ctx, vmid), driver.ErrPartial)
	want(t, "attach", h.Attach(ctx, vmid, driver.Mount{Source: s.Dir(t), Target: "/mnt"}), driver.ErrPartial)
	want(t, "destroy", h.Destroy(ctx, vmid), driver.ErrPartial)
	no(t, "discard", h.Discard(ctx, vmid, s.Storage))
	s.absent(t, vmid)
	no(t, "discard again", h.Discard(ctx, vmid, s.Storage))
	no(t, "restore in its place", h.Restore(ctx, vmid, s.spec(), nil))
	s.state(t, vmid, driver.Stopped)
}
