package build

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/felhom/felhom-golden/golden/internal/recipe"
	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/powercut"
	"github.com/felhom/felhom-golden/internal/progress"
)

const archiveName = "a.tar.zst"

// writeAll writes an archive and records that say which one they are of.
func writeAll(t *testing.T, dir, which string) {
	t.Helper()
	for _, suffix := range []string{"", ".notes", ".sha256"} {
		f, err := os.Create(filepath.Join(dir, archiveName+suffix))
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteString(which + suffix)
		if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if err := atomicfile.SyncPath(dir); err != nil {
		t.Fatal(err)
	}
}

// readAll returns which archive and records are there; it is an error if these are not of one.
func readAll(dir string) (which string, err error) {
	archive, err := os.ReadFile(filepath.Join(dir, archiveName))
	for _, suffix := range []string{".notes", ".sha256"} {
		record, readErr := os.ReadFile(filepath.Join(dir, archiveName+suffix))
		err = errors.Join(err, readErr)
		if readErr == nil && string(record) != string(archive)+suffix {
			err = errors.Join(err, errors.New("the archive is "+string(archive)+" and the record "+string(record)))
		}
	}
	return string(archive), err
}

// unplaced returns the path of a new archive, and its records.
func unplaced(t *testing.T, dir, which string) (from string, records []document) {
	t.Helper()
	work := filepath.Join(dir, "unfinished "+which)
	from = filepath.Join(work, archiveName)
	if err := os.Mkdir(work, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(from)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString(which)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return from, []document{{".notes", []byte(which + ".notes")}, {".sha256", []byte(which + ".sha256")}}
}

// The power is cut after each operation: an archive under its name has its records, and what was
// acknowledged is there.
func TestPlaceAfterAPowerCut(t *testing.T) {
	for name, test := range map[string]struct{ force, isThere bool }{
		"new": {}, "new, with force": {force: true}, "replaced": {force: true, isThere: true},
	} {
		t.Run(name, func(t *testing.T) {
			c := powercut.NewDisk(t)
			at := c.Mount(t)
			if test.isThere {
				writeAll(t, at, "old")
			}
			from, records := unplaced(t, at, "new")
			began := c.Length()
			if err := place(from, filepath.Join(at, archiveName), test.force, records); err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(filepath.Join(at, archiveName+".notes")); err != nil || info.Mode().Perm() != 0o644 {
				t.Errorf("the notes: %v, %v", info, err)
			}
			if c.Length() < began+12 {
				t.Fatalf("%d operations: they were not noted", c.Length()-began)
			}
			c.Cuts(t, began, func(cut powercut.Cut) {
				dir := t.TempDir()
				cut.Write(t, dir)
				_, err := os.Lstat(filepath.Join(dir, archiveName))
				if err != nil && cut.After < c.Length() {
					return
				}
				got, err := readAll(dir)
				if err != nil || got != "new" && (!test.isThere || cut.After == c.Length()) {
					t.Errorf("%s: got %q, %v", cut.Name, got, err)
				}
			})
		})
	}
}

// A build takes minutes, in which another one may have made the same archive: it keeps its records.
func TestPlaceWhereAnArchiveIs(t *testing.T) {
	dir := t.TempDir()
	writeAll(t, dir, "first")
	from, records := unplaced(t, dir, "second")
	err := place(from, filepath.Join(dir, archiveName), false, records)
	if fault.Of(err) != fault.Misuse || !strings.Contains(err.Error(), "already exists") || !strings.Contains(fault.HintOf(err), "--force") {
		t.Errorf("without force: got %v, want misuse with a hint", err)
	}
	if got, err := readAll(dir); err != nil || got != "first" {
		t.Errorf("without force: got %q, %v, want the first one", got, err)
	}
	if err := place(from, filepath.Join(dir, archiveName), true, records); err != nil {
		t.Errorf("with force: %v", err)
	}
	if got, err := readAll(dir); err != nil || got != "second" {
		t.Errorf("with force: got %q, %v, want the second one", got, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 4 { // with the directory that is not finished
		t.Errorf("got %v, %v, want an archive with two records", entries, err)
	}
}

// Records that a killed build left are of no archive.
func TestPlaceOverRecordsAlone(t *testing.T) {
	dir := t.TempDir()
	writeAll(t, dir, "first")
	if err := os.Remove(filepath.Join(dir, archiveName)); err != nil {
		t.Fatal(err)
	}
	from, records := unplaced(t, dir, "second")
	if err := place(from, filepath.Join(dir, archiveName), false, records); err != nil {
		t.Fatal(err)
	}
	if got, err := readAll(dir); err != nil || got != "second" {
		t.Errorf("got %q, %v, want the second one", got, err)
	}
}

// An error in the middle leaves the archive and the records that were there.
func TestPlaceThatFails(t *testing.T) {
	dir := t.TempDir()
	writeAll(t, dir, "first")
	conflict := filepath.Join(dir, archiveName+".z", "file")
	if err := errors.Join(os.Mkdir(filepath.Dir(conflict), 0o700), os.WriteFile(conflict, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	from, records := unplaced(t, dir, "second")
	records = append(records, document{".z", nil})
	if err := place(from, filepath.Join(dir, archiveName), true, records); err == nil || !strings.Contains(err.Error(), ".z is a directory") {
		t.Errorf("a record's name is a directory: got %v", err)
	}
	records = records[:2]
	if err := os.Remove(from); err != nil { // so that the last step fails
		t.Fatal(err)
	}
	if err := place(from, filepath.Join(dir, archiveName), true, records); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without an archive: got %v", err)
	}
	if got, err := readAll(dir); err != nil || got != "first" {
		t.Errorf("got %q, %v, want the first one", got, err)
	}
	if _, err := os.Lstat(conflict); err != nil {
		t.Error(err)
	}
}

// Of two builds at once, one has its archive and records, and the other is refused.
func TestPlaceAtOnce(t *testing.T) {
	for range 20 {
		dir := t.TempDir()
		var ends [4]error
		var all sync.WaitGroup
		for i := range ends {
			from, records := unplaced(t, dir, string(rune('a'+i)))
			all.Go(func() {
				lock, err := claim(t.Context(), dir, progress.New(io.Discard, progress.Options{}))
				if err != nil {
					ends[i] = err
					return
				}
				ends[i] = errors.Join(place(from, filepath.Join(dir, archiveName), false, records), lock.Close())
			})
		}
		all.Wait()
		got, err := readAll(dir)
		if err != nil {
			t.Error(err)
		}
		for i, err := range ends {
			if isPlaced := got == string(rune('a'+i)); isPlaced && err != nil || !isPlaced && fault.Of(err) != fault.Misuse {
				t.Errorf("%s is there; build %c: %v", got, 'a'+i, err)
			}
		}
	}
}

// A root that another run has staged meanwhile keeps its record.
func TestPlaceRootWhereOneIs(t *testing.T) {
	dir := t.TempDir()
	root, p := filepath.Join(dir, "root"), progress.New(io.Discard, progress.Options{})
	staged := func(name string) error {
		tmp := filepath.Join(dir, "unfinished "+name)
		if err := errors.Join(os.Mkdir(tmp, 0o700), os.WriteFile(filepath.Join(tmp, name), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		return placeRoot(t.Context(), tmp, root, Record{Recipe: recipe.Recipe{Name: name}}, p)
	}
	if err := staged("first"); err != nil {
		t.Fatal(err)
	}
	if err := staged("second"); fault.Of(err) != fault.Misuse || fault.HintOf(err) == "" {
		t.Errorf("got %v, want misuse with a hint", err)
	}
	rec, err := readRecord(root)
	if err != nil || rec.Recipe.Name != "first" {
		t.Errorf("the record is that of %q, %v, want the first one", rec.Recipe.Name, err)
	}
	if _, err := os.Lstat(filepath.Join(root, "first")); err != nil {
		t.Error(err)
	}
}
