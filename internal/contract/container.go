package contract

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/felhom/felhom-golden/internal/jsondoc"
)

// The bounds of the container block: far above what any container has.
const (
	MaxContainerEntries    = 64 // of one list, one set of variables, one set of labels
	MaxContainerEntryBytes = 4096
)

// ParseProfile reads the value of profile.
func ParseProfile(s string) (Profile, error) {
	if !slices.Contains(Profiles(), Profile(s)) {
		return "", fmt.Errorf("unknown profile; want one of %s", words(Profiles()))
	}
	return Profile(s), nil
}

func container(o *jsondoc.Object) *Container {
	c := o.Member(keyContainer, containerKeys())
	if c == nil {
		return nil
	}
	out := &Container{
		Ports:       list(c, keyContainerPorts, checkEntry),
		Volumes:     list(c, keyContainerVols, checkEntry),
		ExtraHosts:  list(c, keyContainerHosts, checkEntry),
		Environment: pairs(c, keyContainerEnv, "variable"),
		Labels:      pairs(c, keyContainerLabels, "label"),
		Command:     list(c, keyContainerCmd, checkArgument),
	}
	out.Memory, _ = jsondoc.Text(c, keyContainerMemory, RuleContainer, checked(checkEntry))
	out.Network, _ = jsondoc.Text(c, keyContainerNet, RuleContainer, checked(checkEntry))
	return out
}

func list(o *jsondoc.Object, key string, check func(string) error) []string {
	n, ok := o.Get(key, jsondoc.KindArray)
	if !ok {
		return nil
	}
	path := o.Join(keyContainer, key)
	if len(n.Items) > MaxContainerEntries {
		o.Errorf(RuleContainer, n, path, "the list has %d entries; at most %d are accepted", len(n.Items), MaxContainerEntries)
		return nil
	}
	out := make([]string, 0, len(n.Items)) // an empty list is not an absent one
	for i, item := range n.Items {
		at := fmt.Sprintf("%s[%d]", path, i)
		switch {
		case item.Kind != jsondoc.KindString:
			o.Errorf(jsondoc.RuleType, item, at, "want a string, got %s", item.Kind)
		case item.Spoilt:
		default:
			if err := check(item.Text); err != nil {
				o.Errorf(RuleContainer, item, at, "%v", err)
			}
			out = append(out, item.Text)
		}
	}
	return out
}

// pairs reads the object of strings at key; what is one member of it.
func pairs(o *jsondoc.Object, key, what string) map[string]string {
	n, ok := o.Get(key, jsondoc.KindObject)
	if !ok {
		return nil
	}
	path := o.Join(keyContainer, key)
	if len(n.Members) > MaxContainerEntries {
		o.Errorf(RuleContainer, n, path, "there are %d %ss; at most %d are accepted", len(n.Members), what, MaxContainerEntries)
		return nil
	}
	pairs := make(map[string]string, len(n.Members))
	for _, m := range o.Unique(n, path) {
		at := o.Join(path, m.Key.Text)
		switch {
		case m.Key.Text == "" || strings.Contains(m.Key.Text, "="):
			o.Errorf(RuleContainer, m.Key, at, `the name of a %s is not empty and has no "="`, what)
		case m.Value.Spoilt:
		case m.Value.Kind != jsondoc.KindString:
			o.Errorf(jsondoc.RuleType, m.Value, at, "want a string, got %s; put quotes around it", m.Value.Kind)
		case len(m.Key.Text)+len(m.Value.Text) > MaxContainerEntryBytes:
			o.Errorf(RuleContainer, m.Value, at, "the %s is %d bytes long; at most %d are accepted", what, len(m.Key.Text)+len(m.Value.Text), MaxContainerEntryBytes)
		default:
			pairs[m.Key.Text] = m.Value.Text
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
