package inspect_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/golden/internal/image"
	"github.com/felhom/felhom-golden/golden/internal/inspect"
	"github.com/felhom/felhom-golden/internal/fault"
)

const archiveName = "vzdump-lxc-9100-2026_01_02-03_04_05.tar"

// archive writes members by archive/tar; typ follows from the name and body.
func archive(t *testing.T, members ...[2]string) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := &tar.Header{Name: "./" + m[0], Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(m[1])), Format: tar.FormatPAX}
		link, isLink := strings.CutPrefix(m[1], "-> ")
		switch {
		case strings.HasSuffix(m[0], "/"):
			h.Typeflag, h.Mode, h.Size = tar.TypeDir, 0o755, 0
		case isLink:
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, link, 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := io.WriteString(w, m[1]); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

func sample() [][2]string {
	const dir = "usr/lib/systemd/system/"
	return [][2]string{
		{"etc/vzdump/pct.conf", "arch: amd64\nhostname: golden\n"},
		{"", ""},
		{"etc/systemd/system/multi-user.target.wants/on.service", "-> /" + dir + "on.service"},
		{"etc/systemd/system/gone.service", "-> /dev/null"},
		{"usr/lib/os-release", "ID=debian\nPRETTY_NAME=\"Debian 13\"\n"},
		{dir + "off.service", "[Install]\n"},
		{dir + "gone.service", "[Install]\n"},
		{dir + "on.service", "[Install]\n"},
		{dir + "still.service", "[Service]\n"},
		{dir + "other.service", "-> still.service"},
		{"var/lib/dpkg/status", "Package: base\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n\n"},
	}
}

func TestArchive(t *testing.T) {
	members := sample()
	members[1] = [2]string{"etc/", ""}
	got, err := inspect.Archive(t.Context(), archive(t, members...), "x/"+archiveName, inspect.Options{Files: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		got, want any
	}{
		{"name", got.Archive, archiveName},
		{"os", got.OS, inspect.OS{ID: "debian", PrettyName: "Debian 13"}},
		{"config", got.Config, map[string]string{"arch": "amd64", "hostname": "golden"}},
		{"packages", got.Packages, []image.Package{{Name: "base", Version: "1", Arch: "all"}}},
		{"units", got.Units, []image.State{{Name: "gone.service", State: "masked"}, {Name: "off.service", State: "disabled"}, {Name: "on.service", State: "enabled"}, {Name: "other.service", State: "alias"}, {Name: "still.service", State: "static"}}},
		{"problems", got.Problems, []string{}},
		{"files", len(got.Files), len(members) - 1},
		{"all", got.Directories[0].Path, "/"},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", c.name, diff)
		}
	}
}

// The configuration is read although what comes behind it is broken.
func TestConfigReadsNoFurther(t *testing.T) {
	whole := archive(t, [2]string{"etc/vzdump/pct.conf", "arch: amd64\n"}, [2]string{"a", strings.Repeat("x", 1<<20)})
	cut := whole.Bytes()[:4096]
	conf, err := inspect.Config(t.Context(), bytes.NewReader(cut), archiveName)
	if err != nil || string(conf) != "arch: amd64\n" {
		t.Errorf("got %q, %v; want the configuration", conf, err)
	}
	if _, err := inspect.Archive(t.Context(), bytes.NewReader(cut), archiveName, inspect.Options{}); fault.Of(err) != fault.Invalid {
		t.Errorf("whole look at a cut archive: %v, want class refused", err)
	}
	if _, err := inspect.Config(t.Context(), archive(t, [2]string{"a", "x"}), archiveName); fault.Of(err) != fault.Invalid {
		t.Errorf("no configuration: %v, want class refused", err)
	}
}

func TestArchiveIsBounded(t *testing.T) {
	big := archive(t, [2]string{"var/lib/dpkg/status", strings.Repeat("x", 9<<20)})
	if _, err := inspect.Archive(t.Context(), big, archiveName, inspect.Options{}); fault.Of(err) != fault.Invalid {
		t.Errorf("got %v, want class refused", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := inspect.Archive(ctx, archive(t, sample()[0]), archiveName, inspect.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
}
