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
const useReferee = "engine: mmdebstrap in the recipe, or --engine mmdebstrap, builds it with mmdebstrap"

var (
	planned    = regexp.MustCompile(`^(Inst|Conf) (\S+) (?:\[\S+\] )?\((\S+) `)
	removed    = regexp.MustCompile(`^Remv (\S+) \[\S+\](?: |$)`)
	otherVerb  = regexp.MustCompile(`^(?:Inst|Conf|Remv|Purg) `)
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
		if !otherVerb.MatchString(line) {
			continue
		}
		if err := s.addStep(line); err != nil {
			return s, err
		}
	}
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

// addStep takes one line of apt's plan.
func (s *selection) addStep(line string) error {
	var do action
	var name string
	switch m := planned.FindStringSubmatch(line); {
	case m != nil && m[1] == "Inst":
		do, name = unpack, m[2]
		s.Packages = append(s.Packages, pkg{Name: name, Version: m[3]})
	case m != nil:
		do, name = configure, m[2]
	default:
		m := removed.FindStringSubmatch(line)
		if m == nil {
			return fault.WrapHint(fault.Invalid, fmt.Errorf("apt plans what is not known here: %q", line), useReferee)
		}
		do, name = remove, m[1]
	}
	if !plainName.MatchString(name) {
		return fault.WrapHint(fault.Invalid, fmt.Errorf("package %q is of another architecture", name), useReferee)
	}
	if n := len(s.Steps); n > 0 && s.Steps[n-1].Do == do {
		s.Steps[n-1].Names = append(s.Steps[n-1].Names, name)
		return nil
	}
	s.Steps = append(s.Steps, step{do, []string{name}})
	return nil
}

// plain reports whether there are packages, each one that is unpacked has a file, each step is a known one, and all
// names can be words of a script and parts of a path.
func (s *selection) plain() bool {
	names, files := slices.Clone(s.Auto), map[string]bool{}
	for _, p := range s.Packages {
		names = append(names, p.Name)
		files[p.Name] = plainSum.MatchString(p.Sum)
		if !files[p.Name] || p.File != "" && !plainFile.MatchString(p.File) {
			return false
		}
	}
	for _, st := range s.Steps {
		names = slices.Concat(names, st.Names)
		switch st.Do {
		case unpack:
			if slices.ContainsFunc(st.Names, func(name string) bool { return !files[name] }) {
				return false
			}
		case configure, remove:
		default:
			return false
		}
	}
	return len(files) > 0 && len(s.Steps) > 0 && !slices.ContainsFunc(names, func(name string) bool { return !plainName.MatchString(name) })
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
