package provenance

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/felhom/felhom-golden/internal/fault"
)

// FuzzRead: a manifest that is read is written so that it is read as the same, differs
// from itself in nothing, and its bill of materials is one that a reader takes; one that
// is refused gives no value.
func FuzzRead(f *testing.F) {
	for _, s := range []string{
		`{"schema_version":1,"name":"golden","builder":"v1.0.0","epoch":"2026-01-02T03:04:05Z","suite":"trixie","arch":"amd64","packages":[{"name":"runc","version":"1.1+b1","arch":"amd64","source":"runc"}],"inputs":{"image a.example/b:1":"sha256:c","file x":"y"},"tools":{"tar":"1"},"releases":{"trixie http://a.example":{"sha256":"x"}},"archive":{"sha256":"x","size":1}}`,
		`{"schema_version":1}`, `{"schema_version":2}`, `null`, `[]`, "", `{"schema_version":1,"epoch":"9999-12-31T23:59:59+23:59"}`, `{"schema_version":1,"packages":[{"name":"a%/\u0000"}],"name":"\u001b[2J\ud800"}`, `{"schema_version":1,"inputs":{"image ":""}} `,
	} {
		f.Add([]byte(s))
	}
	file := filepath.Join(f.TempDir(), "a"+Suffix)
	read := func(t *testing.T, data []byte) (Manifest, error) {
		t.Helper()
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return Read(file)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := read(t, data)
		if err != nil {
			if empty, _ := json.Marshal(Manifest{}); fault.Of(err) != fault.Invalid || !bytes.Equal(marshaled(t, m), empty) {
				t.Errorf("%q gives %+v and the error %v", data, m, err)
			}
			return
		}
		text, err := m.Encode()
		if err != nil {
			t.Fatalf("%q is read, and cannot be written: %v", data, err)
		}
		again, err := read(t, text)
		if err != nil || !bytes.Equal(marshaled(t, m), marshaled(t, again)) || len(Compare(m, again)) > 0 {
			t.Errorf("%q is written and read as %+v, %v", data, again, err)
		}
		m.Notes()
		bill, err := m.SBOM()
		if err != nil {
			t.Fatalf("%q has no bill of materials: %v", data, err)
		}
		var bom cdx.BOM
		if err := cdx.NewBOMDecoder(bytes.NewReader(bill), cdx.BOMFileFormatJSON).Decode(&bom); err != nil || len(*bom.Components) < len(m.Packages) {
			t.Errorf("%q has the bill of materials %s: %v", data, bill, err)
		}
	})
}

func marshaled(t *testing.T, m Manifest) []byte {
	t.Helper()
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
