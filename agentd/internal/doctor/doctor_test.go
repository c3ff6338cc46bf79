package doctor

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/api"
	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/configmount"
	"github.com/felhom/felhom-golden/agentd/internal/goldenid"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/guests/gueststest"
	"github.com/felhom/felhom-golden/agentd/internal/origin"
	"github.com/felhom/felhom-golden/agentd/internal/overview"
	"github.com/felhom/felhom-golden/internal/checks"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/lxc"
)

// The faults that agentd's own table cannot make on a test's machine.
func TestFaultsOfAHost(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ids := filepath.Join(t.TempDir(), "subid")
	if err := os.WriteFile(ids, []byte("root:100000:1000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	row := func(r overview.Row) func(*Options) {
		return func(o *Options) {
			o.Store = &guests.Store{}
			o.Rows = func(context.Context) ([]overview.Row, map[string]error, error) { return []overview.Row{r}, nil, nil }
		}
	}
	for _, c := range []struct {
		name, check string
		fault       func(*Options)
		want        checks.Result
		reason      string
	}{
		{"well", "clock", func(*Options) {}, checks.OK, "synchronised"},
		{"clock runs free", "clock", func(o *Options) { o.Clock = func() (bool, error) { return false, nil } }, checks.Warning, "not synchronised"},
		{"no clock", "clock", func(o *Options) { o.Clock = func() (bool, error) { return false, errors.New("adjtimex") } }, checks.Unknown, "adjtimex"},
		{"ids that root may not map", "id-ranges", func(o *Options) { o.IDRanges = func() error { return lxc.CheckSubIDs(ids, ids, 100000, 1<<16) } }, checks.Failed, ids},
		{"ids that root may map", "id-ranges", func(o *Options) { o.IDRanges = func() error { return lxc.CheckSubIDs(ids, ids, 100000, 1000) } }, checks.OK, "root may map"},
		{"tokens from everywhere", "origin", func(o *Options) { o.Config.Origin = config.OriginOff }, checks.Warning, "off"},
		{"tokens are observed", "origin", withOrigin(config.OriginObserve, &api.HealthOrigin{Checked: 3}), checks.Warning, "is logged and accepted"},
		{"a token from elsewhere", "origin", withOrigin(config.OriginObserve, &api.HealthOrigin{Checked: 3, Mismatches: map[origin.Reason]uint64{origin.OtherPort: 2}}), checks.Warning, "2 of 3"},
		{"no tables", "origin", withOrigin(config.OriginObserve, nil), checks.Warning, "nothing is looked at"},
		{"tokens are enforced", "origin", withOrigin(config.OriginEnforce, &api.HealthOrigin{Checked: 3}), checks.OK, "3 requests"},
		{"public address", "exposure", func(o *Options) { o.Config.Listen = []netip.AddrPort{netip.MustParseAddrPort("8.8.8.8:8443")} }, checks.Warning, "public"},
		{"public address of IPv6", "exposure", withListen("[2606:4700::1]:8443"), checks.Warning, "public"},
		{"address of documentation", "exposure", withListen("192.0.2.1:8443"), checks.OK, "guests and hosts"},
		{"address of documentation, mapped", "exposure", withListen("[::ffff:203.0.113.7]:8443"), checks.OK, "guests and hosts"},
		{"address of documentation of IPv6", "exposure", withListen("[2001:db8::1]:8443"), checks.OK, "guests and hosts"},
		{"address of a test network", "exposure", withListen("198.19.0.1:8443"), checks.OK, "guests and hosts"},
		{"shared address", "exposure", withListen("100.100.1.2:8443"), checks.OK, "guests and hosts"},
		{"every address", "exposure", func(o *Options) { o.Config.Listen = []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:8443")} }, checks.Failed, "every network"},
		{"no address of all", "address", func(o *Options) { o.Config.Listen = []netip.AddrPort{netip.MustParseAddrPort("[::]:8443")} }, checks.Failed, "every interface"},
		{"private address", "exposure", func(o *Options) { o.Config.Listen = []netip.AddrPort{netip.MustParseAddrPort("10.1.2.3:8443")} }, checks.OK, "guests and hosts"},
		{"rules are gone", "firewall", func(o *Options) {
			o.Firewall = func(context.Context) []checks.Finding { return []checks.Finding{checks.Warn("apply", "gone")} }
		}, checks.Warning, "gone"},
		{"daemon is not ready", "daemon", func(o *Options) {
			o.Health = func(context.Context) (api.Health, error) { return api.Health{Listen: []string{"127.0.0.1:8443"}}, nil }
		}, checks.Failed, "not ready"},
		{"hypervisor hangs", "hypervisor", func(o *Options) {
			o.Hypervisor = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		}, checks.Unknown, "did not answer"},
		{"audit log hangs", "audit", func(o *Options) { o.Audit = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() } }, checks.Unknown, "in time"},
		{"golden image of next year", "golden", func(o *Options) {
			o.Config.Provision.Golden = "local:backup/vzdump-lxc-9100-2027_01_01-00_00_00.tar.zst"
		}, checks.Warning, "future"},
		{"golden image of today", "golden", func(o *Options) {
			o.Config.Provision.Golden = "local:backup/vzdump-lxc-9100-2026_03_01-00_00_00.tar.zst"
		}, checks.OK, "0 days old"},
		{"golden image of yesterday", "golden", func(o *Options) {
			o.Config.Provision.Golden = "local:backup/vzdump-lxc-9100-2026_02_28-00_00_00.tar.zst"
		}, checks.OK, "1 day old"},
		{"golden image of the day before", "golden", func(o *Options) {
			o.Config.Provision.Golden = "local:backup/vzdump-lxc-9100-2026_02_27-00_00_00.tar.zst"
		}, checks.OK, "2 days old"},
		{"guests of older golden images", "golden", func(o *Options) {
			o.Config.Provision.Golden = "local:backup/vzdump-lxc-9100-2026_03_01-00_00_00.tar.zst"
			o.Rows = func(context.Context) ([]overview.Row, map[string]error, error) {
				return []overview.Row{{Guest: 8200, GoldenAge: goldenid.Older}, {Guest: 8201, GoldenAge: goldenid.Same}, {Guest: 8202, GoldenAge: goldenid.Older}}, nil, nil
			}
		}, checks.Warning, "2 of 3 guests were made from an older golden image: 8200, 8202"},
		{"volume that is not an archive", "golden", func(o *Options) { o.Config.Provision.Golden = "local:backup/x" }, checks.Failed, "archive name"},
		{"guest that is silent", "guests", row(overview.Row{Guest: 8200, State: "running", Added: now.Add(-time.Hour)}), checks.Failed, "has not reported"},
		{"guest that is new", "guests", row(overview.Row{Guest: 8200, State: "running", Added: now}), checks.OK, "1 are known"},
		{"guest that is stopped", "guests", row(overview.Row{Guest: 8200, State: "stopped", Added: now.Add(-time.Hour)}), checks.OK, "1 are known"},
		{"guest that is gone", "guests", row(overview.Row{Guest: 8200, State: overview.Gone, Added: now.Add(-time.Hour)}), checks.Warning, "no such guest"},
		{"guest without a token", "guests", row(overview.Row{Guest: 8200, State: "running", Ended: "its config mount is damaged", Added: now.Add(-time.Hour)}), checks.Failed, "mount is damaged"},
		{"guest that was revoked", "guests", row(overview.Row{Guest: 8200, Revoked: true, Added: now.Add(-time.Hour)}), checks.OK, "1 are known"},
		{"guest that is partial", "guests", row(overview.Row{Guest: 8200, Unfinished: true}), checks.Warning, "interrupted"},
		{"no store", "mounts", func(o *Options) { o.StoreErr = errors.New("input/output error") }, checks.Unknown, "cannot be read"},
		{"store that cannot be opened", "store", func(o *Options) { o.StoreErr = errors.New("input/output error") }, checks.Failed, "input/output"},
	} {
		o := Options{
			File: "/etc/hostname", Config: config.Config{StateDir: t.TempDir(), Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:8443")}, Hypervisor: "pct"},
			Now: func() time.Time { return now }, Clock: func() (bool, error) { return true, nil }, NetDir: t.TempDir(),
			Health: func(context.Context) (api.Health, error) {
				return api.Health{Ready: true, Listen: []string{"127.0.0.1:8443"}}, nil
			},
		}
		c.fault(&o)
		var got []checks.Finding
		for _, check := range Checks(o) {
			if check.Name == c.check {
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				if !strings.Contains(c.name, "hangs") {
					ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
				}
				got = check.Look(ctx)
				cancel()
			}
		}
		if len(got) == 0 || got[0].Result != c.want || !strings.Contains(got[0].Reason, c.reason) {
			t.Errorf("%s: %s got %+v, want %s with %q", c.name, c.check, got, c.want, c.reason)
		}
	}
}

// In a store that nodes share, guests of other nodes have no mount here, and this
// node's hypervisor does not know them.
func TestDoctorSkipsGuestsOfOtherNodes(t *testing.T) {
	store, dir := gueststest.Open(t)
	if _, err := store.Mint(t.Context(), 8200, 100000, time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, isElsewhere := range []bool{false, true} {
		o := Options{
			Config: config.Config{StateDir: dir, MountsDir: filepath.Join(dir, "mounts")}, Now: time.Now, Store: store,
			Mounts:    configmount.New(filepath.Join(dir, "mounts"), configmount.OwnerHost),
			Root:      func(context.Context, int) (driver.IDs, error) { return driver.IDs{UID: 100000, GID: 100000}, nil },
			Elsewhere: func(vmid int) bool { return vmid == 8200 && isElsewhere },
			Rows: func(context.Context) ([]overview.Row, map[string]error, error) {
				return []overview.Row{{Guest: 8200, State: overview.Gone, Added: time.Now().Add(-time.Hour)}}, nil, nil
			},
		}
		for _, check := range Checks(o) {
			if check.Name != "mounts" && check.Name != "guests" {
				continue
			}
			got := check.Look(t.Context())
			if isFine := len(got) == 1 && got[0].Result == checks.OK; isFine != isElsewhere {
				t.Errorf("on another node: %t: %s reports %+v", isElsewhere, check.Name, got)
			}
		}
	}
}

func withListen(address string) func(*Options) {
	return func(o *Options) { o.Config.Listen = []netip.AddrPort{netip.MustParseAddrPort(address)} }
}

// Two checks need the rows, which ask the hypervisor for each guest: it is asked once.
func TestRowsAreReadOnce(t *testing.T) {
	var reads atomic.Int32
	o := Options{
		Now: time.Now, Store: &guests.Store{},
		Rows: func(context.Context) ([]overview.Row, map[string]error, error) {
			reads.Add(1)
			return []overview.Row{{Guest: 8200, GoldenAge: goldenid.Older}}, nil, nil
		},
	}
	o.Config.Provision.Golden = "local:backup/vzdump-lxc-9100-2026_03_01-00_00_00.tar.zst"
	var all sync.WaitGroup
	for _, check := range Checks(o) {
		if check.Name == "guests" || check.Name == "golden" {
			all.Go(func() {
				if got := check.Look(t.Context()); len(got) == 0 {
					t.Errorf("%s finds nothing", check.Name)
				}
			})
		}
	}
	all.Wait()
	if n := reads.Load(); n != 1 {
		t.Errorf("the rows were read %d times, want once", n)
	}
}

func withOrigin(mode string, seen *api.HealthOrigin) func(*Options) {
	return func(o *Options) {
		o.Config.Origin = mode
		o.Health = func(context.Context) (api.Health, error) { return api.Health{Ready: true, Origin: seen}, nil }
	}
}

// A directory in which nothing can be made is found by trying, not by its mode.
func TestWritable(t *testing.T) {
	if found := writable(t.TempDir()); len(found) != 0 && !strings.Contains(found[0].Reason, "MiB available") {
		t.Errorf("a good directory: %+v", found)
	}
	for _, dir := range []string{"/proc", filepath.Join(t.TempDir(), "none")} {
		if found := writable(dir); len(found) != 1 || found[0].Result != checks.Failed || found[0].Remedy == "" {
			t.Errorf("%s: %+v", dir, found)
		}
	}
}
