//go:build integration

package verify_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/golden/internal/seal"
	"github.com/felhom/felhom-golden/golden/internal/verify"
)

// A real Debian root from mmdebstrap: unsealed it is full of findings; sealed,
// only what stage and pack add is missing. The archive is made by GNU tar and
// zstd, in the way that vzdump makes one.
func TestRealDebianSealedAndVerified(t *testing.T) {
	work := t.TempDir()
	root := filepath.Join(work, "root")
	command(t, "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase",
		"--include=systemd,systemd-sysv,dbus,docker.io,iproute2,ca-certificates,iptables,ifupdown,dhcpcd-base", "trixie", root)
	config := filepath.Join(work, "config/etc/vzdump")
	if err := os.MkdirAll(config, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"pct.conf": good().data["etc/vzdump/pct.conf"], "pct.fw": ""} {
		if err := os.WriteFile(filepath.Join(config, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := rulesOf(verifyRoot(t, work)); !slices.Contains(got, "resolv-conf") || !slices.Contains(got, "host-name") || !slices.Contains(got, "device-nodes") {
		t.Errorf("before sealing: %q; want resolv-conf, host-name and device-nodes among them", got)
	}
	epoch := time.Now().Add(-24 * time.Hour)
	if _, err := seal.Apply(t.Context(), root, seal.Options{Epoch: epoch}); err != nil {
		t.Fatal(err)
	}
	again, err := seal.Apply(t.Context(), root, seal.Options{Epoch: epoch})
	if err != nil || len(again.Changes) != 0 {
		t.Errorf("second seal: %+v, %v; want no changes", again.Changes, err)
	}
	// Units, presets, masks and daemon.json are stage's; order and dialect pack's.
	others := []string{"first-boot-unit", "preset-closure", "masked-units", "guest-units", "docker", "apt-sources", "member-order", "times"}
	for _, f := range verifyRoot(t, work).Findings {
		if !slices.Contains(others, f.Rule) {
			t.Errorf("after sealing: %s %s: %s", f.Rule, f.Path, f.Message)
		}
	}
}

func rulesOf(r verify.Report) []string {
	var ids []string
	for _, f := range r.Findings {
		ids = append(ids, f.Rule)
	}
	return slices.Compact(ids)
}

// verifyRoot streams tar | zstd into verify, so that no archive is kept.
func verifyRoot(t *testing.T, work string) verify.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	tar := exec.CommandContext(ctx, "tar", "--format=posix", "--pax-option=delete=atime,delete=ctime", "--sort=name", "--numeric-owner", "--mtime=@1700000000",
		"--xattrs", "--xattrs-include=user.*", "--xattrs-include=security.capability", "-cf", "-",
		"-C", filepath.Join(work, "config"), "./etc/vzdump/pct.conf", "./etc/vzdump/pct.fw", "-C", filepath.Join(work, "root"), ".")
	zstd := exec.CommandContext(ctx, "zstd", "-q", "-3", "-c")
	var tarErr, zstdErr bytes.Buffer
	tar.Stderr, zstd.Stderr = &tarErr, &zstdErr
	pipe, err := tar.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	zstd.Stdin = pipe
	out, err := zstd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*exec.Cmd{tar, zstd} {
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
	}
	report, err := verify.Archive(ctx, out, archiveName, verify.Options{})
	if err != nil {
		t.Error(err)
	}
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Error(err)
	}
	for _, c := range []*exec.Cmd{zstd, tar} {
		if err := c.Wait(); err != nil {
			t.Fatalf("%v: %v\n%s", c.Args, err, c.Stderr)
		}
	}
	return report
}

func command(t *testing.T, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}
