package lineage_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/lineage"
	"github.com/felhom/felhom-golden/internal/pctconf"
)

const (
	idPrefix = "made-by: "
	mount    = "/var/lib/felhom/mounts/8200"
	net      = "net0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:0A,ip=dhcp,type=veth\n"
	rootfs   = "rootfs: local:8200/vm-8200-disk-0.raw,size=8G\n"
	mp0      = "mp0: " + mount + ",mp=/etc/felhom-bootstrap,ro=1\n"
	plain    = "#" + idPrefix + "one\n" + net + rootfs + mp0
	first    = "\n[first]\nrootfs: local:8200/vm-8200-disk-0.raw,size=8G\nsnaptime: 1700000000\n"
	second   = "\n[second]\nparent: first\nrootfs: local:8200/vm-8200-disk-0.raw,size=8G\nsnaptime: 1700000100\n"
	vzdump   = "\n[vzdump]\nrootfs: local:8200/vm-8200-disk-0.raw,size=8G\nsnaptime: 1700000300\n"
	prepare  = "snapstate: prepare\n" // of the section before it, while PVE makes the snapshot
	third    = "\n[third]\nparent: second\nrootfs: local:8200/vm-8200-disk-0.raw,size=8G\nsnaptime: 1700000200\n"
)

func idOf(description string) string {
	_, id, _ := strings.Cut(description, idPrefix)
	return strings.TrimSpace(id)
}

func of(t *testing.T, text string) lineage.Guest {
	t.Helper()
	c, _ := pctconf.Parse([]byte(text))
	return lineage.Of(c, idOf)
}

func nowhere(int) bool { return false }

// What PVE writes into a guest's configuration, and what it means for the tokens
// that the guest's disk has.
func TestWhatHappensToAGuest(t *testing.T) {
	with := func(more ...string) string { return strings.Join(append([]string{plain}, more...), "") }
	for name, c := range map[string]struct {
		looks []string // "": there is no such guest
		want  lineage.Kind
	}{
		"nothing":                       {[]string{plain, plain}, 0},
		"memory is changed":             {[]string{plain, plain + "memory: 512\n"}, 0},
		"a snapshot":                    {[]string{plain, "lock: snapshot\n" + plain, with("parent: first\n", first)}, 0},
		"the same, as PVE writes it":    {[]string{plain, "lock: snapshot\n" + plain + first + prepare, with("parent: first\n", first)}, 0},
		"a second one, likewise":        {[]string{with("parent: first\n", first), with("parent: first\nlock: snapshot\n", first, second, prepare), with("parent: second\n", first, second)}, 0},
		"a backup in snapshot mode":     {[]string{plain, "lock: snapshot\n" + plain + vzdump + prepare, with("parent: vzdump\nlock: backup\n", vzdump), with("lock: snapshot-delete\n", vzdump, "snapstate: delete\n"), plain}, 0},
		"a removal fails, and unlock":   {[]string{with("parent: second\n", first, second), with("parent: first\n", first, second, "snapstate: delete\n")}, 0},
		"a snapshot fails":              {[]string{with("parent: first\n", first), with("parent: first\nlock: snapshot\n", first, second, prepare), with("parent: first\n", first)}, 0},
		"a second snapshot":             {[]string{with("parent: first\n", first), with("parent: second\n", first, second)}, 0},
		"a snapshot is removed":         {[]string{with("parent: second\n", first, second), with("parent: first\n", first)}, 0},
		"the same, seen in the middle":  {[]string{with("parent: second\n", first, second), with("parent: first\nlock: snapshot-delete\n", first, second), with("parent: first\n", first)}, 0},
		"an inner snapshot is removed":  {[]string{with("parent: third\n", first, second, third), with("parent: third\n", first, third)}, 0},
		"all snapshots are removed":     {[]string{with("parent: first\n", first), plain}, 0},
		"the mount is detached":         {[]string{plain, strings.Replace(plain, mp0, "", 1)}, 0},
		"an operator empties the notes": {[]string{plain, net + rootfs + mp0}, 0},
		"a backup":                      {[]string{plain, "lock: backup\n" + plain, plain}, 0},
		"rollback":                      {[]string{with("parent: second\n", first, second), with("parent: first\n", first, second)}, lineage.RolledBack},
		"rollback of one without":       {[]string{with(first), with("parent: first\n", first)}, lineage.RolledBack},
		"rollback to the parent":        {[]string{with("parent: first\n", first), with("parent: first\nlock: rollback\n", first), with("parent: first\n", first)}, lineage.RolledBack},
		"restore over it":               {[]string{plain, "lock: create\n", plain}, lineage.Replaced},
		"destroyed and made again":      {[]string{plain, "", net + rootfs}, lineage.Replaced},
		"destroyed and restored":        {[]string{plain, "", plain}, lineage.Replaced},
		"another guest":                 {[]string{plain, "#" + idPrefix + "two\n" + net + rootfs}, lineage.Replaced},
		"destroyed":                     {[]string{plain, ""}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var s lineage.State
			known := map[int]lineage.Known{8200: {ID: "one", Mount: mount}}
			var got []lineage.Event
			for _, text := range c.looks {
				now := map[int]lineage.Guest{}
				if text != "" {
					now[8200] = of(t, text)
				}
				got = append(got, s.Compare(now, known, nowhere)...)
			}
			if c.want == 0 && len(got) != 0 || c.want != 0 && (len(got) != 1 || got[0].VMID != 8200 || got[0].Kind != c.want || got[0].Detail == "") {
				t.Errorf("got %+v, want kind %d", got, c.want)
			}
			// A restart of the daemon sees nothing new.
			now := map[int]lineage.Guest{}
			if last := c.looks[len(c.looks)-1]; last != "" {
				now[8200] = of(t, last)
			}
			if again := s.Compare(now, known, nowhere); len(again) != 0 {
				t.Errorf("the same once more: %+v", again)
			}
		})
	}
}

// What the host itself made again, or has moved to another node, has its tokens
// by right.
func TestWhatTheHostDoesItself(t *testing.T) {
	var s lineage.State
	known := map[int]lineage.Known{8200: {ID: "one"}}
	s.Compare(map[int]lineage.Guest{8200: of(t, plain)}, known, nowhere)
	known[8200] = lineage.Known{ID: "two"}
	again := strings.Replace(plain, "one", "two", 1)
	if got := s.Compare(map[int]lineage.Guest{8200: of(t, again)}, known, nowhere); len(got) != 0 {
		t.Errorf("provisioned again: %+v", got)
	}
	if got := s.Compare(nil, known, func(int) bool { return true }); len(got) != 0 {
		t.Errorf("moved: %+v", got)
	}
	if got := s.Compare(map[int]lineage.Guest{8200: of(t, again)}, known, nowhere); len(got) != 0 {
		t.Errorf("back again: %+v", got)
	}
	disk := of(t, again)
	disk.Disk = "fe00:1"
	s.Compare(map[int]lineage.Guest{8200: disk}, known, nowhere)
	disk.Disk = "fe00:2"
	if got := s.Compare(map[int]lineage.Guest{8200: disk}, known, nowhere); len(got) != 1 || got[0].Kind != lineage.Replaced {
		t.Errorf("another disk: %+v", got)
	}
}

// A copy is told once, whichever way it shows.
func TestCopies(t *testing.T) {
	other := "net0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:0C,ip=dhcp,type=veth\n" + rootfs
	for name, c := range map[string]struct {
		text, want string
	}{
		"clone":                {"#" + idPrefix + "one\n" + other, "ID"},
		"restored with MAC":    {net + rootfs, "MAC"},
		"restored with mount":  {other + mp0, mount},
		"another guest":        {other, ""},
		"another felhom guest": {"#" + idPrefix + "two\n" + other, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var s lineage.State
			known := map[int]lineage.Known{8200: {ID: "one", Mount: mount}}
			s.Compare(map[int]lineage.Guest{8200: of(t, plain)}, known, nowhere)
			both := map[int]lineage.Guest{8200: of(t, plain), 8300: of(t, c.text)}
			got := s.Compare(both, known, nowhere)
			if c.want == "" && len(got) != 0 || c.want != "" && (len(got) != 1 || got[0].VMID != 8200 || got[0].Kind != lineage.Copied || !strings.Contains(got[0].Detail, c.want) || !strings.Contains(got[0].Detail, "8300")) {
				t.Errorf("got %+v, want %q", got, c.want)
			}
			if again := s.Compare(both, known, nowhere); len(again) != 0 {
				t.Errorf("told again: %+v", again)
			}
		})
	}
}

// A configuration that did not change is not read again, and one that cannot be
// read now is as it was.
func TestLooker(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "8200.conf")
	files := map[int]string{8200: file}
	l := lineage.Looker{ID: idOf, Files: func() (map[int]string, error) { return files, nil }}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".tmp", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".tmp", file); err != nil {
			t.Fatal(err)
		}
	}
	look := func(wantID string) {
		t.Helper()
		got, err := l.Look()
		if err != nil || got[8200].ID != wantID {
			t.Errorf("got %+v, %v, want ID %q", got, err, wantID)
		}
	}
	look("")
	write(plain)
	look("one")
	write(strings.Replace(plain, "one", "two", 1))
	look("two")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(file, 0o700); err != nil {
		t.Fatal(err)
	}
	look("two")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	delete(files, 8200)
	look("")
}

// A lock that is in the configuration for a moment is noticed.
func TestNotices(t *testing.T) {
	dir := t.TempDir()
	n := lineage.Watch(dir)
	if n == nil {
		t.Fatal("the kernel gives no notices: fs.inotify.max_user_instances")
	}
	if err := os.WriteFile(filepath.Join(dir, "8200.conf"), []byte("lock: rollback\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	select {
	case <-n.Changes():
	case <-time.After(time.Minute):
		t.Error("no notice")
	}
	if n.HasEnded() {
		t.Error("no notice comes any more")
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); !n.HasEnded(); <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the directory is gone, and its notices have not ended")
		}
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if n := lineage.Watch(filepath.Join(dir, "none")); n != nil || n.Changes() != nil || n.Close() != nil || !n.HasEnded() {
		t.Error("notices of a directory that does not exist")
	}
}

// An editor that renames the file before it writes a new one does not remove the guest.
func TestLookerWaitsForAnEditor(t *testing.T) {
	file := filepath.Join(t.TempDir(), "8200.conf")
	if err := os.WriteFile(file, []byte(plain), 0o600); err != nil {
		t.Fatal(err)
	}
	var looks int
	l := lineage.Looker{ID: idOf, Files: func() (map[int]string, error) {
		if looks++; looks == 2 {
			return map[int]string{}, nil
		}
		return map[int]string{8200: file}, nil
	}}
	for range 2 {
		if got, err := l.Look(); err != nil || got[8200].ID != "one" {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	if looks != 3 {
		t.Errorf("%d looks for the files, want 3", looks)
	}
}

// A guest whose configuration could not be read yet is missing, and is not gone.
func TestLookerNamesWhatItCouldNotRead(t *testing.T) {
	dir := t.TempDir()
	l := lineage.Looker{ID: idOf, Files: func() (map[int]string, error) { return map[int]string{8200: dir}, nil }}
	if got, err := l.Look(); err != nil || len(got) != 0 || !l.IsUnread(8200) || l.IsUnread(8201) {
		t.Errorf("got %+v, %v; unread: %t, %t", got, err, l.IsUnread(8200), l.IsUnread(8201))
	}
}

func TestDirectoryID(t *testing.T) {
	dir := t.TempDir()
	rootfs := filepath.Join(dir, "rootfs")
	if err := os.Mkdir(rootfs, 0o700); err != nil {
		t.Fatal(err)
	}
	before := lineage.DirectoryID(rootfs)
	if err := os.WriteFile(filepath.Join(rootfs, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if again := lineage.DirectoryID(rootfs); before == "" || again != before {
		t.Errorf("%q before, %q now", before, again)
	}
	other := filepath.Join(dir, "other")
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	if id := lineage.DirectoryID(other); id == before {
		t.Errorf("two directories have %q", id)
	}
	for _, name := range []string{filepath.Join(dir, "none"), filepath.Join(rootfs, "file")} {
		if id := lineage.DirectoryID(name); id != "" {
			t.Errorf("%s has %q", name, id)
		}
	}
}
