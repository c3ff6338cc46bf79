//go:build integration

package build

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

// oddPackage is a made-up package with something in it that an engine could do in another way than dpkg and apt.
type oddPackage struct {
	suite       string
	compression string
	control     string            // without what all packages have
	scripts     map[string]string // and the other control files
	files       map[string]string
	extra       func(tree string) error // what is not a plain file
}

// helped are the scripts of a package that moves one of its conffiles and gives up another.
const helped = `#!/bin/sh
set -e
dpkg-maintscript-helper mv_conffile /etc/odd/old-name /etc/odd/new-name 2~ -- "$@"
dpkg-maintscript-helper rm_conffile /etc/odd/gone 2~ -- "$@"
mkdir -p /var/lib/odd
touch "/var/lib/odd/${0##*[./]}-$1-$2"
`

// oddPackages: "trixie" is as Debian's own archive, from which the essential packages come; "trixie-more" has a newer one, which is
// taken if it is asked for, as in trixie-backports.
var oddPackages = []oddPackage{
	{
		suite: "trixie", compression: "xz", control: "Package: odd-essential\nVersion: 1\nEssential: yes\nDepends: odd-helper\n",
		scripts: map[string]string{"conffiles": "/etc/odd/keep\n/etc/odd/old-name\n/etc/odd/gone\n"},
		files:   map[string]string{"etc/odd/keep": "1", "etc/odd/old-name": "1", "etc/odd/gone": "1", "usr/share/odd/essential": "1"},
	},
	{
		suite: "trixie", compression: "gzip", control: "Package: odd-helper\nVersion: 1\n",
		scripts: map[string]string{"conffiles": "/etc/odd/helper\n", "prerm": "#!/bin/sh\nmkdir -p /var/lib/odd\necho \"$@\" >/var/lib/odd/helper-prerm\n"},
		files:   map[string]string{"etc/odd/helper": "1", "usr/share/odd/helper": "1"},
	},
	{
		suite: "trixie-more", compression: "zstd", control: "Package: odd-essential\nVersion: 2\nEssential: yes\nDepends: odd-helper\n",
		scripts: map[string]string{"conffiles": "/etc/odd/keep\n/etc/odd/new-name\n", "preinst": helped, "postinst": helped, "postrm": helped},
		files:   map[string]string{"etc/odd/keep": "2", "etc/odd/new-name": "2", "usr/share/odd/essential": "2"},
	},
	{
		suite: "trixie-more", compression: "none", control: "Package: odd-other\nVersion: 1\nConflicts: odd-helper\nReplaces: odd-helper\nProvides: odd-helper\n",
		files: map[string]string{"usr/share/odd/helper": "other"},
	},
	{suite: "trixie-more", compression: "xz", control: "Package: odd-needs\nVersion: 1\nDepends: odd-essential (>= 2), odd-other\n"},
	{
		suite: "trixie-more", compression: "xz", control: "Package: odd-base\nVersion: 2:1.0~rc1+b1-3\nDepends: debconf\nProvides: odd-virtual\n",
		scripts: map[string]string{
			"conffiles": "/etc/odd/base.conf\n",
			"triggers":  "interest-await /usr/share/odd-watch\ninterest-noawait odd-named\n",
			"postinst": "#!/bin/sh\nset -e\nmkdir -p /var/lib/odd\necho \"$1\" >>/var/lib/odd/base-calls\n" +
				"ls /usr/share/odd-watch >/var/lib/odd/watched 2>/dev/null || :\n" +
				"echo odd-debconf odd-debconf/question string preseeded | debconf-set-selections\n",
		},
		files: map[string]string{
			"usr/bin/odd-tool": "base", "etc/odd/base.conf": "x",
			"etc/dpkg/dpkg.cfg.d/odd": "path-exclude=/usr/share/odd-excluded/*\npost-invoke=mkdir -p /var/lib/odd && touch /var/lib/odd/hook\n",
		},
	},
	{
		suite: "trixie-more", compression: "zstd", control: "Package: odd-pre\nVersion: 1\nPre-Depends: odd-base\n",
		scripts: map[string]string{
			"preinst": "#!/bin/sh\nset -e\ngrep -q configure /var/lib/odd/base-calls\n" +
				"dpkg-divert --package odd-pre --add --rename --divert /usr/bin/odd-tool.distrib /usr/bin/odd-tool\n",
			"postinst": "#!/bin/sh\nset -e\nupdate-alternatives --install /usr/bin/odd-link odd-link /usr/bin/odd-tool 10\n",
		},
		files: map[string]string{"usr/bin/odd-tool": "pre", "usr/share/odd-excluded/pre": "x"},
	},
	{
		suite: "trixie-more", compression: "gzip", control: "Package: odd-user\nVersion: 1\nDepends: odd-virtual\n",
		files: map[string]string{"usr/share/odd-watch/user": "x", "usr/share/odd/moved": "user", "usr/share/odd-excluded/user": "x"},
	},
	{
		suite: "trixie-more", compression: "none", control: "Package: odd-new\nVersion: 1\nDepends: odd-user\nReplaces: odd-user\nBreaks: odd-user (<< 1)\n",
		scripts: map[string]string{"postinst": "#!/bin/sh\nset -e\ndpkg-trigger odd-named\n"},
		files:   map[string]string{"usr/share/odd/moved": "new", "usr/share/odd-watch/new": "x"},
	},
	{
		suite: "trixie-more", compression: "xz", control: "Package: odd-debconf\nVersion: 1\nPre-Depends: odd-base, debconf\n",
		scripts: map[string]string{
			"templates": "Template: odd-debconf/question\nType: string\nDefault: default\nDescription: a question\n a longer one\n",
			"config":    "#!/bin/sh\nset -e\n. /usr/share/debconf/confmodule\ndb_input high odd-debconf/question || :\ndb_go\n",
			"postinst":  "#!/bin/sh\nset -e\n. /usr/share/debconf/confmodule\ndb_get odd-debconf/question\necho \"$RET\" >/etc/odd/answer\n",
		},
	},
	{suite: "trixie-more", compression: "xz", control: "Package: odd-cycle-a\nVersion: 1\nDepends: odd-cycle-b\nProtected: yes\nImportant: yes\nMulti-Arch: foreign\n"},
	{suite: "trixie-more", compression: "xz", control: "Package: odd-cycle-b\nVersion: 1\nDepends: odd-cycle-a\nMulti-Arch: same\n", files: map[string]string{"usr/share/odd/b": "x"}},
	{suite: "trixie-more", compression: "xz", control: "Package: odd-files\nVersion: 1\n", files: map[string]string{"usr/lib/odd/one": "x"}, extra: oddFiles},
}

// oddFiles makes what is not a plain file. The seal removes the device and the pipe; they are there to be unpacked.
func oddFiles(tree string) error {
	dir := filepath.Join(tree, "usr/lib/odd")
	long := filepath.Join(dir, strings.Repeat("long/", 30)+"näme with spaces")
	if err := os.MkdirAll(filepath.Dir(long), 0o755); err != nil {
		return err
	}
	for _, err := range []error{
		os.WriteFile(long, []byte("x"), 0o600),
		os.Link(filepath.Join(dir, "one"), filepath.Join(dir, "two")),
		os.Link(filepath.Join(dir, "one"), filepath.Join(tree, "usr/lib/odd/three")),
		os.Symlink("one", filepath.Join(dir, "link")),
		os.Symlink("/nowhere", filepath.Join(dir, "dangling")),
		os.WriteFile(filepath.Join(dir, "setuid"), []byte("x"), 0o755),
		os.Chown(filepath.Join(dir, "setuid"), 0, 42),
		os.Chmod(filepath.Join(dir, "setuid"), 0o755|fs.ModeSetuid|fs.ModeSetgid),
		os.Mkdir(filepath.Join(dir, "sticky"), 0o700),
		os.Chown(filepath.Join(dir, "sticky"), 33, 33),
		os.Chmod(filepath.Join(dir, "sticky"), 0o775|fs.ModeSticky|fs.ModeSetgid),
		unix.Mknod(filepath.Join(dir, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))),
		unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

// oddRecipe returns a recipe with all odd packages, from a signed archive that is served until the test ends.
func oddRecipe(t *testing.T) string {
	t.Helper()
	if err := testbed.Require(t.Context(), os.Stderr, "dpkg-deb", "gpg", "gpg-agent", "gpgconf"); err != nil {
		t.Fatal(err)
	}
	archive := t.TempDir()
	indexes := map[string]*bytes.Buffer{}
	for i, p := range oddPackages {
		name := fmt.Sprintf("pool/p%d.deb", i)
		file := filepath.Join(archive, name)
		p.build(t, file)
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if indexes[p.suite] == nil {
			indexes[p.suite] = &bytes.Buffer{}
		}
		_, err = fmt.Fprintf(indexes[p.suite], "%sFilename: %s\nSize: %d\nSHA256: %x\n\n", tool(t, nil, "dpkg-deb", "--field", file), name, len(data), sha256.Sum256(data))
		if err != nil {
			t.Fatal(err)
		}
	}
	home, err := os.MkdirTemp("", "gpg-") // gpg's socket is in it, and its path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run() // it may have ended by itself
		_ = os.RemoveAll(home)                                                // whose socket may be going at the same time
	})
	tool(t, nil, "gpg", "--homedir", home, "--batch", "--quiet", "--passphrase", "", "--quick-generate-key", "odd@example.org", "rsa3072", "sign", "never")
	key := filepath.Join(archive, "key.gpg")
	tool(t, nil, "gpg", "--homedir", home, "--batch", "--output", key, "--export", "odd@example.org")
	for suite, index := range indexes {
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		if _, err := w.Write(index.Bytes()); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(archive, "dists", suite, "main/binary-amd64/Packages.gz"), packed.Bytes())
		more := ""
		if suite != "trixie" {
			more = "NotAutomatic: yes\nButAutomaticUpgrades: yes\n"
		}
		release := more + fmt.Sprintf("Origin: odd\nSuite: %s\nCodename: %s\nDate: %s\nArchitectures: amd64 all\nComponents: main\nSHA256:\n %x %d main/binary-amd64/Packages\n %x %d main/binary-amd64/Packages.gz\n",
			suite, suite, time.Now().UTC().Add(-time.Minute).Format(time.RFC1123), sha256.Sum256(index.Bytes()), index.Len(), sha256.Sum256(packed.Bytes()), packed.Len())
		write(t, filepath.Join(archive, "dists", suite, "InRelease"), tool(t, []byte(release), "gpg", "--homedir", home, "--batch", "--clearsign"))
	}
	server := httptest.NewServer(http.FileServer(http.Dir(archive)))
	t.Cleanup(server.Close)
	return fmt.Sprintf(`version: 1
apt:
  security: false
  sources: [{name: odd, uri: %q, suites: [trixie, trixie-more], components: [main], key: %q}]
packages:
  include: [odd-essential=2, odd-needs, odd-pre, odd-new, odd-debconf, odd-cycle-a, odd-files]
  exclude: [docker.io, iptables, ca-certificates, dhcpcd-base, ifupdown, iproute2]
`, server.URL, key)
}

// checkOdd fails if a root lacks what only the odd packages' ways lead to: without it the engines would be compared in nothing.
func checkOdd(t *testing.T, tree map[string]string) {
	t.Helper()
	for _, path := range []string{
		"var/lib/odd/postinst-configure-1",                               // an essential package became newer
		"var/lib/odd/helper-prerm", "etc/odd/helper", "etc/odd/new-name", // one was removed, and a conffile moved
		"var/lib/odd/watched", "var/lib/odd/hook", "etc/odd/answer",
		"usr/bin/odd-tool.distrib", "etc/alternatives/odd-link", "usr/lib/odd/setuid",
	} {
		if tree[path] == "" {
			t.Errorf("%s: not in the root", path)
		}
	}
	for _, path := range []string{"etc/odd/gone", "etc/odd/old-name", "usr/share/odd-excluded/user"} {
		if tree[path] != "" {
			t.Errorf("%s: in the root", path)
		}
	}
}

func (p oddPackage) build(t *testing.T, file string) {
	t.Helper()
	tree := t.TempDir()
	if err := os.Chmod(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(tree, "DEBIAN/control"), []byte(p.control+"Architecture: amd64\nMaintainer: m <m@example.org>\nDescription: d\n"))
	for name, text := range p.scripts {
		write(t, filepath.Join(tree, "DEBIAN", name), []byte(text))
		if strings.HasPrefix(text, "#!") {
			if err := os.Chmod(filepath.Join(tree, "DEBIAN", name), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, text := range p.files {
		write(t, filepath.Join(tree, name), []byte(text))
	}
	if p.extra != nil {
		if err := p.extra(tree); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	tool(t, nil, "dpkg-deb", "-Z"+p.compression, "--build", tree, file)
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// tool runs a program of this machine and returns what it writes.
func tool(t *testing.T, stdin []byte, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(stdin), os.Stderr
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v", name, args, err)
	}
	return out
}
