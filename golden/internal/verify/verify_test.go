package verify_test

import (
	"archive/tar"
	"bytes"
	"cmp"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/felhom/felhom-golden/golden/internal/contents"
	"github.com/felhom/felhom-golden/golden/internal/rules"
	"github.com/felhom/felhom-golden/golden/internal/verify"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

const archiveName = "vzdump-lxc-9100-2026_01_02-03_04_05.tar.zst"

// sample is an archive as a test makes it: members by path, in an order of
// its own, written by archive/tar so that none of our code is trusted.
type sample struct {
	name    string
	members map[string]*tar.Header // by path without ./
	data    map[string]string
	order   func(a, b string) int
	prefix  string
	extra   []*tar.Header // after all others
	options []zstd.EOption
	tail    []byte // after the zstd stream
}

func (s *sample) put(path string, mode int64, content string) *tar.Header {
	h := &tar.Header{Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(content))}
	s.members[path], s.data[path] = h, content
	return h
}

func (s *sample) dir(path string, mode int64) *tar.Header {
	h := &tar.Header{Typeflag: tar.TypeDir, Mode: mode}
	s.members[path] = h
	return h
}

func (s *sample) link(path, target string) *tar.Header {
	h := &tar.Header{Typeflag: tar.TypeSymlink, Mode: 0o777, Linkname: target}
	s.members[path] = h
	return h
}

func (s *sample) replace(path, old, text string) {
	if !strings.Contains(s.data[path], old) {
		panic(fmt.Sprintf("%s has no %q", path, old))
	}
	s.put(path, s.members[path].Mode, strings.ReplaceAll(s.data[path], old, text))
}

// elfFile is a program of a header and nothing else; interp makes it dynamic.
func elfFile(machine uint16, interp string) string {
	h := make([]byte, 64)
	copy(h, "\x7fELF\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint16(h[16:], 2) // ET_EXEC
	le.PutUint16(h[18:], machine)
	le.PutUint32(h[20:], 1)
	le.PutUint16(h[52:], 64)
	le.PutUint16(h[54:], 56)
	if interp == "" {
		return string(h)
	}
	le.PutUint64(h[32:], 64)
	le.PutUint16(h[56:], 1)
	p := make([]byte, 56)
	le.PutUint32(p, 3) // PT_INTERP
	le.PutUint64(p[8:], 120)
	le.PutUint64(p[32:], uint64(len(interp)+1))
	return string(h) + string(p) + interp + "\x00"
}

const (
	amd64 = 62
	arm64 = 183
)

func good() *sample {
	s := &sample{
		name: archiveName, members: map[string]*tar.Header{}, data: map[string]string{}, prefix: "./",
		order: func(a, b string) int { return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/")) },
	}
	s.put(vzdump.ConfigPath, 0o644, "arch: amd64\ncores: 2\nfeatures: keyctl=1,nesting=1\nhostname: golden\nmemory: 2048\nnet0: name=eth0,bridge=vmbr0,ip=dhcp,type=veth\nostype: debian\nrootfs: local-lvm:vm-9100-disk-0,size=8G\nswap: 512\nunprivileged: 1\n")
	s.put(vzdump.FirewallPath, 0o644, "")
	for _, d := range strings.Fields(`. boot dev etc etc/apt etc/apt/sources.list.d etc/docker etc/systemd etc/systemd/system
		etc/systemd/system/multi-user.target.wants etc/systemd/system/network-online.target.wants etc/systemd/system-preset home opt run
		usr usr/bin usr/lib usr/lib/systemd usr/lib/systemd/system usr/sbin usr/local usr/local/bin usr/share var var/backups var/cache
		var/lib var/lib/dpkg var/lib/dpkg/info var/log var/spool etc/felhom-bootstrap`) {
		s.dir(d, 0o755)
	}
	for d, mode := range map[string]int64{"proc": 0o555, "sys": 0o555, "tmp": 0o1777, "var/tmp": 0o1777, "root": 0o700} {
		s.dir(d, mode)
	}
	for l, t := range map[string]string{"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "etc/os-release": "../usr/lib/os-release"} {
		s.link(l, t)
	}
	for f, text := range map[string]string{
		"etc/machine-id": "", "etc/hostname": "golden\n", "etc/hosts": "127.0.0.1 localhost\n", "etc/resolv.conf": "",
		"etc/debian_version": "13.2\n", "usr/lib/os-release": "NAME=\"Debian\"\nID=debian\n",
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\n", "etc/group": "root:x:0:\nshadow:x:42:\n",
		"etc/shadow": "root:*:20000:0:99999:7:::\n", "etc/gshadow": "root:*::\n",
		"etc/docker/daemon.json":                     `{"log-driver":"local"}`,
		"etc/apt/sources.list.d/deb.sources":         "Types: deb\nURIs: https://mirror.example/debian\nSuites: trixie\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n",
		"etc/systemd/system-preset/10-golden.preset": "enable docker.service\nenable networking.service\nenable felhom-*\ndisable *\n",
		"var/lib/dpkg/info/tools.md5sums":            "",
	} {
		s.put(f, 0o644, text)
	}
	status := ""
	for _, p := range []string{"apt", "ifupdown", "dhcpcd-base", "docker.io"} {
		status += "Package: " + p + "\nStatus: install ok installed\n\n"
	}
	s.put("var/lib/dpkg/status", 0o644, status)
	// What programs hold does not matter; a text has no loader and no libraries.
	for _, p := range strings.Fields("usr/bin/login usr/bin/containerd usr/bin/containerd-shim-runc-v2 usr/bin/tini-static usr/sbin/agetty usr/sbin/dockerd usr/sbin/runc usr/sbin/iptables usr/bin/passwd") {
		s.put(p, 0o755, p)
	}
	s.put("usr/bin/passwd", 0o4755, "x")
	s.put("usr/lib/systemd/systemd", 0o755, elfFile(amd64, ""))
	s.link("usr/sbin/init", "../lib/systemd/systemd")
	s.put("usr/sbin/felhom-controller-bootstrap", 0o755, elfFile(amd64, ""))
	const units = "usr/lib/systemd/system/"
	for unit, text := range map[string]string{
		"multi-user.target": "[Unit]\n", "network-online.target": "[Unit]\n", "getty.target": "[Unit]\n", "container-getty@.service": "[Service]\n",
		"docker.service":                      "[Unit]\nAfter=network-online.target\n[Service]\nExecStart=/usr/sbin/dockerd\n[Install]\nWantedBy=multi-user.target\n",
		"networking.service":                  "[Unit]\nBefore=network-online.target\n[Install]\nWantedBy=multi-user.target\nWantedBy=network-online.target\n",
		"felhom-controller-bootstrap.service": "[Unit]\nAfter=docker.service\n[Service]\nExecStart=/usr/sbin/felhom-controller-bootstrap apply\n[Install]\nWantedBy=multi-user.target\n",
		"extra.service":                       "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n",
	} {
		s.put(units+unit, 0o644, text)
	}
	s.link(units+"default.target", "multi-user.target")
	for link, unit := range map[string]string{
		"multi-user.target.wants/docker.service": "docker.service", "multi-user.target.wants/networking.service": "networking.service",
		"network-online.target.wants/networking.service":              "networking.service",
		"multi-user.target.wants/felhom-controller-bootstrap.service": "felhom-controller-bootstrap.service",
	} {
		s.link("etc/systemd/system/"+link, "/"+units+unit)
	}
	// A package owns all programs, so that only what a test adds is unowned.
	sums := ""
	for _, p := range slices.Sorted(maps.Keys(s.members)) {
		if strings.HasPrefix(p, "usr/bin/") || strings.HasPrefix(p, "usr/sbin/") {
			if s.members[p].Typeflag == tar.TypeReg {
				sums += md5Hex(s.data[p]) + "  " + p + "\n"
			}
		}
	}
	s.put("var/lib/dpkg/info/tools.md5sums", 0o644, sums)
	return s
}

func (s *sample) bytes(t testing.TB) []byte {
	t.Helper()
	var out bytes.Buffer
	zw, err := zstd.NewWriter(&out, append([]zstd.EOption{zstd.WithEncoderConcurrency(1)}, s.options...)...)
	if err != nil {
		t.Fatal(err)
	}
	tw := tar.NewWriter(zw)
	paths := slices.SortedFunc(maps.Keys(s.members), func(a, b string) int {
		first := func(p string) int { return slices.Index([]string{vzdump.FirewallPath, vzdump.ConfigPath}, p) }
		return cmp.Or(-cmp.Compare(first(a), first(b)), s.order(a, b))
	})
	write := func(name string, h tar.Header, data string) {
		if h.Typeflag == tar.TypeXGlobalHeader {
			h = tar.Header{Typeflag: h.Typeflag, PAXRecords: h.PAXRecords}
			if err := tw.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
			return
		}
		h.Name = name
		h.Format = cmp.Or(h.Format, tar.FormatPAX)
		if h.ModTime.IsZero() {
			h.ModTime = time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
		}
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range paths {
		name := s.prefix + p
		if p == "." {
			name = "./"
		} else if s.members[p].Typeflag == tar.TypeDir {
			name += "/"
		}
		write(name, *s.members[p], s.data[p])
	}
	for _, h := range s.extra {
		write(h.Name, *h, strings.Repeat("x", int(h.Size)))
	}
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		t.Fatal(err)
	}
	return append(out.Bytes(), s.tail...)
}

func (s *sample) verify(t testing.TB, opts verify.Options) verify.Report {
	t.Helper()
	report, err := verify.Archive(t.Context(), bytes.NewReader(s.bytes(t)), s.name, opts)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// putTable adds the table of contents that is true of the sample, as edit has it.
func (s *sample) putTable(edit func(string) string) {
	s.dir("etc/felhom", 0o755)
	var all contents.Sample
	for _, p := range slices.Sorted(maps.Keys(s.members)) {
		h := s.members[p]
		e := vzdump.Entry{Path: p, Link: h.Linkname, Type: map[byte]vzdump.Type{tar.TypeReg: vzdump.File, tar.TypeDir: vzdump.Dir, tar.TypeSymlink: vzdump.Symlink}[h.Typeflag], Size: h.Size}
		if err := all.Add(&e, func() ([]byte, error) { return []byte(s.data[p]), nil }); err != nil {
			panic(err)
		}
	}
	text, err := all.Contents().Encode()
	if err != nil {
		panic(err)
	}
	changed := edit(string(text))
	s.put(contents.Path, 0o644, changed)
}

// A table of contents that says what is in the archive breaks no rule.
func TestGoodTablePasses(t *testing.T) {
	s := good()
	s.putTable(func(text string) string { return text })
	report := s.verify(t, verify.Options{Strict: true})
	if err := report.Err(); err != nil || len(report.Findings) > 0 {
		t.Errorf("%v: %+v", err, report.Findings)
	}
}

// An image from the build machine's own registry, or with a package of its name, has this
// name in its table too.
func TestBuildNamesAreNotThoseOfTheTable(t *testing.T) {
	s := good()
	s.dir("usr/lib/felhom", 0o755)
	s.dir("usr/lib/felhom/images", 0o755)
	s.put("usr/lib/felhom/images/app.tar", 0o644, "image")
	s.put("usr/lib/felhom/images/index.json", 0o644, `{"images":[{"reference":"buildhost1:5000/app:1","config_digest":"sha256:`+strings.Repeat("0", 64)+`","file":"app.tar"}]}`)
	s.putTable(func(text string) string {
		if !strings.Contains(text, "buildhost1") {
			t.Errorf("the table does not name the image: %s", text)
		}
		return text
	})
	for _, f := range s.verify(t, verify.Options{BuildNames: []string{"buildhost1"}}).Findings {
		t.Errorf("%+v", f)
	}
}

func TestGoodArchivePasses(t *testing.T) {
	for _, profile := range []verify.Profile{verify.Golden, verify.Restore} {
		report := good().verify(t, verify.Options{Profile: profile, Strict: true})
		for _, f := range report.Findings {
			t.Errorf("%s: %s %s: %s", profile, f.Rule, f.Path, f.Message)
		}
		if err := report.Err(); err != nil {
			t.Error(err)
		}
		if len(report.Rules) < 10 || report.Entries < 50 || report.SHA256 == "" {
			t.Errorf("report %+v: want rules, members and a hash", report)
		}
	}
}

func TestReportForms(t *testing.T) {
	s := good()
	s.put("etc/machine-id", 0o444, "0123456789abcdef0123456789abcdef\n")
	s.put("etc/a\x1b[2J.orig", 0o644, "")
	report := s.verify(t, verify.Options{})
	var text, js, junit bytes.Buffer
	if err := errors.Join(report.WriteText(&text), report.WriteJSON(&js), report.WriteJUnit(&junit)); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text.String(), "\x1b") || !strings.Contains(text.String(), "error    machine-id: /etc/machine-id: holds an id") {
		t.Errorf("text:\n%q", text.String())
	}
	var back verify.Report
	if err := json.Unmarshal(js.Bytes(), &back); err != nil || back.Errors != report.Errors || back.Errors == 0 {
		t.Errorf("json: %v, %d errors, want %d", err, back.Errors, report.Errors)
	}
	var suite struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
	}
	if err := xml.Unmarshal(junit.Bytes(), &suite); err != nil || suite.Tests != len(rules.All()) || suite.Failures == 0 {
		t.Errorf("junit: %v, %+v", err, suite)
	}
	if fault.Of(report.Err()) != fault.Invalid || fault.HintOf(report.Err()) == "" {
		t.Errorf("error %v, want class refused and a hint", report.Err())
	}
}

func md5Hex(text string) string {
	sum := md5.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}
