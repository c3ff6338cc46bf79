//go:build integration

package guest_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/e2e/guest"
)

// kind is one of the kinds of places in which a secret can be left.
type kind string

const (
	inArguments kind = "command line"
	inHostLog   kind = "log of the daemon"
	inJournal   kind = "journal"
	inInspect   kind = "docker inspect"
	onDisk      kind = "disk"
	inMount     kind = "mount"
)

// scan is what a search for secrets has shown.
type scan struct {
	searched map[kind]int
	held     map[kind][]string
}

func (s *scan) note(k kind, place string, found []string) {
	s.searched[k]++
	if len(found) > 0 {
		s.held[k] = append(s.held[k], fmt.Sprintf("%.200s holds %q", place, found))
	}
}

// search looks for secrets in all that guests leave behind, and in what this
// machine ran meanwhile. The guest's own token belongs into its mount and its
// controller.yaml: there only the others are looked for.
func (s *stack) search(t *testing.T, secrets guest.Secrets, vmids ...int) scan {
	t.Helper()
	out := scan{searched: map[kind]int{}, held: map[kind][]string{}}
	others := maps.Clone(secrets)
	maps.DeleteFunc(others, func(what, _ string) bool { return strings.HasPrefix(what, "token of ") })
	all, noTokens := secrets.Search(), others.Search()
	s.mu.Lock()
	lines := slices.Sorted(maps.Keys(s.argv))
	s.mu.Unlock()
	for _, line := range lines {
		out.note(inArguments, strings.ReplaceAll(line, "\x00", " "), all.In([]byte(line)))
	}
	if log, err := os.ReadFile(s.host.LogFile); err != nil {
		t.Error(err)
	} else {
		out.note(inHostLog, s.host.LogFile, all.In(log))
	}
	for _, vmid := range vmids {
		g := s.guest(vmid)
		text, err := readJournal(t.Context(), g, "--no-pager", "--output=export")
		if err != nil || text == "" {
			t.Errorf("journal of %d: %v", vmid, err)
		}
		out.note(inJournal, fmt.Sprintf("journal of %d", vmid), all.In([]byte(text)))
		_, inspect, err := engineOf(t, g).ContainerInspectWithRaw(t.Context(), "felhom-controller", false)
		if err != nil || !bytes.Contains(inspect, []byte("felhom-controller")) {
			t.Errorf("docker inspect in guest %d: %v, %d bytes", vmid, err, len(inspect))
		}
		out.note(inInspect, fmt.Sprintf("docker inspect in guest %d", vmid), all.In(inspect))
		out.tree(t, onDisk, g.Rootfs(), all, noTokens)
		out.tree(t, inMount, s.mountDir(vmid), noTokens, noTokens)
	}
	return out
}

// tree searches every file of a directory, and its links. A running guest's files
// come and go.
func (s *scan) tree(t *testing.T, k kind, dir string, all, noTokens *guest.Search) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return ignoreGone(err)
		}
		if e.Type()&os.ModeSymlink != 0 {
			target, err := os.Readlink(path)
			s.note(k, path, all.In([]byte(target)))
			return ignoreGone(err)
		}
		if !e.Type().IsRegular() {
			return nil
		}
		info, err := e.Info()
		if err != nil || info.Size() > 20<<20 && strings.HasPrefix(path, filepath.Join(dir, "usr/")+"/") { // Docker's own programs
			return ignoreGone(err)
		}
		look := all
		if strings.HasSuffix(path, "/opt/docker/felhom-controller/controller.yaml") {
			look = noTokens
		}
		f, err := os.Open(path)
		if err != nil {
			return ignoreGone(err)
		}
		found, err := look.Within(f)
		s.note(k, path, found)
		return errors.Join(err, f.Close())
	}); err != nil {
		t.Error(err)
	}
}

// wantNothing wants places of each kind to be searched, and no secret in them.
func (s *scan) wantNothing(t *testing.T, guests int) {
	t.Helper()
	for k, least := range map[kind]int{inArguments: 10, inHostLog: 1, inJournal: guests, inInspect: guests, onDisk: 1500 * guests, inMount: guests} {
		if s.searched[k] < least {
			t.Errorf("%d places of the kind %s were searched, want %d at least", s.searched[k], k, least)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(s.held)) {
		t.Errorf("%s: %s", k, strings.Join(s.held[k], "\n"))
	}
	t.Logf("searched: %v", s.searched)
}

// ignoreGone: the guest runs, and files come and go.
func ignoreGone(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
