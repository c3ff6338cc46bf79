package debroot

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/golden/internal/apt"
	"github.com/felhom/felhom-golden/golden/internal/cachedir"
	"github.com/felhom/felhom-golden/internal/fault"
)

// someEssential is a selection that can be kept.
var someEssential = selection{
	Packages: []pkg{{Name: "a", Version: "1", Sum: strings.Repeat("0", 64)}},
	Steps:    []step{{unpack, []string{"a"}}},
}

// keepLists makes the lists of a state as a build does.
func keepLists(t *testing.T, req *Request) {
	t.Helper()
	l, err := openLists(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if l.whole {
		t.Error("want them made, got those of an earlier build")
	}
	if _, ok := l.essential(); ok {
		t.Error("essential packages of an empty directory")
	}
	for name, text := range map[string]string{indexDir + "/x_InRelease": "signed", indexDir + "/x_Packages": "Package: a\n", sourceCache: "cache"} {
		if err := os.WriteFile(l.path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(l.finish(t.Context(), someEssential), l.Close()); err != nil {
		t.Fatal(err)
	}
}

// wholeLists reports whether a build can use what is kept.
func wholeLists(t *testing.T, req *Request) bool {
	t.Helper()
	l, err := openLists(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	s, ok := l.essential()
	if ok != l.whole || ok && (len(s.Packages) != 1 || s.Packages[0].Name != "a") {
		t.Errorf("whole %v: got essential packages %v, %v", l.whole, s, ok)
	}
	whole := l.whole
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return whole
}

// Indexes are used again only if each byte is as apt has left it; otherwise the directory is emptied.
func TestListsKnowDamage(t *testing.T) {
	req := &Request{Cache: t.TempDir(), State: "s"}
	dir := filepath.Join(req.Cache, "lists/s")
	for name, change := range map[string]func(path string) error{
		"one bit": func(path string) error {
			data, err := os.ReadFile(path)
			if err == nil {
				data[len(data)/2] ^= 1
				err = os.WriteFile(path, data, 0o600)
			}
			return err
		},
		"cut":         func(path string) error { return os.Truncate(path, 1) },
		"removed":     os.Remove,
		"a directory": func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
		"one more":    func(path string) error { return os.WriteFile(path+".more", nil, 0o600) },
	} {
		for _, file := range []string{indexDir + "/x_InRelease", indexDir + "/x_Packages", sourceCache, essentialFile, sumsFile} {
			if name == "one bit" && file == sumsFile {
				continue // a bit of a name or a digest; it is JSON still
			}
			keepLists(t, req)
			if !wholeLists(t, req) {
				t.Fatal("nothing was changed: want them used again")
			}
			if err := change(filepath.Join(dir, file)); err != nil {
				t.Fatal(err)
			}
			if wholeLists(t, req) {
				t.Errorf("%s: %s: want them made again", name, file)
			}
			if left, err := filepath.Glob(filepath.Join(dir, indexDir, "*_*")); err != nil || len(left) > 0 {
				t.Errorf("%s: %s: left %v, %v", name, file, left, err)
			}
		}
	}
	// What was not finished is not used.
	l, err := openLists(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(l.path(indexDir+"/x_InRelease"), nil, 0o600), l.Close()); err != nil {
		t.Fatal(err)
	}
	keepLists(t, req)
}

// Of several builds at the same time one asks apt, and the others wait and take what it has.
func TestListsAreMadeOnce(t *testing.T) {
	req := &Request{Cache: t.TempDir(), State: "s"}
	var mu sync.Mutex
	made := 0
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			l, err := openLists(t.Context(), req)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = l.Close() }()
			if l.whole {
				return
			}
			mu.Lock()
			made++
			mu.Unlock()
			if err := l.finish(t.Context(), someEssential); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if made != 1 {
		t.Errorf("want them made once, got %d times", made)
	}
	// A wait ends with its build.
	l, err := openLists(t.Context(), &Request{Cache: req.Cache, State: "other"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(fault.Errorf(fault.Interrupted, "stop"))
	if _, err := openLists(ctx, &Request{Cache: req.Cache, State: "other"}); fault.Of(err) != fault.Interrupted {
		t.Errorf("want interrupted, got %v", err)
	}
}

// Trim keeps the states used last, and one that is in use.
func TestTrimLists(t *testing.T) {
	cache := t.TempDir()
	for i := range listsKept + 3 {
		req := &Request{Cache: cache, State: strconv.Itoa(i)}
		keepLists(t, req)
		used := time.Now().Add(time.Duration(i-100) * time.Hour)
		if err := os.Chtimes(filepath.Join(cache, "lists", req.State), used, used); err != nil {
			t.Fatal(err)
		}
	}
	inUse, err := openLists(t.Context(), &Request{Cache: cache, State: "1"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = inUse.Close() }()
	if err := os.Chtimes(inUse.dir, time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := Trim(cache); err != nil {
		t.Fatal(err)
	}
	var left bytes.Buffer
	for i := range listsKept + 3 {
		if _, err := os.Lstat(filepath.Join(cache, "lists", strconv.Itoa(i), sumsFile)); err == nil {
			left.WriteString(strconv.Itoa(i))
		}
	}
	if left.String() != "134" {
		t.Errorf("want state 1, which is in use, and the last two; got %s", left.String())
	}
}

// The releases are looked for in a cache of any name.
func TestCheckReleases(t *testing.T) {
	for _, name := range []string{"plain", "a[1]", "b*?\\"} {
		dir := filepath.Join(t.TempDir(), name)
		release := filepath.Join(dir, "x_InRelease")
		if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(release, []byte("signed"), 0o600)); err != nil {
			t.Fatal(err)
		}
		sum, err := fileSum(release, "SHA256")
		if err != nil {
			t.Fatal(err)
		}
		there, other := apt.Release{SHA256: sum}, apt.Release{SHA256: strings.Repeat("0", len(sum))}
		if err := checkReleases(dir, []apt.Release{there}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := checkReleases(dir, []apt.Release{there, other}); !errors.Is(err, errChanged) {
			t.Errorf("%s: want one that changed, got %v", name, err)
		}
	}
}

// What is kept of an archive's state counts as long as apt would take that state.
func TestExpiredState(t *testing.T) {
	past, future := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	for _, tt := range []struct {
		name     string
		until    time.Time
		snapshot bool
		want     bool
	}{
		{"no end", time.Time{}, false, true},
		{"before its end", future, false, true},
		{"past its end", past, false, false},
		{"snapshot past its end", past, true, true},
	} {
		packages, err := cachedir.Open(filepath.Join(t.TempDir(), "packages"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = packages.Close() })
		req := &Request{Cache: t.TempDir(), State: "s", Key: "k", Snapshot: tt.snapshot}
		keepLists(t, req)
		f := filler{req: req, store: store{packages, nil}}
		for _, p := range someEssential.Packages {
			fakePackage(t, packages.Path(p.Sum+".deb"), p.Sum)
		}
		if err := f.remember(choice{Essential: someEssential, Rest: someEssential}); err != nil {
			t.Fatal(err)
		}
		req.Releases = []apt.Release{{}, {ValidUntil: tt.until}}
		if c, err := f.remembered(t.Context()); err != nil || (c != nil) != tt.want {
			t.Errorf("%s: want a choice: %v; got %v, %v", tt.name, tt.want, c, err)
		}
		if got := wholeLists(t, req); got != tt.want {
			t.Errorf("%s: want the indexes: %v, got %v", tt.name, tt.want, got)
		}
	}
}
