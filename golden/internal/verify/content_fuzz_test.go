package verify_test

import (
	"bytes"
	"path"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/golden/internal/verify"
)

// FuzzContent: whatever is in the files of an image that the rules read, each rule is
// checked, and what it finds is named in bounded text.
func FuzzContent(f *testing.F) {
	for name, text := range map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/bash\n::\nx", "etc/shadow": "root:*:1:0:99999:7:::\na:$y$j9T$x:1\n:\n", "etc/hosts": "127.0.0.1 localhost\n# --- BEGIN PVE ---\n::1 a%b\n", "etc/fstab": "UUID=x / ext4 defaults 0 1\n//nas/x /mnt cifs\n",
		"etc/resolv.conf": "nameserver 192.0.2.1\n", "etc/apt/sources.list": "deb [trusted=yes signed-by=/a] http://u:p@mirror.example/debian trixie main\n", "etc/apt/sources.list.d/a.sources": "Types: deb\nURIs: http://a.example\nSuites: trixie\nSigned-By:\n -----BEGIN\n", "etc/crontab": "17 * * * * root run\n",
		"var/lib/dpkg/status": "Package: a\nStatus: install ok unpacked\nTriggers-Pending: x\n", "var/lib/dpkg/diversions": "/sbin/init\n", "var/lib/dpkg/info/a.md5sums": "d41d8cd98f00b204e9800998ecf8427e  etc/hosts\nx  ../../x\n", "etc/docker/daemon.json": `{"log-driver":"json-file","log-opts":{"max-size":1}}`,
		"etc/systemd/system/docker.service.d/a.conf": "[Service]\nExecStart=\nExecStart=-$X ${Y}\nEnvironment=\"X=a b\"\n", "etc/systemd/system-preset/00-a.preset": "enable *[\ndisable\n", "etc/os-release": "ID=debian\nVERSION_ID='13\n", "etc/network/interfaces": "auto eth0\niface eth0 inet dhcp\n",
		"etc/felhom/container.yaml": "image: a\nports: [80]\n", "etc/felhom/images.json": `{"images":[{"reference":"a:1","file":"../x"}]}`, "etc/vzdump/pct.conf": "arch: amd64\nlxc.idmap: u 0 0 1\nmp0: /:/,mp=\n", "etc/hostname": "a\x1b[2J\n", "etc/machine-id": "\xff",
	} {
		f.Add(name, text)
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		if name != path.Clean(name) || !strings.HasPrefix(name, "etc/") && !strings.HasPrefix(name, "var/") && !strings.HasPrefix(name, "usr/") || len(name) > 100 || strings.Contains(name, "\x00") || len(text) > 64<<10 {
			t.Skip("not a member of an archive")
		}
		s := good()
		s.put(name, 0o644, text)
		report, err := verify.Archive(t.Context(), bytes.NewReader(s.bytes(t)), s.name, verify.Options{})
		if err != nil {
			return // the archive itself is refused, which is another target's
		}
		if len(report.Rules) == 0 || report.Errors+report.Warnings < len(report.Findings) {
			t.Errorf("report %+v", report)
		}
		each := map[string]int{}
		for _, found := range report.Findings {
			if each[found.Rule]++; each[found.Rule] > 50 || found.Message == "" || found.Rule == "" || len(found.Message) > 4*len(text)+10_000 {
				t.Errorf("%q with %q: %d bytes in the finding %.500q", name, text, len(found.Message), found.Message)
			}
		}
	})
}
