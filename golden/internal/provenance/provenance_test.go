package provenance

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/golden/internal/image"
	"github.com/felhom/felhom-golden/internal/fault"
)

func sample(t *testing.T) Manifest {
	t.Helper()
	return Manifest{
		SchemaVersion: SchemaVersion, Name: "golden", Builder: "v1", Epoch: time.Unix(1760000000, 0).UTC(), Suite: "trixie", Arch: "amd64",
		RecipeSHA256: "r", Packages: []image.Package{
			{Name: "docker.io", Version: "26.1.5+dfsg1-9", Arch: "amd64"},
			{Name: "zlib1g", Version: "1:1.3.dfsg+really1.3.1-1+b1", Arch: "amd64", Source: "zlib (1:1.3)"},
		}, Tools: map[string]string{"apt-get": "2"}, Releases: map[string]Release{"trixie": {SHA256: "x"}},
		Inputs: map[string]string{"image a:1": "sha256:c", "script.sh": "s"}, Settings: map[string]string{"compression": "fast"}, Archive: Archive{SHA256: strings.Repeat("a", 64)},
	}
}

func TestCompare(t *testing.T) {
	a, b := sample(t), sample(t)
	b.Archive.SHA256 = "other"
	if got := Compare(a, b); len(got) > 0 {
		t.Errorf("equal inputs: got %v", got)
	}
	b.Builder, b.Settings, b.Tools, b.Releases = "v2", nil, map[string]string{"apt-get": "3"}, map[string]Release{"trixie": {SHA256: "y"}}
	b.Packages = b.Packages[1:]
	b.Inputs = map[string]string{"script.sh": "t", "new": "n", "image a:1": "sha256:c"}
	want := []Difference{
		{"builder", "v1", "v2"},
		{"input new", "", "n"},
		{"input script.sh", "s", "t"},
		{"package docker.io:amd64", "26.1.5+dfsg1-9", ""},
		{"release trixie", "x", "y"},
		{"setting compression", "fast", ""},
		{"tool apt-get", "2", "3"},
	}
	if diff := cmp.Diff(want, Compare(a, b)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestRead(t *testing.T) {
	archive := filepath.Join(t.TempDir(), "a.tar.zst")
	if _, err := Read(archive); fault.Of(err) != fault.Invalid {
		t.Errorf("missing: want it refused, got %v", err)
	}
	m := sample(t)
	data, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]fault.Kind{string(data): fault.None, "{": fault.Invalid, `{"schema_version":9}`: fault.Invalid} {
		if err := os.WriteFile(archive+Suffix, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Read(archive)
		if fault.Of(err) != want {
			t.Errorf("%.20q: want %v, got %v", text, want, err)
		}
		if err == nil && cmp.Diff(m, got) != "" {
			t.Errorf("does not read back:\n%s", cmp.Diff(m, got))
		}
	}
}

func TestSBOM(t *testing.T) {
	m := sample(t)
	one, err := m.SBOM()
	if err != nil {
		t.Fatal(err)
	}
	two, err := m.SBOM()
	if err != nil || !bytes.Equal(one, two) {
		t.Errorf("two runs differ: %v", err)
	}
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(one), cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	if len(*bom.Components) != 3 || !strings.HasPrefix(bom.SerialNumber, "urn:uuid:") || bom.Metadata.Timestamp != "2025-10-09T08:53:20Z" {
		t.Errorf("got %d components, serial %q, time %q", len(*bom.Components), bom.SerialNumber, bom.Metadata.Timestamp)
	}
	m.Inputs["script.sh"] = "other"
	other, err := m.SBOM()
	if err != nil || bytes.Equal(one, other) {
		t.Errorf("another input gives the same serial number: %v", err)
	}
}

func TestNotes(t *testing.T) {
	first, _, _ := strings.Cut(sample(t).Notes(), "\n")
	if want := "golden: Debian trixie amd64, 2025-10-09 08:53 UTC"; first != want {
		t.Errorf("want %q, got %q", want, first)
	}
}
