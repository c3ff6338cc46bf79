//go:build integration

package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// plain is this test's binary without the race detector, which takes several
// times the memory that is measured here, and without the test bed.
var plain = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "felhom-golden-memory-")
	if err != nil {
		return "", err
	}
	after = append(after, func() error { return os.RemoveAll(dir) })
	binary := filepath.Join(dir, "golden.test")
	if out, err := exec.Command("go", "test", "-c", "-o", binary, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go test -c: %w\n%s", err, out)
	}
	return binary, nil
})

// peakOf runs the program and returns the most memory that it had, in KiB.
func peakOf(t *testing.T, args ...string) int {
	t.Helper()
	binary, err := plain()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = []string{memoryEnv + "=1", "PATH=" + os.Getenv("PATH")} // no GOMEMLIMIT, no GOGC
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err = cmd.Run()
	_, after, ok := strings.Cut(stderr.String(), "\npeak ")
	peak, convErr := strconv.Atoi(strings.TrimSpace(after))
	if !ok || convErr != nil || cmd.ProcessState.ExitCode() > 7 {
		t.Fatalf("%q: %v\n%.2000s", args, err, stderr.String())
	}
	if testing.Verbose() {
		t.Logf("%d MiB, exit %d: %.300s", peak>>10, cmd.ProcessState.ExitCode(), strings.TrimSpace(stderr.String()))
	}
	return peak
}

// bomb writes members in one zstd stream with a window of 1 MiB.
type bomb struct {
	t   *testing.T
	tar *tar.Writer
	n   int
}

func (b *bomb) add(h tar.Header, data []byte) {
	b.t.Helper()
	h.Format, h.Size = tar.FormatPAX, int64(len(data))
	if h.Typeflag == tar.TypeDir {
		h.Name += "/"
	}
	h.Mode = 0o755
	err := b.tar.WriteHeader(&h)
	if err == nil {
		_, err = b.tar.Write(data)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// name returns another name of n bytes, in few directories.
func (b *bomb) name(n int) string {
	b.n++
	name := fmt.Sprintf("./%08x", uint32(b.n)*2654435761)
	for len(name) < n {
		name += strings.Repeat("n", min(n-len(name), 200)) + "/"
	}
	return strings.TrimSuffix(name, "/")
}

func bombFile(t *testing.T, path string, write func(*bomb)) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewWriter(f, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		t.Fatal(err)
	}
	b := &bomb{t: t, tar: tar.NewWriter(z)}
	conf := "arch: amd64\nrootfs: local:vm-1-disk-0,size=8G\n"
	b.add(tar.Header{Name: "./etc/vzdump/pct.conf"}, []byte(conf))
	write(b)
	if err := errors.Join(b.tar.Close(), z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// manyNeeded is a program with n libraries in its dynamic section, each with
// a name of 250 bytes.
func manyNeeded(n int) []byte {
	le := binary.LittleEndian
	h := make([]byte, 64+2*56)
	copy(h, "\x7fELF\x02\x01\x01")
	le.PutUint16(h[16:], 3)
	le.PutUint16(h[18:], 62)
	le.PutUint32(h[20:], 1)
	le.PutUint64(h[32:], 64)
	le.PutUint16(h[52:], 64)
	le.PutUint16(h[54:], 56)
	le.PutUint16(h[56:], 2)
	size := uint64(16 * (n + 1))
	at := uint64(len(h))
	p := h[64:]
	le.PutUint32(p, 1) // PT_LOAD of all
	le.PutUint64(p[32:], at+size+300)
	p = h[64+56:]
	le.PutUint32(p, 2) // PT_DYNAMIC
	le.PutUint64(p[8:], at)
	le.PutUint64(p[32:], size)
	d := make([]byte, size)
	le.PutUint64(d, 5) // DT_STRTAB
	le.PutUint64(d[8:], at+size)
	for i := 1; i <= n; i++ {
		le.PutUint64(d[16*i:], 1) // DT_NEEDED
	}
	return append(append(h, d...), strings.Repeat("l", 250)+"\x00"+strings.Repeat("\x00", 50)...)
}

var bombs = []struct {
	name   string
	unpack bool
	write  func(*bomb)
}{
	{"short names", false, func(b *bomb) {
		for range 95_000 {
			b.add(tar.Header{Name: b.name(10)}, nil)
		}
	}},
	{"long names", false, func(b *bomb) {
		for range 6_500 {
			b.add(tar.Header{Name: b.name(4000)}, nil)
		}
	}},
	{"long links", true, func(b *bomb) {
		for range 6_500 {
			b.add(tar.Header{Name: b.name(10), Typeflag: tar.TypeSymlink, Linkname: strings.Repeat("l", 4000)}, nil)
		}
	}},
	{"links with control characters", false, func(b *bomb) {
		for range 6_500 {
			b.add(tar.Header{Name: b.name(10), Typeflag: tar.TypeSymlink, Linkname: strings.Repeat("\x01", 4000)}, nil)
		}
	}},
	{"hard links to nothing", false, func(b *bomb) {
		for range 6_500 {
			b.add(tar.Header{Name: b.name(10), Typeflag: tar.TypeLink, Linkname: "./" + strings.Repeat(strings.Repeat("l", 250)+"/", 15)[:3700] + "x"}, nil)
		}
	}},
	{"directories", true, func(b *bomb) {
		for range 10_000 {
			b.add(tar.Header{Name: b.name(10), Typeflag: tar.TypeDir}, nil)
		}
	}},
	{"directories with lists", true, func(b *bomb) {
		list := "user::rwx,group::r-x,mask::rwx,other::r-x"
		for i := range 1000 {
			list += ",user:" + strconv.Itoa(i) + ":rwx"
		}
		for range 800 {
			b.add(tar.Header{Name: b.name(10), Typeflag: tar.TypeDir, PAXRecords: map[string]string{"SCHILY.acl.access": list, "SCHILY.acl.default": list}}, nil)
		}
	}},
	{"implied directories", true, func(b *bomb) {
		for range 6 {
			b.add(tar.Header{Name: b.name(10) + strings.Repeat("/d", 200) + "/f"}, nil)
		}
	}},
	{"many attributes", true, func(b *bomb) {
		records := map[string]string{}
		for i := range 2000 {
			records[fmt.Sprintf("SCHILY.xattr.trusted.%d", i)] = strings.Repeat("v", 60)
		}
		for range 250 {
			b.add(tar.Header{Name: b.name(10), PAXRecords: records}, nil)
		}
	}},
	{"capabilities", false, func(b *bomb) {
		for range 50_000 {
			b.add(tar.Header{Name: b.name(10), PAXRecords: map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\x00\x02" + strings.Repeat("\x00", 16)}}, nil)
		}
	}},
	{"unknown records", false, func(b *bomb) {
		records := map[string]string{}
		for i := range 4000 {
			records[fmt.Sprintf("VENDOR.x%d", i)] = "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv"
		}
		for range 200 {
			b.add(tar.Header{Name: b.name(10), PAXRecords: records}, nil)
		}
	}},
	{"libraries", false, func(b *bomb) {
		program := manyNeeded(4000)
		for range 150 {
			b.add(tar.Header{Name: "./usr" + b.name(10)[1:]}, program)
		}
	}},
	{"secrets", false, func(b *bomb) {
		secrets := "-----BEGIN PRIVATE KEY-----\n" + strings.Repeat("A", 60) + "\nfgt_100_" + strings.Repeat("A", 49) + "\nghp_" + strings.Repeat("A", 36) +
			"\nglpat-" + strings.Repeat("A", 30) + "\ndckr_pat_" + strings.Repeat("A", 30) + "\nhttps://aaaa:bbbb@cccc\nAKIA" + strings.Repeat("A", 16) + "\n"
		for range 30_000 {
			b.add(tar.Header{Name: "./root" + b.name(10)[1:]}, []byte(secrets))
		}
	}},
	{"settings", false, func(b *bomb) {
		for i := range 78 {
			b.add(tar.Header{Name: fmt.Sprintf("./etc/systemd/system/%d.service", i)}, []byte(strings.Repeat("[Unit]\nAfter=a b c d e f g h\n", 7000)))
		}
	}},
	{"settings of other shapes", false, func(b *bomb) {
		random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same in each run
		for i, name := range []string{"./etc/passwd", "./etc/group", "./etc/shadow", "./etc/hosts", "./etc/apt/sources.list", "./etc/docker/daemon.json", "./etc/systemd/system-preset/a.preset", "./etc/apt/sources.list.d/a.sources"} {
			unit := []string{"a:b:1:1:c:d:e\n", "deb https://a/ b c\n", "enable a b\n", "Types: deb\nURIs: a b c\n\n", "{\"a\":[1,2,3]}", "[[[[[[[["}[(i+random.IntN(2))%6]
			b.add(tar.Header{Name: name}, []byte(strings.Repeat(unit, 255<<10/len(unit))))
		}
	}},
	{"packages", false, func(b *bomb) {
		var s strings.Builder
		for i := range 90_000 {
			fmt.Fprintf(&s, "Package: p%d\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n\n", i)
		}
		b.add(tar.Header{Name: "./var/lib/dpkg/status"}, []byte(s.String()))
	}},
	{"packages, members and a table", false, func(b *bomb) {
		var s, table strings.Builder
		for i := range 90_000 {
			fmt.Fprintf(&s, "Package: p%d\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n\n", i)
		}
		table.WriteString(`{"version":1,"os":{"id":"","version_id":"","codename":"","pretty_name":""},"entries":{},"content_bytes":0,"directories":[],"images":[],"units":[],"problems":[],"packages":[`)
		for i := range 20_000 {
			if i > 0 {
				table.WriteString(",")
			}
			fmt.Fprintf(&table, `{"name":"p%d","version":"1","arch":"amd64"}`, i)
		}
		table.WriteString("]}")
		b.add(tar.Header{Name: "./etc/felhom/contents.json"}, []byte(table.String()))
		b.add(tar.Header{Name: "./var/lib/dpkg/status"}, []byte(s.String()))
		for range 60_000 {
			b.add(tar.Header{Name: b.name(10)}, nil)
		}
	}},
	{"sums of packages", false, func(b *bomb) {
		line := strings.Repeat("0", 32) + "  usr/bin/"
		for i := range 60 {
			var s strings.Builder
			for k := range 5_000 {
				fmt.Fprintf(&s, "%s%d%05d\n", line, i, k)
			}
			b.add(tar.Header{Name: fmt.Sprintf("./var/lib/dpkg/info/p%d.md5sums", i)}, []byte(s.String()))
		}
	}},
	{"configuration", false, func(b *bomb) {
		b.add(tar.Header{Name: "./etc/x"}, []byte(strings.Repeat("#\n", 100)))
	}},
}

// TestHostileArchivesTakeLittleMemory holds every command that reads archives
// to 64 MiB beside the window, whatever an archive is made of.
func TestHostileArchivesTakeLittleMemory(t *testing.T) {
	const most = 64<<10 + 1<<10 // KiB, with the window
	dir := t.TempDir()
	for _, b := range bombs {
		t.Run(b.name, func(t *testing.T) {
			archive := filepath.Join(dir, "vzdump-lxc-9100-2026_01_02-03_04_05.tar.zst")
			bombFile(t, archive, b.write)
			runs := [][]string{{"verify", "--json", archive}, {"inspect", "--json", archive}, {"diff", archive, archive}}
			if b.unpack {
				out := t.TempDir()
				runs = append(runs, []string{"unpack", archive, out})
			}
			for _, args := range runs {
				peak := peakOf(t, args...)
				for range 2 { // a collector that gets no processor for a while is late: what exceeds the limit does so each time
					if peak > most {
						peak = min(peak, peakOf(t, args...))
					}
				}
				if peak > most {
					t.Errorf("%s takes %d MiB, which exceeds the limit of %d", args[0], peak>>10, most>>10)
				}
			}
		})
	}
}
