package pct_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/drivertest"
	"github.com/felhom/felhom-golden/internal/driver/pct"
	"github.com/felhom/felhom-golden/internal/driver/pct/pcttest"
	"github.com/felhom/felhom-golden/internal/leaktest"
)

func TestMain(m *testing.M) {
	os.Exit(leaktest.Run(pcttest.Tests{M: m}))
}

const goldenConfig = pcttest.Config

var day = time.Unix(1750000000, 0)

// archive writes an archive with this pct.conf into the node's storage local.
// cut drops the end of it.
func archive(t testing.TB, n *pcttest.Node, name, config string, cut int) string {
	t.Helper()
	return n.AddArchive(name, config, cut)
}

func write(t testing.TB, n *pcttest.Node, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(n.Dir("local/dump"), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// bare is a tar without pct.conf.
func bare(t testing.TB, n *pcttest.Node, name string) string {
	t.Helper()
	return bareAt(t, filepath.Join(n.Dir("local/dump"), name))
}

func bareAt(t testing.TB, path string) string {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := errors.Join(w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755, Format: tar.FormatPAX}), w.Close()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const golden = "vzdump-lxc-9100-2026_01_02-03_04_05.tar.zst"

// newDriver returns a node with the golden image on it, and the driver of it.
func newDriver(t testing.TB) (*pcttest.Node, *pct.Driver) {
	t.Helper()
	return newDriverOf(t, 10*time.Second)
}

// newDriverOf gives the clean-up of a restore less time or more.
func newDriverOf(t testing.TB, clean time.Duration) (*pcttest.Node, *pct.Driver) {
	t.Helper()
	n := pcttest.New(t)
	archive(t, n, golden, goldenConfig, 0)
	o := options(n)
	o.Clean = clean
	return n, open(t, o)
}

// options name the stand-in's programs and files.
func options(n *pcttest.Node) pct.Options {
	return pct.Options{
		Pct: n.Bin("pct"), Pvesh: n.Bin("pvesh"), Pvesm: n.Bin("pvesm"), DpkgQuery: n.Bin("dpkg-query"),
		Node: pcttest.NodeName, NetDir: n.Dir("net"), PVEDir: n.Dir("etc/pve"), UnixSockets: n.Dir(pcttest.UnixSockets),
		TaskFile: n.Dir(pcttest.TaskFile), LXCDir: n.Dir("var/lib/lxc"), MountInfo: n.Dir(pcttest.MountInfo), Unmount: n.Unmount, LocalDir: n.Dir("local"),
		Poll: 5 * time.Millisecond, Settle: 50 * time.Millisecond, HA: 30 * time.Second, Clean: 10 * time.Second,
	}
}

func open(t testing.TB, o pct.Options) *pct.Driver {
	t.Helper()
	d, err := pct.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func spec() driver.Spec {
	return driver.Spec{Archive: "local:backup/" + golden, Storage: "local-lvm", Net: driver.Net{Bridge: "vmbr0"}}
}

func TestConforms(t *testing.T) {
	drivertest.RunHypervisor(t, func(t *testing.T) drivertest.HypervisorBed {
		n, d := newDriver(t)
		vmid := 8200
		return drivertest.HypervisorBed{
			Hypervisor: d, Archive: n.Dir("local/dump/" + golden), Storage: "local-lvm", Bridge: "vmbr0",
			Truncated:   archive(t, n, "vzdump-lxc-9100-short.tar.zst", goldenConfig, 40),
			NoConfig:    bare(t, n, "vzdump-lxc-9100-bare.tar"),
			VMID:        func() int { vmid++; return vmid },
			MakePartial: func(_ *testing.T, vmid int) { n.MakePartial(vmid) },
			Sees:        func(_ *testing.T, vmid int, path string) bool { return n.Sees(vmid, path) },
		}
	})
}
