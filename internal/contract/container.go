package contract

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The bounds of the container block: far above what any container has.
const (
	MaxContainerEntries    = 64 // of one list, one set of variables, one set of labels
	MaxContainerEntryBytes = 4096
)

// ParseProfile reads the value of profile.
func ParseProfile(s string) (Profile, error) {
	if !slices.Contains(Profiles(), Profile(s)) {
		return "", fmt.Errorf("unknown profile; write one of %q", Profiles())
	}
	return Profile(s), nil
}

func (o *object) container() *Container {
	n := o.values[keyContainer]
	if n == nil {
		return nil
	}
	c := openObject(o.report, n, keyContainer, containerKeys())
	if c == nil {
		return nil
	}
	out := &Container{
		Ports:       c.list(keyContainerPorts, checkEntry),
		Volumes:     c.list(keyContainerVols, checkEntry),
		ExtraHosts:  c.list(keyContainerHosts, checkEntry),
		Environment: c.pairs(keyContainerEnv, "variable"),
		Labels:      c.pairs(keyContainerLabels, "label"),
		Command:     c.list(keyContainerCmd, checkArgument),
	}
	out.Memory, _ = parse(c, keyContainerMemory, RuleContainer, checked(checkEntry))
	out.Network, _ = parse(c, keyContainerNet, RuleContainer, checked(checkEntry))
	return out
}

func (o *object) list(key string, check func(string) error) []string {
	n, ok := o.get(key, kindArray)
	if !ok {
		return nil
	}
	path := joinPath(o.path, key)
	if len(n.items) > MaxContainerEntries {
		o.errorf(RuleContainer, n.off, path, "the list has %d entries; at most %d are accepted", len(n.items), MaxContainerEntries)
		return nil
	}
	out := make([]string, 0, len(n.items)) // an empty list is not an absent one
	for i, item := range n.items {
		at := fmt.Sprintf("%s[%d]", path, i)
		switch {
		case item.kind != kindString:
			o.errorf(RuleType, item.off, at, "want a string, got %s", item.kind)
		case item.spoilt:
		default:
			if err := check(item.text); err != nil {
				o.errorf(RuleContainer, item.off, at, "%v", err)
			}
			out = append(out, item.text)
		}
	}
	return out
}

// pairs reads the object of strings at key; what is one member of it.
func (o *object) pairs(key, what string) map[string]string {
	n, ok := o.get(key, kindObject)
	if !ok {
		return nil
	}
	path := joinPath(o.path, key)
	if len(n.members) > MaxContainerEntries {
		o.errorf(RuleContainer, n.off, path, "there are %d %ss; at most %d are accepted", len(n.members), what, MaxContainerEntries)
		return nil
	}
	pairs := make(map[string]string, len(n.members))
	for _, m := range uniqueMembers(o.report, n, path) {
		at := joinPath(path, m.key.text)
		switch {
		case m.key.text == "" || strings.Contains(m.key.text, "="):
			o.errorf(RuleContainer, m.key.off, at, `the name of a %s is not empty and has no "="`, what)
		case m.value.spoilt:
		case m.value.kind != kindString:
			o.errorf(RuleType, m.value.off, at, "want a string, got %s; put quotes around it", m.value.kind)
		case len(m.key.text)+len(m.value.text) > MaxContainerEntryBytes:
			o.errorf(RuleContainer, m.value.off, at, "the %s is %d bytes long; at most %d are accepted", what, len(m.key.text)+len(m.value.text), MaxContainerEntryBytes)
		default:
			pairs[m.key.text] = m.value.text
		}
	}
	return pairs
}

func checkEntry(s string) error {
	switch {
	case s == "":
		return errors.New("the text is empty; leave it out")
	case len(s) > MaxContainerEntryBytes:
		return fmt.Errorf("the text is %d bytes long; at most %d are accepted", len(s), MaxContainerEntryBytes)
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
		return fmt.Errorf("the text has a control character at byte %d; remove it", i+1)
	}
	return nil
}

// checkArgument is checkEntry for an argument of a command, which may be empty or
// a script of several lines.
func checkArgument(s string) error {
	if len(s) > MaxContainerEntryBytes {
		return fmt.Errorf("the text is %d bytes long; at most %d are accepted", len(s), MaxContainerEntryBytes)
	}
	return nil
}
