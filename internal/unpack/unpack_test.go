package unpack_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/unpack"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// capNetRaw is "cap_net_raw=ep", revision 2.
var capNetRaw = []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

// vzdumpAsPVE makes an archive with the programs and options that PVE uses.
func vzdumpAsPVE(t *testing.T) string {
	t.Helper()
	root, conf := t.TempDir(), t.TempDir()
	must(t, os.Chmod(root, 0o755))
	for _, dir := range []string{"etc", "usr/bin", "closed", "dev", "home/ü"} {
		must(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	for name, data := range map[string]string{
		"etc/passwd": "root", "usr/bin/a": strings.Repeat("a", 100_000), "usr/bin/ping": "ping", "usr/bin/su": "su", "closed/secret": "s", "dev/left": "x",
		"home/ü/" + strings.Repeat("l", 200): "long", "home/control\x01": "c",
	} {
		must(t, os.WriteFile(filepath.Join(root, name), []byte(data), 0o644))
	}
	sparse, err := os.Create(filepath.Join(root, "sparse"))
	must(t, err)
	_, err = sparse.WriteAt([]byte("end"), 3<<20)
	must(t, errors.Join(err, sparse.Close()))
	must(t, os.Link(filepath.Join(root, "usr/bin/a"), filepath.Join(root, "usr/bin/b")))
	must(t, os.Symlink("usr/bin", filepath.Join(root, "bin")))
	must(t, os.Lchown(filepath.Join(root, "bin"), 7, 8))
	must(t, os.Link(filepath.Join(root, "bin"), filepath.Join(root, "bin2")))
	must(t, unix.Mkfifo(filepath.Join(root, "pipe"), 0o620))
	must(t, unix.Mknod(filepath.Join(root, "whiteout"), unix.S_IFCHR, 0))
	must(t, os.Chown(filepath.Join(root, "usr/bin/su"), 5, 42))
	must(t, os.Chmod(filepath.Join(root, "usr/bin/su"), fs.ModeSetuid|fs.ModeSetgid|0o755))
	must(t, os.Chown(filepath.Join(root, "closed"), 65535, 65534))
	must(t, os.Chmod(filepath.Join(root, "closed"), fs.ModeSticky|0o500))
	must(t, os.Chmod(filepath.Join(root, "etc"), 0o700)) // restore will not apply it
	must(t, unix.Setxattr(filepath.Join(root, "usr/bin/ping"), "security.capability", capNetRaw, 0))
	access := vzdump.ACL{{Tag: vzdump.ACLOwner, Perm: 6}, {Tag: vzdump.ACLUser, Perm: 7, ID: 1000}, {Tag: vzdump.ACLOwningGroup, Perm: 4}, {Tag: vzdump.ACLMask, Perm: 6}, {Tag: vzdump.ACLOther}}
	same := func(id int) int { return id }
	must(t, unix.Setxattr(filepath.Join(root, "etc/passwd"), "system.posix_acl_access", access.Xattr(same, same), 0))
	must(t, unix.Setxattr(filepath.Join(root, "usr/bin"), "system.posix_acl_default", access.Xattr(same, same), 0))
	must(t, unix.Setxattr(filepath.Join(root, "closed"), "user.a=b%", []byte("v\x00w"), 0))
	must(t, os.MkdirAll(filepath.Join(conf, "etc/vzdump"), 0o755))
	must(t, os.WriteFile(filepath.Join(conf, "etc/vzdump/pct.conf"), []byte("arch: amd64\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(conf, "etc/vzdump/pct.fw"), nil, 0o644))
	archive := filepath.Join(t.TempDir(), "a.tar.zst")
	tool(t, "tar", "-c", "-p", "--zstd", "-f", archive, "--one-file-system", "--sparse", "--numeric-owner", "--acls", "--xattrs", "--xattrs-include=user.*",
		"--xattrs-include=security.capability", "--warning=no-file-ignored", "--warning=no-xattr-write",
		"--directory="+conf, "./etc/vzdump/pct.conf", "./etc/vzdump/pct.fw", "--directory="+root, ".")
	return archive
}

func tool(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestSameTreeAsTar(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	archive := vzdumpAsPVE(t)
	want, got := t.TempDir(), t.TempDir()
	tool(t, "tar", "-x", "-p", "--zstd", "-f", archive, "--totals", "--one-file-system", "--sparse", "--numeric-owner", "--acls", "--xattrs", "--xattrs-include=user.*",
		"--xattrs-include=security.capability", "--warning=no-file-ignored", "--warning=no-xattr-write", "-C", want, "--skip-old-files", "--anchored", "--exclude", "./dev/*")
	must(t, os.Remove(filepath.Join(want, "etc/vzdump/pct.conf")))
	// tar makes implied directories under the umask, PVE under 022.
	for _, dir := range []string{"etc", "etc/vzdump"} {
		must(t, os.Chmod(filepath.Join(want, dir), 0o755))
	}
	res, err := unpack.Unpack(t.Context(), open(t, archive), got, unpack.Options{})
	must(t, err)
	if d := cmp.Diff(tree(t, want), tree(t, got)); d != "" {
		t.Error(d)
	}
	if string(res.Config) != "arch: amd64\n" || res.Firewall != nil || res.Skipped != 2 || !res.Facts.Complete {
		t.Errorf("result %+v", res)
	}
}

func TestIDMap(t *testing.T) {
	ids, err := unpack.ParseIDMap([]string{"b:0:100000:65536"})
	must(t, err)
	dir := t.TempDir()
	_, err = unpack.Unpack(t.Context(), open(t, vzdumpAsPVE(t)), dir, unpack.Options{IDMap: ids})
	must(t, err)
	for name, want := range map[string]string{
		"usr/bin/su": "106755 100005:100042", "closed": "41500 165535:165534", "bin": "120777 100007:100008", "etc": "40755 100000:100000", "pipe": "10600 100000:100000",
	} {
		var st unix.Stat_t
		must(t, unix.Lstat(filepath.Join(dir, name), &st))
		if got := fmt.Sprintf("%o %d:%d", st.Mode, st.Uid, st.Gid); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	// Revision 3, with the guest's root.
	value := make([]byte, 100)
	n, err := unix.Lgetxattr(filepath.Join(dir, "usr/bin/ping"), "security.capability", value)
	must(t, err)
	want := append(bytes.Clone(capNetRaw), 0xa0, 0x86, 1, 0)
	want[3] = 3
	if !bytes.Equal(value[:n], want) {
		t.Errorf("capability %x, want %x", value[:n], want)
	}
}

func TestParseIDMap(t *testing.T) {
	for _, c := range []struct{ spec, want string }{
		{"b:0:100000:65536", ""},
		{"u:0:100000:65536 g:0:200000:65536", ""},
		{"b:0:100000:1000 b:1000:1000:1 b:1001:101001:64535", ""},
		{"u:0:100000:65536", "group id 0 is mapped not at all"},
		{"b:0:100000:65535", "user id 65535 is mapped not at all"},
		{"b:0:100000:65536 g:5:1:1", "group id 5 is mapped more than once"},
		{"x:0:1:1", "want type:guest:host:count"},
		{"ub:0:1:1", "want type:guest:host:count"},
		{"b:0:1", "want type:guest:host:count"},
		{"b:0:one:1", "want type:guest:host:count"},
		{"b:-1:1:65537", "outside"},
		{"b:0:2147483647:65536", "outside"},
	} {
		t.Run(c.spec, func(t *testing.T) {
			_, err := unpack.ParseIDMap(strings.Fields(c.spec))
			if c.want == "" {
				must(t, err)
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || fault.Of(err) != fault.Misuse || fault.HintOf(err) == "" {
				t.Errorf("error %v, want %q with a hint", err, c.want)
			}
		})
	}
}

// Every revision becomes the guest's, or the archive is refused: one that is
// written as it is may give a local user the host's capabilities.
func TestCapabilities(t *testing.T) {
	value := func(revision, flags byte, size int, root ...byte) string {
		v := make([]byte, size)
		copy(v, capNetRaw)
		v[0], v[3] = flags, revision
		copy(v[size-len(root):], root)
		return string(v)
	}
	ids, err := unpack.ParseIDMap([]string{"b:0:100000:65536"})
	must(t, err)
	for _, c := range []struct {
		name, value string
		ids         unpack.IDMap
		want        string // "" is refused
	}{
		{"2", value(2, 1, 20), ids, value(3, 1, 24, 0xa0, 0x86, 1, 0)},
		{"2 without effective", value(2, 0, 20), ids, value(3, 0, 24, 0xa0, 0x86, 1, 0)},
		{"3, root 0", value(3, 1, 24), ids, value(3, 1, 24, 0xa0, 0x86, 1, 0)},
		{"3, root 5", value(3, 1, 24, 5, 0, 0, 0), ids, value(3, 1, 24, 0xa5, 0x86, 1, 0)},
		{"3, root 100000", value(3, 1, 24, 0xa0, 0x86, 1, 0), ids, ""},
		{"3, root -1", value(3, 1, 24, 0xff, 0xff, 0xff, 0xff), ids, ""},
		{"2, unknown flag", value(2, 3, 20), ids, ""},
		{"2, too long", value(2, 1, 24), ids, ""},
		{"3, too short", value(3, 1, 20), ids, ""},
		{"1", value(1, 1, 12), ids, ""},
		{"1, as long as 2", value(1, 1, 20), ids, ""},
		{"4", value(4, 1, 24), ids, ""},
		{"empty", "", ids, ""},
		{"2 without a map", value(2, 1, 20), unpack.IDMap{}, value(2, 1, 20)},
		{"3, root 0, without a map", value(3, 1, 24), unpack.IDMap{}, value(2, 1, 20)},
		{"3, root 5, without a map", value(3, 1, 24, 5, 0, 0, 0), unpack.IDMap{}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			member := tar.Header{Name: "./f", Typeflag: tar.TypeReg, Mode: 0o755, PAXRecords: map[string]string{"SCHILY.xattr.security.capability": c.value}}
			data := archive(t, member)
			if c.value == "" { // archive/tar drops it
				data = bytes.NewBuffer(join(records("SCHILY.xattr.security.capability", "").bytes(), newRaw('0', "./f", "").bytes()))
			}
			_, err := unpack.Unpack(t.Context(), data, dir, unpack.Options{IDMap: c.ids})
			if c.want == "" {
				if fault.Of(err) != fault.Invalid || !strings.Contains(err.Error(), "file capabilities") {
					t.Errorf("error %v, want refused", err)
				}
				return
			}
			must(t, err)
			if got := xattrs(t, filepath.Join(dir, "f")); got != " security.capability="+hex.EncodeToString([]byte(c.want)) {
				t.Errorf("got %s, want %x", got, c.want)
			}
		})
	}
}

func TestACLsAreShifted(t *testing.T) {
	ids, err := unpack.ParseIDMap([]string{"u:0:100000:65536", "g:0:200000:65536"})
	must(t, err)
	dir := t.TempDir()
	_, err = unpack.Unpack(t.Context(), archive(t, tar.Header{Name: "./f", Typeflag: tar.TypeReg, PAXRecords: map[string]string{"SCHILY.acl.access": "user::rw-,user:33:r--,group::---,group:7:rwx,mask::rwx,other::---"}}), dir, unpack.Options{IDMap: ids})
	must(t, err)
	want := vzdump.ACL{
		{Tag: vzdump.ACLOwner, Perm: 6}, {Tag: vzdump.ACLUser, Perm: 4, ID: 100033}, {Tag: vzdump.ACLOwningGroup}, {Tag: vzdump.ACLGroup, Perm: 7, ID: 200007}, {Tag: vzdump.ACLMask, Perm: 7}, {Tag: vzdump.ACLOther},
	}
	same := func(id int) int { return id }
	if got := xattrs(t, filepath.Join(dir, "f")); got != " system.posix_acl_access="+hex.EncodeToString(want.Xattr(same, same)) {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAttributeTooLargeIsNotAFullDisk(t *testing.T) {
	_, err := unpack.Unpack(t.Context(), archive(t, tar.Header{Name: "./f", Typeflag: tar.TypeReg, PAXRecords: map[string]string{"SCHILY.xattr.user.big": strings.Repeat("x", 100_000)}}), t.TempDir(), unpack.Options{})
	if fault.Of(err) != fault.Invalid || errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "user.big") {
		t.Errorf("error %v, want refused for its attribute", err)
	}
}

// archive makes a plain tar: config first, then the given members.
func archive(t *testing.T, headers ...tar.Header) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range append([]tar.Header{{Name: "./etc/vzdump/pct.conf", Typeflag: tar.TypeReg, Mode: 0o644}}, headers...) {
		h.Format, h.ModTime = tar.FormatPAX, time.Unix(1, 0)
		must(t, w.WriteHeader(&h))
		_, err := w.Write(make([]byte, h.Size))
		must(t, err)
	}
	must(t, w.Close())
	return &b
}

func TestHostileStaysInside(t *testing.T) {
	outside := t.TempDir()
	cases := []struct {
		name    string
		members []tar.Header
		class   error
	}{
		{name: "dots", members: []tar.Header{{Name: "./../x", Typeflag: tar.TypeReg}}, class: vzdump.ErrEscape},
		{name: "absolute", members: []tar.Header{{Name: outside + "/x", Typeflag: tar.TypeReg}}, class: vzdump.ErrEscape},
		{name: "through a symlink", members: []tar.Header{{Name: "./l", Typeflag: tar.TypeSymlink, Linkname: outside}, {Name: "./l/x", Typeflag: tar.TypeReg}}, class: vzdump.ErrEscape},
		{name: "hard link out", members: []tar.Header{{Name: "./h", Typeflag: tar.TypeLink, Linkname: "../../etc/passwd"}}, class: vzdump.ErrEscape},
		{name: "hard link through a symlink", members: []tar.Header{{Name: "./l", Typeflag: tar.TypeSymlink, Linkname: "/etc"}, {Name: "./h", Typeflag: tar.TypeLink, Linkname: "./l/passwd"}}, class: vzdump.ErrEscape},
		{name: "hard link to nothing", members: []tar.Header{{Name: "./h", Typeflag: tar.TypeLink, Linkname: "./gone"}}},
		{name: "device", members: []tar.Header{{Name: "./sda", Typeflag: tar.TypeBlock, Devmajor: 8}}},
		{name: "owner", members: []tar.Header{{Name: "./f", Typeflag: tar.TypeReg, Uid: 65536}}},
		{name: "two configurations", members: []tar.Header{{Name: "./etc/vzdump/pct.conf", Typeflag: tar.TypeReg}}, class: vzdump.ErrTwoConfigs},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := unpack.Unpack(t.Context(), archive(t, c.members...), t.TempDir(), unpack.Options{})
			if fault.Of(err) != fault.Invalid || c.class != nil && !errors.Is(err, c.class) {
				t.Errorf("error %v, class %s, want refused, %v", err, fault.Of(err), c.class)
			}
			if left, _ := os.ReadDir(outside); len(left) > 0 {
				t.Errorf("wrote %s outside", left[0].Name())
			}
		})
	}
}

func TestLinkThatWasThereIsNotFollowedOut(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	must(t, os.Symlink(outside, filepath.Join(dir, "usr")))
	_, err := unpack.Unpack(t.Context(), archive(t, tar.Header{Name: "./usr/", Typeflag: tar.TypeDir, Mode: 0o755}, tar.Header{Name: "./usr/x", Typeflag: tar.TypeReg}), dir, unpack.Options{})
	if err == nil {
		t.Error("no error")
	}
	if left, _ := os.ReadDir(outside); len(left) > 0 {
		t.Errorf("wrote %s outside", left[0].Name())
	}
}

func TestOldFilesStay(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "f"), []byte("mine"), 0o600))
	res, err := unpack.Unpack(t.Context(), archive(t, tar.Header{Name: "./f", Typeflag: tar.TypeReg, Size: 3}), dir, unpack.Options{})
	must(t, err)
	if got, _ := os.ReadFile(filepath.Join(dir, "f")); string(got) != "mine" || res.Skipped != 1 {
		t.Errorf("file holds %q, %d skipped", got, res.Skipped)
	}
}

func TestFirewallRulesLeaveTheTree(t *testing.T) {
	dir := t.TempDir()
	res, err := unpack.Unpack(t.Context(), archive(t, tar.Header{Name: "./etc/vzdump/pct.fw", Typeflag: tar.TypeReg, Size: 3}), dir, unpack.Options{})
	must(t, err)
	if len(res.Firewall) != 3 {
		t.Errorf("firewall %q", res.Firewall)
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "etc/vzdump")); len(left) != 0 {
		t.Errorf("%s stayed", left[0].Name())
	}
}

func TestWithoutConfiguration(t *testing.T) {
	var b bytes.Buffer
	must(t, tar.NewWriter(&b).Close())
	_, err := unpack.Unpack(t.Context(), &b, t.TempDir(), unpack.Options{})
	if fault.Of(err) != fault.Invalid || !strings.Contains(err.Error(), "no ./etc/vzdump/pct.conf") {
		t.Errorf("error %v", err)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := unpack.Unpack(ctx, archive(t), t.TempDir(), unpack.Options{}); fault.Of(err) != fault.Interrupted {
		t.Errorf("error %v, want interrupted", err)
	}
}
