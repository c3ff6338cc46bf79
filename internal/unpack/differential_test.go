package unpack_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/unpack"
)

// raw is a header block as a writer of any dialect may make it.
type raw struct {
	name, mode, uid, gid, size, mtime, link, magic, prefix string
	flag                                                   byte
	content                                                string
	signed                                                 bool // the checksum as old programs had it
}

func newRaw(flag byte, name, content string) raw {
	return raw{name: name, mode: "0000644\x00", uid: "0000000\x00", gid: "0000000\x00", size: fmt.Sprintf("%011o\x00", len(content)), mtime: "00000000001\x00", magic: "ustar\x0000", flag: flag, content: content}
}

func (r raw) bytes() []byte {
	b := make([]byte, 512, 1024+len(r.content))
	for at, text := range map[int]string{0: r.name, 100: r.mode, 108: r.uid, 116: r.gid, 124: r.size, 136: r.mtime, 148: "        ", 157: r.link, 257: r.magic, 345: r.prefix} {
		copy(b[at:], text)
	}
	b[156] = r.flag
	sum := 0
	for _, c := range b {
		if r.signed {
			sum += int(int8(c))
		} else {
			sum += int(c)
		}
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	b = append(b, r.content...)
	return append(b, make([]byte, -len(r.content)&511)...)
}

func paxRecord(key, value string) string {
	n := len(key) + len(value) + 3
	for len(fmt.Sprint(n))+len(key)+len(value)+3 != n {
		n++
	}
	return fmt.Sprintf("%d %s=%s\n", n, key, value)
}

func records(kv ...string) raw {
	text := ""
	for i := 0; i < len(kv); i += 2 {
		text += paxRecord(kv[i], kv[i+1])
	}
	return newRaw('x', "./PaxHeaders/x", text)
}

func sparseRecords(size string, more ...string) raw {
	return records(append([]string{"GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.name", "./f", "GNU.sparse.realsize", size}, more...)...)
}

// sparseMap fills a map up to a block.
func sparseMap(lines, data string) string {
	return lines + strings.Repeat("\x00", -len(lines)&511) + data
}

// join makes a stream of a configuration, the parts, and an end marker.
func join(parts ...[]byte) []byte {
	all := newRaw('0', "./etc/vzdump/pct.conf", "arch: amd64\n").bytes()
	all = append(all, bytes.Join(parts, nil)...)
	return append(all, make([]byte, 1024)...)
}

type stream struct {
	name string
	data []byte
	take bool // must be accepted
}

// streams are members in many dialects, each alone and by twos.
func streams() []stream {
	f := newRaw('0', "./f", "content")
	with := func(r raw, change func(*raw)) []byte {
		change(&r)
		return r.bytes()
	}
	parts := []stream{
		{"plain", f.bytes(), true},
		{"prefix", append(newRaw('5', "./p/", "").bytes(), with(f, func(r *raw) { r.prefix, r.name = "./p", "f" })...), true},
		{"access list with names", append(records("SCHILY.acl.access", "user::rw-\nuser:root:rwx\ngroup::r--\ngroup:root:r--\nmask::r--\nother::---\n").bytes(), f.bytes()...), true},
		{"path record", append(records("path", "./g").bytes(), f.bytes()...), true},
		{"times", append(records("mtime", "-5.5", "atime", "1.25", "ctime", "3").bytes(), f.bytes()...), true},
		{"negative time", append(records("mtime", "-7").bytes(), f.bytes()...), true},
		{"attribute", append(records("SCHILY.xattr.user.a%3Db%25", "v\x00w", "SCHILY.xattr.user.empty", "").bytes(), f.bytes()...), true},
		{"access list", append(records("SCHILY.acl.access", "user::rw-\nuser:1000:rwx\t#effective:r--\ngroup::r--\nmask::r--\nother::---\n").bytes(), f.bytes()...), true},
		{"default list", append(records("SCHILY.acl.default", "user::rwx,group::r-x,group:33:r--,mask::r-x,other::---").bytes(), with(newRaw('5', "./d/", ""), func(r *raw) { r.mode = "0000755\x00" })...), true},
		{"access list of a fifo", append(records("SCHILY.acl.access", "user::rw-\nuser:1000:rwx\ngroup::r--\nmask::r--\nother::---\n").bytes(), newRaw('6', "./p", "").bytes()...), true},
		{"access list of a fifo that is its mode", append(records("SCHILY.acl.access", "user::rw-\ngroup::r--\nother::---\n").bytes(), newRaw('6', "./p", "").bytes()...), true},
		{"access list of a whiteout", append(records("SCHILY.acl.access", "user::rw-\nuser:1000:rwx\ngroup::r--\nmask::r--\nother::---\n").bytes(), newRaw('3', "./w", "").bytes()...), true},
		{"capability of a fifo", append(records("SCHILY.xattr.security.capability", "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00").bytes(), newRaw('6', "./p", "").bytes()...), true},
		{"default list of a fifo", append(records("SCHILY.acl.default", "user::rwx,group::r-x,other::---").bytes(), newRaw('6', "./p", "").bytes()...), false},
		{"attribute of a fifo", append(records("SCHILY.xattr.user.a", "v").bytes(), newRaw('6', "./p", "").bytes()...), true},
		{"comment in a list", append(records("SCHILY.acl.access", "#x\nuser::rw-\ngroup::r--\nother::---\n").bytes(), f.bytes()...), false},
		{"blank in a list", append(records("SCHILY.acl.access", "user::rw- \ngroup::r--\nother::---\n").bytes(), f.bytes()...), false},
		{"empty line in a list", append(records("SCHILY.acl.access", "user::rw-\n\ngroup::r--\nother::---\n").bytes(), f.bytes()...), false},
		{"implied below set-group-id", append(with(newRaw('5', "./d/", ""), func(r *raw) { r.mode, r.gid = "0002755\x00", "0000033\x00" }), append(newRaw('0', "./x", "").bytes(), newRaw('0', "./d/e/f", "").bytes()...)...), false},
		{"implied below a default list", bytes.Join([][]byte{records("SCHILY.acl.default", "user::rwx,group::r-x,group:33:r--,mask::r-x,other::---").bytes(), newRaw('5', "./d/", "").bytes(), newRaw('0', "./x", "").bytes(), newRaw('0', "./d/e/f", "").bytes()}, nil), false},
		{"symlink", with(newRaw('2', "./l", ""), func(r *raw) { r.link = "/else/where" }), true},
		{"long link", append(records("linkpath", strings.Repeat("l", 300)).bytes(), newRaw('2', "./l2", "").bytes()...), true},
		{"unknown record", append(records("FELHOM.x", "y").bytes(), f.bytes()...), true},
		{"set-id", with(f, func(r *raw) { r.mode, r.name, r.uid, r.gid = "0006755\x00", "./s", "0000005\x00", "0000052\x00" }), true},
		{"sparse", append(sparseRecords("9000").bytes(), newRaw('0', "./GNUSparseFile.1/f", sparseMap("2\n8192\n4\n9000\n0\n", "data")).bytes()...), true},
		{"all hole", append(sparseRecords("100000").bytes(), newRaw('0', "./GNUSparseFile.1/f", sparseMap("1\n100000\n0\n", "")).bytes()...), true},

		{"sparse, many parts", append(sparseRecords("9000").bytes(), newRaw('0', "./GNUSparseFile.1/f", sparseMap("5\n0\n512\n4096\n1024\n6000\n0\n8192\n4\n9000\n0\n", strings.Repeat("data", 385))).bytes()...), true},
		{"sparse, part that fills no block", append(sparseRecords("9000").bytes(), newRaw('0', "./GNUSparseFile.1/f", sparseMap("3\n0\n4\n4096\n4\n9000\n0\n", "datadata")).bytes()...), false},
		{"sparse, parts that touch", append(sparseRecords("1024").bytes(), newRaw('0', "./GNUSparseFile.1/f", sparseMap("2\n0\n512\n512\n512\n", strings.Repeat("data", 256))).bytes()...), true},
		{"far time", append(records("mtime", "15000000000.5").bytes(), f.bytes()...), true},
		{"least time", append(records("mtime", "-2147483648").bytes(), f.bytes()...), true},
		{"name of 100 bytes", with(f, func(r *raw) { r.name = "./" + strings.Repeat("n", 98) }), true},
		{"prefix of 155 bytes", append(records("path", "./"+strings.Repeat("p", 153)+"/").bytes(), append(newRaw('5', "./", "").bytes(), with(f, func(r *raw) { r.prefix, r.name = "./"+strings.Repeat("p", 153), strings.Repeat("n", 100) })...)...), true},
		{"two slashes by the prefix", with(f, func(r *raw) { r.prefix, r.name = "./p/", "f" }), false},
		{"prefix and nothing", with(f, func(r *raw) { r.prefix, r.name = "./p", "" }), false},
		{"no name", with(f, func(r *raw) { r.name = "" }), false},
		{"dot", with(newRaw('5', "./.", ""), func(r *raw) { r.name = "." }), false},
		{"upper case", append(append(newRaw('5', "./ETC/", "").bytes(), newRaw('5', "./ETC/VZDUMP/", "").bytes()...), newRaw('0', "./ETC/VZDUMP/PCT.CONF", "x").bytes()...), true},
		{"configuration again", newRaw('0', "./etc/vzdump/pct.conf", "x").bytes(), false},
		{"configuration by a dot", newRaw('0', "./etc/./vzdump/pct.conf", "x").bytes(), false},
		{"configuration below", append(newRaw('5', "./x./", "").bytes(), newRaw('0', "./x./etc/vzdump/pct.conf", "x").bytes()...), false},
		{"old configuration", newRaw('0', "./etc/vzdump/vps.conf", "x").bytes(), false},
		{"device for a firewall", with(newRaw('3', "./etc/vzdump/pct.fw", ""), func(r *raw) { r.mode = "0000600\x00" }), false},
		{"link to later", bytes.Join([][]byte{with(newRaw('1', "./h", ""), func(r *raw) { r.link = "./f" }), f.bytes()}, nil), false},
		{"link to itself", with(newRaw('1', "./h", ""), func(r *raw) { r.link = "./h" }), false},
		{"link to a directory", append(newRaw('5', "./d/", "").bytes(), with(newRaw('1', "./h", ""), func(r *raw) { r.link = "./d" })...), false},
		{"link to earlier", append(f.bytes(), with(newRaw('1', "./h", ""), func(r *raw) { r.link = "./f" })...), true},
		{"link to a link", bytes.Join([][]byte{f.bytes(), with(newRaw('1', "./h", ""), func(r *raw) { r.link = "./f" }), with(newRaw('1', "./i", ""), func(r *raw) { r.link = "./h" })}, nil), true},
		{"link to a symlink", append(with(newRaw('2', "./l", ""), func(r *raw) { r.link = "/etc/shadow" }), with(newRaw('1', "./h", ""), func(r *raw) { r.link = "./l" })...), true},
		{"below a link to a symlink", bytes.Join([][]byte{with(newRaw('2', "./l", ""), func(r *raw) { r.link = "/etc" }), with(newRaw('1', "./h", ""), func(r *raw) { r.link = "./l" }), newRaw('0', "./h/f", "x").bytes()}, nil), false},
		{"link without dot", append(f.bytes(), with(newRaw('1', "./h", ""), func(r *raw) { r.link = "f" })...), false},
		{"link over a file", append(f.bytes(), with(newRaw('1', "./f", ""), func(r *raw) { r.link = "./f" })...), true},
		{"symlink, then link through it", bytes.Join([][]byte{newRaw('5', "./d/", "").bytes(), newRaw('0', "./d/f", "x").bytes(), with(newRaw('2', "./l", ""), func(r *raw) { r.link = "d" }), with(newRaw('1', "./h", ""), func(r *raw) { r.link = "./l/f" })}, nil), false},
		{"file twice", append(f.bytes(), newRaw('0', "./f", "other").bytes()...), true},
		{"directory twice", append(with(newRaw('5', "./d/", ""), func(r *raw) { r.mode = "0000755\x00" }), with(newRaw('5', "./d/", ""), func(r *raw) { r.mode = "0000700\x00" })...), true},
		{"file, then directory", append(f.bytes(), newRaw('5', "./f/", "").bytes()...), true},
		{"directory, then file", append(newRaw('5', "./f/", "").bytes(), f.bytes()...), true},
		{"implied, then directory", append(newRaw('0', "./etc/f", "x").bytes(), with(newRaw('5', "./etc/", ""), func(r *raw) { r.mode = "0000700\x00" })...), true},
		{"large uid", with(f, func(r *raw) { r.uid = "7777777\x00" }), false},
		{"uid record that is due", append(records("uid", "2097152").bytes(), f.bytes()...), false},
		{"size record that is due", append(records("size", "8589934592").bytes(), with(f, func(r *raw) { r.size = "00000000000\x00" })...), false},
		{"base-256 time", with(f, func(r *raw) { r.mtime = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" }), false},
		{"device", with(newRaw('3', "./c", ""), func(r *raw) { r.mode = "0000600\x00" }), true},
		{"space after the slash", newRaw('5', "./d/ ", "").bytes(), false},

		{"long name", append(newRaw('L', "././@LongLink", "./z\x00").bytes(), f.bytes()...), false},
		{"long name and path", bytes.Join([][]byte{newRaw('L', "././@LongLink", "./z\x00").bytes(), records("path", "./g").bytes(), f.bytes()}, nil), false},
		{"path and long name", bytes.Join([][]byte{records("path", "./g").bytes(), newRaw('L', "././@LongLink", "./z\x00").bytes(), f.bytes()}, nil), false},
		{"long link name", bytes.Join([][]byte{newRaw('K', "././@LongLink", "./z\x00").bytes(), records("linkpath", "/g").bytes(), newRaw('2', "./l", "").bytes()}, nil), false},
		{"global", append(with(records("path", "./g"), func(r *raw) { r.flag = 'g' }), f.bytes()...), false},
		{"two extended headers", bytes.Join([][]byte{records("path", "./g").bytes(), records("mtime", "9").bytes(), f.bytes()}, nil), false},
		{"record twice", append(records("path", "./g", "path", "./h").bytes(), f.bytes()...), false},
		{"empty path", append(records("path", "").bytes(), f.bytes()...), false},
		{"space before a key", append(records(" path", "./g").bytes(), f.bytes()...), false},
		{"tab before a key", append(records("\tpath", "./g").bytes(), f.bytes()...), false},
		{"space before an attribute", append(records(" SCHILY.xattr.user.a", "x").bytes(), f.bytes()...), false},
		{"space after a key", append(records("path ", "./g").bytes(), f.bytes()...), false},
		{"control character in a key", append(records("FELHOM.\x01", "x").bytes(), f.bytes()...), false},
		{"space in an attribute", append(records("SCHILY.xattr.user. a b", "x").bytes(), f.bytes()...), true},
		{"NUL in path", append(records("path", "./g\x00h").bytes(), f.bytes()...), false},
		{"size record", append(records("size", "3").bytes(), f.bytes()...), false},
		{"larger size record", append(records("size", "600").bytes(), f.bytes()...), false},
		{"uid record", append(records("uid", "5").bytes(), f.bytes()...), false},
		{"signed uid", append(records("uid", "-1").bytes(), f.bytes()...), false},
		{"long fraction", append(records("mtime", "1.9999999999999").bytes(), f.bytes()...), false},
		{"bad length", append(with(records("path", "./g"), func(r *raw) { r.content = "0" + r.content; r.size = fmt.Sprintf("%011o\x00", len(r.content)) }), f.bytes()...), false},
		{"old gnu", with(f, func(r *raw) { r.magic = "ustar  \x00" }), false},
		{"v7", with(f, func(r *raw) { r.magic = "" }), false},
		{"v7 directory", with(newRaw(0, "./d/", ""), func(r *raw) { r.magic = "" }), false},
		{"version", with(f, func(r *raw) { r.magic = "ustar\x00  " }), false},
		{"base-256 size", with(f, func(r *raw) { r.size = "\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07" }), false},
		{"base-256 uid", with(f, func(r *raw) { r.uid = "\xff\xff\xff\xff\xff\xff\xff\xff" }), false},
		{"negative octal", with(f, func(r *raw) { r.uid = "-000001\x00" }), false},
		{"spaces", with(f, func(r *raw) { r.size = "          7\x00" }), false},
		{"digits after a NUL", with(f, func(r *raw) { r.size = "7\x000000000007" }), false},
		{"name after a NUL", with(f, func(r *raw) { r.name = "./f\x00hidden" }), false},
		{"signed checksum", with(f, func(r *raw) { r.name, r.signed = "./\xfc", true }), false},
		{"contiguous", with(f, func(r *raw) { r.flag = '7' }), false},
		{"unknown type", with(f, func(r *raw) { r.flag = 'Z' }), false},
		{"file with a slash", with(f, func(r *raw) { r.name = "./f/" }), false},
		{"directory with content", newRaw('5', "./d/", "content").bytes(), false},
		{"link with content", with(newRaw('1', "./h", "content"), func(r *raw) { r.link = "./etc/vzdump/pct.conf" }), false},
		{"file with a link name", with(f, func(r *raw) { r.link = "./x" }), false},
		{"double slash", with(f, func(r *raw) { r.name = ".//f" }), false},
		{"dots", with(f, func(r *raw) { r.name = "./a/../b" }), false},
		{"no dot", with(f, func(r *raw) { r.name = "f" }), false},
		{"single zero block", append(make([]byte, 512), f.bytes()...), false},
		{"after the end", append(make([]byte, 1024), f.bytes()...), false},
		{"old sparse", with(f, func(r *raw) { r.flag, r.magic = 'S', "ustar  \x00" }), false},
		{"sparse 0.1", append(records("GNU.sparse.size", "9000", "GNU.sparse.numblocks", "1", "GNU.sparse.map", "0,7").bytes(), f.bytes()...), false},
		{"sparse 0.0", append(records("GNU.sparse.size", "9000", "GNU.sparse.numblocks", "1", "GNU.sparse.offset", "0", "GNU.sparse.numbytes", "7").bytes(), f.bytes()...), false},
		{"sparse and path", append(sparseRecords("9000", "path", "./q").bytes(), newRaw('0', "./f", sparseMap("1\n9000\n0\n", "")).bytes()...), false},
		{"sparse, short of the end", append(sparseRecords("9000").bytes(), newRaw('0', "./f", sparseMap("1\n0\n4\n", "data")).bytes()...), false},
		{"sparse, overlap", append(sparseRecords("9000").bytes(), newRaw('0', "./f", sparseMap("3\n0\n4\n2\n4\n9000\n0\n", "datadata")).bytes()...), false},
		{"sparse, other sum", append(sparseRecords("9000").bytes(), newRaw('0', "./f", sparseMap("2\n0\n4\n9000\n0\n", "datadata")).bytes()...), false},
		{"sparse, two spellings", append(sparseRecords("9000").bytes(), newRaw('0', "./f", sparseMap("01\n9000\n0\n", "")).bytes()...), false},
		{"header at the end", records("path", "./g").bytes(), false},
	}
	var all []stream
	for _, p := range parts {
		all = append(all, stream{p.name, join(p.data), p.take})
	}
	for _, a := range parts {
		all = append(all, stream{"plain, then " + a.name, join(newRaw('0', "./first", "1").bytes(), a.data), a.take})
	}
	return all
}

// TestReadsAsTarOrRefuses gives every stream to GNU tar, with the options of
// PVE's restore, and to Unpack, which must write the same tree or refuse it.
func TestReadsAsTarOrRefuses(t *testing.T) {
	for _, s := range streams() {
		t.Run(s.name, func(t *testing.T) {
			accepted := sameAsTar(t, s.data)
			if accepted != s.take {
				t.Errorf("accepted: %v, want %v", accepted, s.take)
			}
		})
	}
}

// TestMutatedHeadersReadAsTarOrAreRefused changes bytes of good streams at
// random, with a fixed seed, and repairs the checksum.
func TestMutatedHeadersReadAsTarOrAreRefused(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same streams in each run
	accepted := 0
	good := []byte("\x00 07-./x5")
	for range 300 {
		member := newRaw("012567"[random.IntN(6)], "./m", "").bytes()
		at := random.IntN(512)
		member[at] = good[random.IntN(len(good))]
		repair(member)
		if sameAsTar(t, join(member)) {
			accepted++
		}
	}
	if accepted < 20 {
		t.Errorf("%d of 300 accepted, want 20 at least: the test compares too little", accepted)
	}
}

// FuzzReadsAsTarOrRefuses repairs the checksum of each block that looks like a
// header, so that what it changes is read. go test runs the seeds alone.
func FuzzReadsAsTarOrRefuses(f *testing.F) {
	for _, s := range streams() {
		if !strings.Contains(s.name, "then") {
			f.Add(s.data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		data = bytes.Clone(data)
		for b := data; len(b) >= 512; b = b[512:] {
			if string(b[257:262]) == "ustar" {
				repair(b)
			}
		}
		sameAsTar(t, data)
	})
}

func repair(b []byte) {
	copy(b[148:156], "        ")
	sum := 0
	for _, c := range b[:512] {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
}

// sameAsTar reports whether Unpack accepts the stream; if so, tar must do the
// same with it.
func sameAsTar(t *testing.T, data []byte) bool {
	t.Helper()
	return compareWithTar(t, data, true)
}

// compareWithTar is sameAsTar, with the times of directories or without: if a
// member between those of a directory is not below it, tar sets the directory's
// time too early.
func compareWithTar(t *testing.T, data []byte, dirTimes bool) bool {
	t.Helper()
	base := t.TempDir()
	want, got := filepath.Join(base, "want"), filepath.Join(base, "got")
	for _, dir := range []string{want, got} {
		must(t, os.Mkdir(dir, 0o755))
	}
	_, err := unpack.Unpack(t.Context(), bytes.NewReader(data), got, unpack.Options{})
	if err != nil {
		if fault.Of(err) != fault.Invalid && !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("error %v, want a refusal", err)
		}
		return false
	}
	cmd := exec.CommandContext(t.Context(), "tar", "-x", "-p", "-f", "-", "--one-file-system", "--sparse", "--numeric-owner", "--acls", "--xattrs", "--xattrs-include=user.*",
		"--xattrs-include=security.capability", "--warning=no-file-ignored", "--warning=no-xattr-write", "-C", want, "--skip-old-files", "--anchored", "--exclude", "./dev/*")
	cmd.Stdin = bytes.NewReader(data)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("tar: %v\n%s\nand Unpack takes it", err, out)
		return true
	}
	must(t, os.Remove(filepath.Join(want, "etc/vzdump/pct.conf")))
	if st, err := os.Lstat(filepath.Join(want, "etc/vzdump/pct.fw")); err == nil && st.Mode().IsRegular() && st.Size() > 0 {
		must(t, os.Remove(filepath.Join(want, "etc/vzdump/pct.fw"))) // PVE would install it
	}
	if d := cmp.Diff(describe(t, want, dirTimes), describe(t, got, dirTimes)); d != "" {
		t.Errorf("-tar +Unpack:\n%s", d)
	}
	return true
}
