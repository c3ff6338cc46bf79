package unpack_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/unpack"
)

// oddGuest fills root with what stretches the format: names and links of each
// length at which a field of the header ends, times before 1970 and far ahead,
// holes in every place, and names that programs stumble over.
func oddGuest(t *testing.T, root string) {
	t.Helper()
	file := func(name string, data []byte) {
		name = filepath.Join(root, name)
		must(t, errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, data, 0o644)))
	}
	for _, n := range []int{1, 91, 97, 98, 99, 100, 101, 150, 154, 155, 156, 254, 255} {
		file("names/"+strings.Repeat("a", n), []byte("x"))
		for _, prefix := range []int{97, 98, 99, 153, 154, 155} {
			file(strings.Repeat("p", prefix)+"/"+strings.Repeat("q", n), nil)
		}
		must(t, os.Symlink(strings.Repeat("l", n), filepath.Join(root, fmt.Sprintf("link%d", n))))
		must(t, os.Link(filepath.Join(root, "names", strings.Repeat("a", n)), filepath.Join(root, fmt.Sprintf("hard%d", n))))
	}
	file(strings.Repeat(strings.Repeat("d", 200)+"/", 18)+"deep", []byte("x"))
	must(t, os.Symlink(strings.Repeat("l", 4000), filepath.Join(root, "link4000")))
	must(t, os.Link(filepath.Join(root, "link4000"), filepath.Join(root, "hard4000")))
	for name, at := range map[string]time.Time{
		"before": time.Unix(-5, 0), "before-fraction": time.Unix(-6, 500_000_000), "least": time.Unix(-1<<31, 0), "fraction": time.Unix(1_700_000_000, 1),
		"after-2038": time.Unix(1<<31, 0), "after-2242": time.Unix(1<<33, 5), "after-2262": time.Unix(15_000_000_000, 999_999_999),
	} {
		for _, name := range []string{"time-" + name, "time-" + name + ".d/f"} {
			file(name, nil)
		}
		ts := unix.Timespec{Sec: at.Unix(), Nsec: int64(at.Nanosecond())}
		for _, name := range []string{"time-" + name, "time-" + name + ".d"} {
			must(t, unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(root, name), []unix.Timespec{ts, ts}, 0))
		}
	}
	for _, name := range []string{"line\nbreak", "bytes\xfc\xff", `back\slash`, "*?[x]", " blank", "blank ", "a=b", "-dash", "etc/vzdump/other", "dev.x", "..x", "x.."} {
		file("odd/"+name, []byte("x"))
		file("odd/"+name+".d/x", nil)
	}
	sparse := func(name string, size int64, at ...int64) {
		f, err := os.Create(filepath.Join(root, name))
		must(t, err)
		must(t, f.Truncate(size))
		for _, offset := range at {
			_, err := f.WriteAt(make([]byte, min(size-offset, 4096)), offset)
			must(t, err)
			_, err = f.WriteAt([]byte("data"), offset)
			must(t, err)
		}
		must(t, f.Close())
	}
	var many []int64
	for i := range int64(500) {
		many = append(many, i<<16)
	}
	sparse("hole", 5<<20)
	sparse("hole-at-end", 5<<20, 0)
	sparse("hole-at-start", 1<<20+4, 1<<20)
	sparse("holes-between", 5<<20, 0, 1<<20, 3<<20)
	sparse("many-holes", 500<<16, many...)
	sparse("hole-"+strings.Repeat("n", 150), 1<<20+4, 1<<20)
	must(t, unix.Setxattr(filepath.Join(root, "hole"), "user.a b", []byte("\x00\n="), 0))
	must(t, unix.Setxattr(filepath.Join(root, "hole"), "user.empty", nil, 0))
	must(t, unix.Setxattr(filepath.Join(root, "hole"), "user.large", []byte(strings.Repeat("v", 2000)), 0))
}

// TestTakesWhatVzdumpWrites packs a guest with the options of vzdump: the
// tree that comes out must be tar's.
func TestTakesWhatVzdumpWrites(t *testing.T) {
	root, conf := t.TempDir(), t.TempDir()
	must(t, os.Chmod(root, 0o755))
	oddGuest(t, root)
	must(t, os.MkdirAll(filepath.Join(conf, "etc/vzdump"), 0o755))
	must(t, os.WriteFile(filepath.Join(conf, "etc/vzdump/pct.conf"), []byte("arch: amd64\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(conf, "etc/vzdump/pct.fw"), nil, 0o644))
	flags := []string{
		"--one-file-system", "--sparse", "--numeric-owner", "--acls", "--xattrs", "--xattrs-include=user.*", "--xattrs-include=security.capability",
		"--warning=no-file-ignored", "--warning=no-xattr-write",
	}
	for _, packing := range []string{"--no-auto-compress", "--gzip", "--zstd"} {
		t.Run(packing, func(t *testing.T) {
			archive := filepath.Join(t.TempDir(), "a")
			create := append([]string{"-c", "-p", packing, "-f", archive}, flags...)
			tool(t, "tar", append(create, "--directory="+conf, "./etc/vzdump/pct.conf", "./etc/vzdump/pct.fw", "--directory="+root, ".")...)
			want, got := t.TempDir(), t.TempDir()
			extract := append([]string{"-x", "-p", packing, "-f", archive, "-C", want}, flags...)
			tool(t, "tar", append(extract, "--skip-old-files", "--anchored", "--exclude", "./dev/*")...)
			must(t, os.Remove(filepath.Join(want, "etc/vzdump/pct.conf")))
			_, err := unpack.Unpack(t.Context(), open(t, archive), got, unpack.Options{})
			must(t, err)
			if d := cmp.Diff(tree(t, want), tree(t, got)); d != "" {
				t.Error(d)
			}
		})
	}
}
