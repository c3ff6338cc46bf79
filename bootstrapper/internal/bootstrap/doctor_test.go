package bootstrap

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/checks"
)

// No test fills a disk of the machine that it runs on.
func TestJudgeDisk(t *testing.T) {
	const block, gib = 4096, 1 << 30
	for name, c := range map[string]struct {
		size, free    uint64
		files, inodes uint64
		want          checks.Result
		reason        string
	}{
		"room":            {8 * gib, 4 * gib, 1000, 900, checks.OK, "4096 of 8192 MiB"},
		"no inode count":  {8 * gib, 4 * gib, 0, 0, checks.OK, ""}, // btrfs
		"little":          {2 * gib, 400 << 20, 1000, 900, checks.Warning, "400 of 2048"},
		"a small share":   {100 * gib, 4 * gib, 1000, 900, checks.Warning, "4096"},
		"nothing":         {8 * gib, 0, 1000, 900, checks.Failed, "0 of 8192"},
		"few inodes":      {8 * gib, 4 * gib, 1000, 40, checks.Warning, "40 of 1000 inodes"},
		"no inode":        {8 * gib, 4 * gib, 1000, 0, checks.Failed, "no inode"},
		"small and empty": {256 << 20, 250 << 20, 1000, 900, checks.Warning, "250"},
	} {
		st := syscall.Statfs_t{Bsize: block, Blocks: c.size / block, Bavail: c.free / block, Files: c.files, Ffree: c.inodes}
		if got := judgeDisk("/", st); got.Result != c.want || !strings.Contains(got.Reason, c.reason) {
			t.Errorf("%s: %+v, want %s with %q", name, got, c.want, c.reason)
		}
	}
}

func TestJudgeClock(t *testing.T) {
	for ahead, want := range map[time.Duration]checks.Result{
		0: checks.OK, 4 * time.Second: checks.OK, -4 * time.Second: checks.OK, 6 * time.Second: checks.Warning, -time.Minute: checks.Warning,
		time.Hour: checks.Failed, -time.Hour: checks.Failed,
	} {
		if got := judgeClock(ahead); got[0].Result != want {
			t.Errorf("%s: %+v, want %s", ahead, got, want)
		}
	}
}
