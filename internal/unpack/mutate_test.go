package unpack_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/soak"
	"github.com/felhom/felhom-golden/internal/unpack"
)

// piece is a member with its pax records, as a list so that they can come twice.
type piece struct {
	records [][2]string
	header  raw
	padding string // in place of the zeros after the content
	pax     func([]byte)
}

func (p piece) bytes() []byte {
	var all []byte
	if p.records != nil {
		var text strings.Builder
		for _, r := range p.records {
			text.WriteString(paxRecord(r[0], r[1]))
		}
		x := newRaw('x', "./PaxHeaders/x", text.String()).bytes()
		if p.pax != nil {
			p.pax(x)
		}
		all = append(all, x...)
	}
	data := p.header.bytes()
	if free := -len(p.header.content) & 511; free > 0 {
		copy(data[len(data)-free:], p.padding)
	}
	return append(all, data...)
}

// mutator makes archives that are close to what vzdump writes.
type mutator struct{ *rand.Rand }

func (m mutator) pick(list ...string) string { return list[m.IntN(len(list))] }

var paths = []string{"./f", "./d/", "./d/f", "./d/e/", "./d/e/f", "./l", "./l/f", "./etc/", "./etc/f", "./etc/vzdump/", "./etc/vzdump/pct.fw", "./dev/", "./dev/x", "./", "./x y", "./\xc3\xa9", "./a\\b", "./a\nb", "./d", "./f/", "./-x", "./d/..x"}

// values of header fields and records that writers use, or that readers take for
// such in different ways.
var (
	numbers = []string{
		"0000644\x00", "0000000\x00", "0000001 ", "000001 \x00", "      1\x00", "     1 \x00", "1\x00", "0000000", "00000001", "\x00\x00\x00\x00\x00\x00\x00\x00", " ", "-1\x00", "0x10\x00", "0000008\x00", "+000001\x00",
		"\x80\x00\x00\x00\x00\x00\x00\x05", "\xff\xff\xff\xff\xff\xff\xff\xfe", "0177777\x00", "7777777\x00", "0200000\x00", "0006755\x00", "0001777\x00", "0100644\x00", "000064\x004", "\t000644\x00",
	}
	longNumbers = []string{
		"00000000007\x00", "00000000007 ", "         7 \x00", "7\x00", "000000000007", "\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07", "00000001000\x00", "00000000777\x00", "77777777777\x00", "-0000000001\x00", "00000000000\x00", "14717270000\x00", "20000000000\x00", "\x00",
	}
	recordKeys = []string{
		"path", "linkpath", "size", "uid", "gid", "uname", "gname", "mtime", "atime", "ctime", "comment", "charset", "hdrcharset", "SCHILY.dev", "SCHILY.ino", "SCHILY.nlink", "SCHILY.realsize", "SCHILY.filetype", "SCHILY.fflags",
		"SCHILY.xattr.user.a", "SCHILY.xattr.user.b%3Dc", "SCHILY.xattr.user.%", "SCHILY.xattr.user.%2", "SCHILY.xattr.user.%253D", "SCHILY.xattr.security.capability", "SCHILY.xattr.trusted.x", "SCHILY.xattr.", "SCHILY.acl.access", "SCHILY.acl.default", "SCHILY.acl.ace",
		"GNU.sparse.major", "GNU.sparse.minor", "GNU.sparse.name", "GNU.sparse.realsize", "GNU.sparse.size", "GNU.sparse.numblocks", "GNU.sparse.map", "GNU.dumpdir", "GNU.volume.size", "RHT.security.selinux", "LIBARCHIVE.creationtime", "Path", "VENDOR.x", " path", "path ", "MSWINDOWS.rawsd",
	}
	recordValues = []string{
		"", "0", "1", "5", "-1", "7", "3", "600", "1.5", "-1.5", "-0.5", "-0", "1.", ".5", "1.999999999", "1.9999999999", "01", "+1", "1e3", " 1", "1 ", "0x1", "99999999999", "9223372036854775807", "2097152", "8589934592", "./g", "./d/g", "g", "/g", "./g/", "./d/../g", "./etc/vzdump/pct.conf",
		"BINARY", "ISO-IR 10646 2000 UTF-8", "root", "a\nb", "\x00", "a\x00b", "\xff", "user::rw-\ngroup::r--\nother::---\n", "user::rw-\nuser:1000:rwx\ngroup::r--\nmask::r--\nother::---\n", "user::rwx,group::r-x,other::---", "u::rw-,g::r--,o::---", "user::rw-", "user::7,group::4,other::0",
		"user:0:rw-\ngroup::r--\nother::---\n", "user::rw- \ngroup::r--\nother::---\n", "user::rw-\n\ngroup::r--\nother::---", "#x\nuser::rw-\ngroup::r--\nother::---", "default:user::rw-,group::r--,other::---", "USER::rw-\ngroup::r--\nother::---", "user::wr-\ngroup::r--\nother::---",
		"\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", "0,7", "2097151", "-2147483649", "4294967296", "253402300800", "-99999999999",
	}
	names = []string{"", "./f", "./f\x00x", "f", "./d/", "./d//f", "././f", "./d/./f", "./..", "./d/../f", "/f", "./f ", "./f/", "./d", "./etc/vzdump/pct.conf", ".//etc/vzdump/pct.conf", "./x./etc/vzdump/pct.conf", "./f\n", "./\"f\"", "./*", "./dev/./x", "./dev//x", ".", "./."}
)

func (m mutator) member() piece {
	name := m.pick(paths...)
	p := piece{header: newRaw('0', name, m.pick("", "content", strings.Repeat("c", 512), strings.Repeat("d", 700)))}
	h := &p.header
	h.mode, h.mtime = m.pick("0000644\x00", "0000755\x00", "0004755\x00", "0000600\x00"), fmt.Sprintf("%011o\x00", m.IntN(1<<30))
	h.uid, h.gid = fmt.Sprintf("%07o\x00", m.IntN(70)), fmt.Sprintf("%07o\x00", m.IntN(70))
	switch kind := m.IntN(10); {
	case strings.HasSuffix(name, "/"):
		*h = newRaw('5', name, "")
		h.mode = m.pick("0000755\x00", "0000700\x00", "0001777\x00", "0002755\x00")
	case kind == 0:
		h.flag, h.link, h.size, h.content = '2', m.pick("f", "/etc", "../x", "d", "./", "a b", strings.Repeat("t", 100)), "00000000000\x00", ""
	case kind == 1:
		h.flag, h.link, h.size, h.content = '1', m.pick(paths...), "00000000000\x00", ""
	case kind == 2:
		h.flag, h.size, h.content = '6', "00000000000\x00", ""
	case kind == 3:
		text, data := m.pick("1\n9000\n0\n", "2\n8192\n4\n9000\n0\n", "2\n0\n512\n9000\n0\n", "1\n0\n9000\n", "3\n0\n512\n4096\n10\n9000\n0\n"), ""
		data = map[string]string{"2\n8192\n4\n9000\n0\n": "data", "2\n0\n512\n9000\n0\n": strings.Repeat("x", 512), "1\n0\n9000\n": strings.Repeat("y", 9000), "3\n0\n512\n4096\n10\n9000\n0\n": strings.Repeat("z", 522)}[text]
		*h = newRaw('0', "./GNUSparseFile.1/f", sparseMap(text, data))
		p.records = [][2]string{{"GNU.sparse.major", "1"}, {"GNU.sparse.minor", "0"}, {"GNU.sparse.name", name}, {"GNU.sparse.realsize", "9000"}}
	}
	if m.IntN(3) == 0 {
		p.records = append(p.records, [2]string{m.pick(recordKeys...), m.pick(recordValues...)})
	}
	return p
}

// change makes one random change to a member.
func (m mutator) change(p *piece) {
	h := &p.header
	switch m.IntN(15) {
	case 0:
		*[]*string{&h.mode, &h.uid, &h.gid}[m.IntN(3)] = m.pick(numbers...)
	case 1:
		*[]*string{&h.size, &h.mtime}[m.IntN(2)] = m.pick(longNumbers...)
	case 2:
		h.flag = "0123456\x007ALKSVxgMDNX "[m.IntN(20)]
	case 3:
		h.name = m.pick(names...)
	case 4:
		h.link = m.pick(names...)
	case 5:
		h.prefix = m.pick("", "./d", ".", "./", "d", "./d/", strings.Repeat("p", 155), "./\x00d", "/")
	case 6:
		h.magic = m.pick("ustar\x0000", "ustar  \x00", "ustar\x00\x00\x00", "ustar 00", "USTAR\x0000", "\x00", "ustar\x0001")
	case 7, 8, 9:
		p.records = append(p.records, [2]string{m.pick(recordKeys...), m.pick(recordValues...)})
	case 10:
		if len(p.records) > 0 {
			i := m.IntN(len(p.records))
			p.records[i][m.IntN(2)] = m.pick(recordValues...)
		}
	case 11:
		if len(p.records) > 0 {
			p.records = append(p.records, p.records[m.IntN(len(p.records))])
			m.Shuffle(len(p.records), func(i, j int) { p.records[i], p.records[j] = p.records[j], p.records[i] })
		}
	case 12:
		p.padding = m.pick("x", "\x00x", strings.Repeat("y", 600))
	case 13:
		p.pax = func(x []byte) { // a byte of the records, or of their header
			x[m.IntN(len(x))] = m.pick("0", "1", "9", " ", "=", "\n", "\x00", "x")[0]
			repair(x)
		}
	case 14:
		h.content = m.pick("", "1\n9000\n0\n", strings.Repeat("1\n", 300), "0\n", strings.Repeat("e", 513))
		h.size = fmt.Sprintf("%011o\x00", len(h.content))
	}
}

func (m mutator) archive() []byte {
	list := []piece{{header: newRaw('0', "./etc/vzdump/pct.conf", "arch: amd64\n")}}
	if m.IntN(2) == 0 {
		list = append(list, piece{header: newRaw('0', "./etc/vzdump/pct.fw", "")})
	}
	if m.IntN(2) == 0 {
		list = append(list, piece{header: newRaw('5', "./", "")})
	}
	if m.IntN(2) == 0 {
		list = append(list, piece{header: newRaw('5', "./d/", "")})
	}
	for range 1 + m.IntN(5) {
		list = append(list, m.member())
	}
	for range m.IntN(3) {
		m.change(&list[m.IntN(len(list))])
	}
	switch i, j := m.IntN(len(list)), m.IntN(len(list)); m.IntN(12) {
	case 0:
		list[i], list[j] = list[j], list[i]
	case 1:
		list = append(list, list[i])
	case 2:
		list = slices.Delete(list, i, i+1)
	}
	var data []byte
	for _, p := range list {
		data = append(data, p.bytes()...)
	}
	marker := 1024
	switch m.IntN(20) {
	case 0:
		marker = []int{0, 511, 512, 1023, 1025, 1536, 10240}[m.IntN(7)]
	case 1:
		at := m.IntN(len(data))/512*512 + m.IntN(512)
		data[min(at, len(data)-1)] = m.pick("0", "x", "\x00", " ", "7", "\xff")[0]
		repair(data[min(at, len(data)-1)/512*512:])
	case 2:
		data = slices.Insert(data, m.IntN(len(data)/512)*512, make([]byte, 512)...)
	case 3:
		data = data[:m.IntN(len(data))]
	}
	return append(data, make([]byte, marker)...)
}

// TestReadsAsTarAtRandom gives generated and changed archives to GNU tar and to
// Unpack, and the configuration's name to both, as PVE does before a restore.
func TestReadsAsTarAtRandom(t *testing.T) {
	source, rounds := soak.Start(t, 600)
	m := mutator{source}
	accepted := 0
	for range rounds {
		data := m.archive()
		if !compareWithTar(t, data, false) {
			continue
		}
		accepted++
		sameConfig(t, data)
		if t.Failed() {
			t.Fatalf("of the archive\n%s", dump(data))
		}
	}
	if accepted < rounds/20 || accepted > rounds*19/20 {
		t.Errorf("%d of %d archives accepted: the test says little", accepted, rounds)
	}
	t.Logf("%d of %d accepted", accepted, rounds)
}

// sameConfig compares the configuration with that of "tar xpOf".
func sameConfig(t *testing.T, data []byte) {
	t.Helper()
	result, err := unpack.Unpack(t.Context(), bytes.NewReader(data), t.TempDir(), unpack.Options{})
	must(t, err)
	cmd := exec.CommandContext(t.Context(), "tar", "-xpOf", "-", "./etc/vzdump/pct.conf", "--occurrence")
	cmd.Stdin = bytes.NewReader(data)
	want, err := cmd.Output()
	if err != nil || !bytes.Equal(want, result.Config) {
		t.Errorf("tar gives the configuration %q, %v; Unpack %q", want, err, result.Config)
	}
}

var nuls = regexp.MustCompile(`\x00{4,}`)

// dump shows the blocks of a stream that are not empty.
func dump(data []byte) string {
	var b strings.Builder
	for at := 0; at < len(data); at += 512 {
		if text := strings.TrimRight(string(data[at:min(at+512, len(data))]), "\x00"); text != "" {
			fmt.Fprintf(&b, "%6d %.300q\n", at, nuls.ReplaceAllString(text, "\x00~"))
		}
	}
	return b.String()
}
