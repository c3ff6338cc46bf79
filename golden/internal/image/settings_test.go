package image_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/golden/internal/image"
	"github.com/felhom/felhom-golden/internal/fault"
)

const status = `Package: zlib1g
Status: install ok installed
Architecture: amd64
Source: zlib (1:1.3)
Version: 1:1.3.dfsg+really1.3.1-1+b1
Description: compression
 Package: not-this-one

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1

Package: docker.io
Status: install ok installed
Architecture: amd64
Version: 26.1.5+dfsg1-9
`

func TestReadPackages(t *testing.T) {
	got, err := image.ReadPackages(strings.NewReader(status))
	if err != nil {
		t.Fatal(err)
	}
	want := []image.Package{
		{Name: "docker.io", Version: "26.1.5+dfsg1-9", Arch: "amd64"},
		{Name: "zlib1g", Version: "1:1.3.dfsg+really1.3.1-1+b1", Arch: "amd64", Source: "zlib (1:1.3)"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if _, err := image.ReadPackages(strings.NewReader("")); fault.Of(err) != fault.Invalid {
		t.Errorf("empty status: want invalid, got %v", err)
	}
}
