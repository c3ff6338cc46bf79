package vzdump

import (
	"bytes"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/internal/fuzztest"
)

func FuzzName(f *testing.F) {
	for _, s := range []string{"vzdump-lxc-9100-2026_01_02-03_04_05.tar.zst", "vzdump-lxc-100-2024_02_29-00_00_00.tar", "vzdump-lxc-9100-2026_02_30-03_04_05.tar.gz", "vzdump-qemu-100-2026_01_02-03_04_05.vma"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, base string) {
		n, err := ParseName(base)
		if err != nil {
			return
		}
		if n.String() != base || n.VMID < MinVMID || n.VMID > MaxVMID {
			t.Errorf("%q is read as %+v, which is %q", base, n, n)
		}
	})
}

func FuzzCapability(f *testing.F) {
	for _, s := range []string{
		"\x01\x00\x00\x02" + strings.Repeat("\x01", 16), "\x00\x00\x00\x03" + strings.Repeat("\xff", 16) + "\x00\x00\x00\x00",
		"\x01\x00\x00\x03" + strings.Repeat("\x00", 16) + "\xa0\x86\x01\x00", "\x01\x00\x00\x01" + strings.Repeat("\x00", 8), "\x03\x00\x00\x02" + strings.Repeat("\x00", 16),
	} {
		f.Add(s, 100000)
	}
	f.Fuzz(func(t *testing.T, value string, root int) {
		c, err := ParseCapability(value)
		if err != nil {
			return
		}
		plain, err := ParseCapability(string(c.Plain()))
		if err != nil || plain.RootID != 0 || !bytes.Equal(plain.Plain(), c.Plain()) || c.RootID < 0 || c.RootID > MaxID {
			t.Errorf("%x without its root id is %x, %v", value, c.Plain(), err)
		}
		root &= 0x7fffffff
		for root > MaxID {
			root /= 2
		}
		if again, err := ParseCapability(string(c.For(root))); err != nil || again.RootID != root || !bytes.Equal(again.Plain(), c.Plain()) {
			t.Errorf("%x for root id %d is %x, %v", value, root, c.For(root), err)
		}
	})
}

// FuzzRecords reads what pax headers and their attributes say. A list of rights must
// be one that the kernel takes, and that is read as it was written.
func FuzzRecords(f *testing.F) {
	for _, s := range []string{
		"30 mtime=1700000000.123456789\n20 path=./etc/motd\n", "12 path=./a\n", "9 a=\x00b\n\n", "99999999999999999999 a=b\n", "0 a=b\n", "5 a=b",
		"user::rwx,group::r-x,mask::rwx,other::r-x,user:1000:rw-", "user::rw-\nuser:lisa:rw-\t#effective:r--\ngroup::r--\nmask::r--\nother::r--\n", "user::rwx\ngroup::r-x\nother::r-x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if records, err := parseRecords(text); err == nil {
			size := 0
			for key, value := range records {
				size += len(key) + len(value)
				if key == "" || strings.Contains(key, "=") {
					t.Errorf("%q has the record %q", text, key)
				}
			}
			if size > len(text) {
				t.Errorf("%d bytes of records in %d", size, len(text))
			}
		}
		list, err := parseACL(text)
		if err != nil {
			return
		}
		again, err := parseACL(textOf(list))
		if d := cmp.Diff(list, again); d != "" || err != nil {
			t.Errorf("%q is written and read with %v:\n%s", text, err, d)
		}
	})
}

// textOf writes a list as tar does.
func textOf(list ACL) string {
	var lines []string
	for _, e := range list {
		who := e.Name
		if who == "" && (e.Tag == ACLUser || e.Tag == ACLGroup) {
			who = strconv.Itoa(e.ID)
		}
		rights := []byte("---")
		for i, letter := range []byte("rwx") {
			if e.Perm&(4>>i) != 0 {
				rights[i] = letter
			}
		}
		kind := map[ACLTag]string{ACLOwner: "user", ACLUser: "user", ACLOwningGroup: "group", ACLGroup: "group", ACLMask: "mask", ACLOther: "other"}[e.Tag]
		lines = append(lines, kind+":"+who+":"+string(rights))
	}
	return strings.Join(lines, "\n")
}

func TestLongRecords(t *testing.T) {
	fuzztest.Long(t, "", func(text string) {
		_, _ = parseRecords(text)
		_, _ = parseACL(text)
	}, " ", "0", ",", ":", "\n", "7 a=bc\n", "user:1:rwx,", "user:a:rwx\n", "9")
}
