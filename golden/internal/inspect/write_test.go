package inspect_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/golden/internal/image"
	"github.com/felhom/felhom-golden/golden/internal/inspect"
	"github.com/felhom/felhom-golden/golden/internal/preload"
)

func report() inspect.Report {
	return inspect.Report{
		Archive: archiveName, OS: inspect.OS{PrettyName: "Debian 13"}, Config: map[string]string{"arch": "amd64"},
		Packages: []image.Package{{Name: "base", Version: "1", Arch: "all"}}, Units: []image.State{{Name: "on.service", State: "enabled"}},
		Images:      []preload.Image{{Reference: "a/b:1", ConfigDigest: "sha256:00"}},
		Directories: []inspect.Directory{{Path: "/", Bytes: 312<<20 + 1, Entries: 8123}, {Path: "/etc", Bytes: 700, Entries: 3}},
		Entries:     map[string]int{"file": 2, "directory": 1}, Problems: []string{"pct.conf: odd"}, Packed: 98<<20 + 512<<10, Content: 312<<20 + 1,
	}
}

func TestWriteTextIsForPeople(t *testing.T) {
	var b strings.Builder
	if err := report().WriteText(&b); err != nil {
		t.Fatal(err)
	}
	want := `archive   ` + archiveName + `
system    Debian 13
size      98.5 MiB packed, 312.0 MiB of content
entries   directory 1 file 2
problem: pct.conf: odd

configuration
  arch: amd64

images (1)
  a/b:1 sha256:00

directories
   312.0 MiB   8123 entries  /
       700 B      3 entries  /etc

units (1)
  enabled  on.service

packages (1)
  base 1 all
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Programs read the JSON: its sizes stay plain numbers, and its list of
// directories is whole.
func TestWriteJSONIsForPrograms(t *testing.T) {
	r := report()
	for i := range 30 {
		r.Directories = append(r.Directories, inspect.Directory{Path: fmt.Sprintf("/d%d", i)})
	}
	var b strings.Builder
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var got inspect.Report
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil {
		t.Fatal(err)
	}
	if got.Packed != r.Packed || got.Content != r.Content || len(got.Directories) != 32 || got.Directories[0].Bytes != 312<<20+1 {
		t.Errorf("got %+v", got)
	}
}
