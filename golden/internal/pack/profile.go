package pack

import (
	"fmt"
	"path"
	"strings"

	"github.com/felhom/felhom-golden/internal/vzdump"
)

// Rule keeps a packaged path in or out, as dpkg's path-exclude and
// path-include do: the last rule that matches decides.
type Rule struct {
	Include bool
	Pattern string // absolute glob; "*" also matches slashes
}

// Profile says what of a root is not put into the archive. The zero value keeps
// everything.
type Profile struct {
	Name  string
	Rules []Rule
}

// Full keeps everything.
func Full() Profile { return Profile{Name: "full"} }

// Pruned leaves out what a guest that runs containers never reads. Copyright
// files stay, as their licences ask.
func Pruned() Profile {
	return Profile{Name: "pruned", Rules: []Rule{
		{Pattern: "/usr/share/doc/*"},
		{Include: true, Pattern: "/usr/share/doc/*/copyright"},
		{Pattern: "/usr/share/man/*"},
		{Pattern: "/usr/share/info/*"},
		{Pattern: "/usr/share/groff/*"},
		{Pattern: "/usr/share/lintian/*"},
		{Pattern: "/usr/share/linda/*"},
		{Pattern: "/usr/share/doc-base/*"},
		{Pattern: "/usr/share/bug/*"},
		{Pattern: "/usr/share/locale/*"},
		{Include: true, Pattern: "/usr/share/locale/locale.alias"},
		{Pattern: "/usr/share/bash-completion/completions/*"},
		{Pattern: "/usr/share/zsh/*"},
		{Pattern: "/usr/share/fish/*"},
		// Character sets beyond those that glibc has inside.
		{Pattern: "/usr/lib/*/gconv/*"},
		// Debug client and the shims before v2, which dockerd does not start.
		{Pattern: "/usr/bin/ctr"},
		{Pattern: "/usr/bin/containerd-shim"},
		{Pattern: "/usr/bin/containerd-shim-runc-v1"},
	}}
}

// ParseProfile reads "pruned" or "full".
func ParseProfile(name string) (Profile, error) {
	for _, p := range []Profile{Pruned(), Full()} {
		if p.Name == name {
			return p, nil
		}
	}
	return Profile{}, fmt.Errorf("profile %q: want pruned or full", name)
}

// DpkgConfig returns the profile as a file for /etc/dpkg/dpkg.cfg.d, so that
// upgrades in the guest stay pruned. It is empty for a profile without rules.
func (p Profile) DpkgConfig() string {
	if len(p.Rules) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# What the image was made without (profile %s), so that upgrades do not bring it back.\n", p.Name)
	for _, r := range p.Rules {
		word := "path-exclude"
		if r.Include {
			word = "path-include"
		}
		fmt.Fprintf(&b, "%s=%s\n", word, r.Pattern)
	}
	return b.String()
}

// Excludes reports whether the member at path (without leading slash) stays out.
// A directory that is excluded is kept if something below it is kept; the caller
// does that.
func (p Profile) Excludes(name string, t vzdump.Type) bool {
	full := "/" + name
	excluded := false
	for _, r := range p.Rules {
		if excluded != r.Include {
			continue // it would change nothing
		}
		if matches(r.Pattern, full) {
			excluded = !r.Include
		}
	}
	// Like dpkg: a symlink that may lead to something included stays.
	if excluded && t == vzdump.Symlink {
		for _, r := range p.Rules {
			if r.Include && path.Dir(full) == literalDir(r.Pattern) {
				return false
			}
		}
	}
	return excluded
}

// literalDir is the directory of the pattern up to its first wildcard.
func literalDir(pattern string) string {
	i := strings.IndexAny(pattern, "*?[")
	if i < 0 {
		return path.Dir(pattern)
	}
	return path.Dir(pattern[:i] + "x")
}

// matches is fnmatch without FNM_PATHNAME, as dpkg calls it, for patterns that
// have no wildcard but "*".
func matches(pattern, s string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == s
	}
	if !strings.HasPrefix(s, head) {
		return false
	}
	s = s[len(head):]
	for {
		part, next, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(s, part)
		}
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s, rest = s[i+len(part):], next
	}
}
