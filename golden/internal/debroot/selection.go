package debroot

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/felhom/felhom-golden/internal/fault"
)

// useReferee is what to do about packages that this package cannot install.
const useReferee = "--engine mmdebstrap builds it with mmdebstrap"

var (
	planned    = regexp.MustCompile(`^(Inst|Conf|Remv|Purg) (\S+) (\[\S+\] )?\((\S+) `)
	uriLine    = regexp.MustCompile(`^'([^']+)' (\S+) (\d+) (SHA256|SHA512):([0-9a-f]+)$`)
	anyURI     = regexp.MustCompile(`^'([^']+)' (\S+) (\d+) `)
	plainName  = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]*$`)
	plainSum   = regexp.MustCompile(`^[0-9a-f]{64,128}$`)
	plainFile  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9+.~%_-]*\.deb$`)
	additional = []string{"The following additional packages will be installed:", "Installing dependencies:"}
)

// parseSelection reads what apt-get says with --simulate and --print-uris.
func parseSelection(plan, uris string) (selection, error) {
	s := selection{}
	listed, inList := map[string]bool{}, false
	var w wave
	for line := range strings.Lines(plan) {
		line = strings.TrimRight(line, "\n")
		if slices.Contains(additional, line) {
			inList = true
			continue
		}
		if inList = inList && strings.HasPrefix(line, " "); inList {
			for name := range strings.FieldsSeq(line) {
				listed[name] = true
			}
			continue
		}
		m := planned.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		verb, name, old := m[1], m[2], m[3]
		switch {
		case verb == "Remv" || verb == "Purg" || old != "":
			return s, fault.WrapHint(fault.Invalid, fmt.Errorf("the packages that were asked for replace %s, which is essential", name), useReferee)
		case !plainName.MatchString(name):
			return s, fault.WrapHint(fault.Invalid, fmt.Errorf("package %q is of another architecture", name), useReferee)
		case verb == "Conf":
			w.Configure = append(w.Configure, name)
			continue
		}
		if len(w.Configure) > 0 {
			s.Waves, w = append(s.Waves, w), wave{}
		}
		w.Unpack = append(w.Unpack, name)
		s.Packages = append(s.Packages, pkg{Name: name, Version: m[4]})
	}
	s.Waves = append(s.Waves, w)
	if err := s.addFiles(uris); err != nil {
		return s, err
	}
	for _, p := range s.Packages {
		if listed[p.Name] {
			s.Auto = append(s.Auto, p.Name)
		}
	}
	slices.Sort(s.Auto)
	return s, nil
}

// plain reports whether there are packages, each one that is unpacked has a file, and all
// names can be words of a script and parts of a path.
func (s *selection) plain() bool {
	names, files := slices.Clone(s.Auto), map[string]bool{}
	for _, p := range s.Packages {
		names = append(names, p.Name)
		files[p.Name] = plainSum.MatchString(p.Sum)
		if !files[p.Name] {
			return false
		}
	}
	for _, w := range s.Waves {
		names = slices.Concat(names, w.Unpack, w.Configure)
		if slices.ContainsFunc(w.Unpack, func(name string) bool { return !files[name] }) {
			return false
		}
	}
	return len(files) > 0 && len(s.Waves) > 0 && !slices.ContainsFunc(names, func(name string) bool { return !plainName.MatchString(name) })
}

// addFiles fills in where the files of the packages are and what their digests are.
func (s *selection) addFiles(uris string) error {
	type file struct{ name, sumType, sum string }
	files := map[string]file{}
	for line := range strings.Lines(uris) {
		line = strings.TrimRight(line, "\n")
		m := uriLine.FindStringSubmatch(line)
		switch {
		case m != nil && plainFile.MatchString(m[2]):
			name, _, _ := strings.Cut(m[2], "_")
			files[name] = file{m[2], m[4], m[5]}
		case anyURI.MatchString(line):
			return fault.WrapHint(fault.Mismatch, fmt.Errorf("the archive's index has no SHA-256 digest of a package: %s", path.Base(line)), useReferee)
		}
	}
	for i := range s.Packages {
		p := &s.Packages[i]
		f, ok := files[p.Name]
		if !ok {
			return fault.WrapHint(fault.Invalid, fmt.Errorf("apt names no file of package %s", p.Name), useReferee)
		}
		p.File, p.SumType, p.Sum = f.name, f.sumType, f.sum
	}
	if len(s.Packages) == 0 {
		return errors.New("apt names no package to install")
	}
	return nil
}
