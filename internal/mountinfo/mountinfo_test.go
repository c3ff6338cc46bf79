package mountinfo_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/internal/mountinfo"
)

func Example() {
	list, err := mountinfo.Parse("22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n" +
		"36 22 98:0 / /srv/a\\040b rw,noatime - ext3 /dev/root rw,errors=continue\n")
	if err != nil {
		fmt.Println(err)
	}
	fmt.Printf("%q\n", mountinfo.Below(list, "/srv"))
	// Output: ["/srv/a b"]
}

func TestParse(t *testing.T) {
	got, err := mountinfo.Parse("36 35 98:0 /a\\040b//deleted /mnt/c\\134d rw,noatime master:1 - ext3 /dev/root rw\n37 35 0:5 /x\\012y /\\011z\\134040 rw - tmpfs tmpfs rw\n")
	want := []mountinfo.Mount{
		{ID: 36, Device: "98:0", Root: "/a b//deleted", Point: `/mnt/c\d`, Type: "ext3"},
		{ID: 37, Device: "0:5", Root: "/x\ny", Point: "/\tz\\040", Type: "tmpfs"},
	}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("error %v, mounts (-want +got):\n%s", err, d)
	}
	// The kernel escapes no white space but that between the fields.
	got, err = mountinfo.Parse("38 35 0:9 / /a\fb\v-\fext4\u00a0x rw - fuse sshfs rw\n")
	if want := "/a\fb\v-\fext4\u00a0x"; err != nil || got[0].Type != "fuse" || got[0].Point != want {
		t.Errorf("got %+v, %v, want type fuse at %q", got, err, want)
	}
	for _, bad := range []string{"\n", "1 2 3:4 /\n", "x 1 8:1 / / rw\n", "-1 1 8:1 / / rw\n"} {
		if _, err := mountinfo.Parse(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestBelow(t *testing.T) {
	list := []mountinfo.Mount{{Point: "/"}, {Point: "/srv"}, {Point: "/srvx"}, {Point: "/srv/b"}, {Point: "/srv/a"}}
	for dir, want := range map[string][]string{"/srv": {"/srv", "/srv/b", "/srv/a"}, "/srv/b": {"/srv/b"}, "/x": nil, "/": {"/", "/srv", "/srvx", "/srv/b", "/srv/a"}} {
		if got := mountinfo.Below(list, dir); !slices.Equal(got, want) {
			t.Errorf("below %s: %q, want %q", dir, got, want)
		}
	}
}
