package mountinfo

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/fuzztest"
)

var lists = []string{
	"22 28 0:21 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw\n28 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro\n",
	"901 28 0:49 / /var/lib/docker/overlay2/a\\040b\\011c\\012d\\134e/merged rw - overlay overlay rw,lowerdir=/x\n", "1 1 0:1 /a//deleted /b rw master:1 propagate_from:2 - nfs4 h:/x rw\n",
	"1 2 3 4 5", "x 2 3 4 5\n", "1 2 3 4 5 6 - \n",
}

// escaped writes a path as the kernel does.
var escaped = strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, "#", `\043`, `\`, `\134`)

func FuzzParse(f *testing.F) {
	for _, s := range lists {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := Parse(text)
		if err != nil {
			return
		}
		if lines := strings.Count(text, "\n"); len(list) < lines || len(list) > lines+1 {
			t.Errorf("%d mounts in %d lines", len(list), lines)
		}
		var again strings.Builder
		for _, m := range list {
			fmt.Fprintf(&again, "%d 1 %s %s %s rw - %s source rw\n", m.ID, m.Device, escaped.Replace(m.Root), escaped.Replace(m.Point), escaped.Replace(m.Type))
		}
		got, err := Parse(again.String())
		if err != nil || !slices.Equal(got, list) {
			t.Errorf("%+v is written and read as %+v, %v", list, got, err)
		}
	})
}

func TestLongLists(t *testing.T) {
	fuzztest.Long(t, lists[0], func(text string) { _, _ = Parse(text) }, lists[0])
}
