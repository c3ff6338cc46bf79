package pctconf

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// property is one part of a property string.
type property struct {
	form     form
	required bool
}

// schema is the grammar of a property string: the default key, whose name can
// be left out, and all parts.
type schema struct {
	defaultKey string
	parts      map[string]property
}

// Properties holds the parts of a property string.
type Properties map[string]string

// IsOn reports whether a property has a value that PVE takes for true.
func (p Properties) IsOn(name string) bool {
	on, err := ParseBool(p[name])
	return err == nil && on
}

// ParseProperties splits "a=1,b=2"; a part without a name gets the name
// defaultKey. It checks only the form, not the values.
func ParseProperties(s, defaultKey string) (Properties, error) {
	props := Properties{}
	for part := range strings.SplitSeq(s, ",") {
		if part == "" {
			continue
		}
		key, value, named := strings.Cut(part, "=")
		if !named {
			if defaultKey == "" {
				return nil, fmt.Errorf("%q: want key=value", part)
			}
			key, value = defaultKey, part
		}
		if _, twice := props[key]; twice {
			return nil, fmt.Errorf("%s is given twice", key)
		}
		props[key] = value
	}
	return props, nil
}

// properties builds the form of a property string: default key first, then
// required keys, then the others, each group sorted, as PVE prints them.
func properties(get func() schema) form {
	return func(s string) (string, error) {
		sch := get()
		props, err := ParseProperties(s, sch.defaultKey)
		if err != nil {
			return "", err
		}
		var keys []string
		for key, value := range props {
			part, ok := sch.parts[key]
			if !ok {
				return "", fmt.Errorf("no property %q: want %s", key, strings.Join(names(sch.parts), ", "))
			}
			canonical, err := part.form(value)
			if err != nil {
				return "", fmt.Errorf("%s: %w", key, err)
			}
			props[key] = canonical
			keys = append(keys, key)
		}
		for _, key := range names(sch.parts) {
			if _, ok := props[key]; !ok && sch.parts[key].required {
				return "", fmt.Errorf("no property %s, which is required", key)
			}
		}
		rank := func(key string) int {
			switch {
			case key == sch.defaultKey:
				return 0
			case sch.parts[key].required:
				return 1
			}
			return 2
		}
		slices.SortFunc(keys, func(a, b string) int {
			if d := rank(a) - rank(b); d != 0 {
				return d
			}
			return strings.Compare(a, b)
		})
		parts := make([]string, len(keys))
		for i, key := range keys {
			parts[i] = key + "=" + props[key]
			if key == sch.defaultKey {
				parts[i] = withoutName(key, props[key])
			}
		}
		return strings.Join(parts, ","), nil
	}
}

// withoutName returns the part of the default key. A value with "=" in it keeps
// the name, or what is before the "=" would be taken for one.
func withoutName(key, value string) string {
	if strings.Contains(value, "=") {
		return key + "=" + value
	}
	return value
}

func names(parts map[string]property) []string {
	var list []string
	for key := range parts {
		list = append(list, key)
	}
	slices.Sort(list)
	return list
}

var (
	macPattern    = regexp.MustCompile(`^[0-9A-Fa-f][02468ACEace](:[0-9A-Fa-f]{2}){5}$`)
	ifacePattern  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$`)
	trunksPattern = regexp.MustCompile(`^[0-9]+(-[0-9]+)?(;[0-9]+(-[0-9]+)?)*$`)
	sizePattern   = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?[KMGT]?$`)
	octalPattern  = regexp.MustCompile(`^0[0-7]{3}$`)
	mountsPattern = regexp.MustCompile(`^[a-z0-9_.-]+(;[a-z0-9_.-]+)*$`)
)

func matching(p *regexp.Regexp, want string) form {
	return func(s string) (string, error) {
		if !p.MatchString(s) {
			return "", fmt.Errorf("%q: want %s", s, want)
		}
		return s, nil
	}
}

func address(parse func(string) (IP, error)) form {
	return func(s string) (string, error) {
		if _, err := parse(s); err != nil {
			return "", err
		}
		return s, nil
	}
}

func gateway(v6 bool) form {
	return func(s string) (string, error) {
		if _, err := parseGateway(s, v6); err != nil {
			return "", err
		}
		return s, nil
	}
}

func netProperties() schema {
	return schema{parts: map[string]property{
		"name":         {form: matching(ifacePattern, "the name of an interface"), required: true},
		"bridge":       {form: matching(ifacePattern, "the name of a bridge")},
		"firewall":     {form: boolean},
		"gw":           {form: gateway(false)},
		"gw6":          {form: gateway(true)},
		"host-managed": {form: boolean},
		"hwaddr":       {form: matching(macPattern, "a unicast MAC address")},
		"ip":           {form: address(ParseIP4)},
		"ip6":          {form: address(ParseIP6)},
		"link_down":    {form: boolean},
		"mtu":          {form: integer(64, 65535)},
		"rate":         {form: number(0, 1e9)},
		"tag":          {form: integer(1, 4094)},
		"trunks":       {form: matching(trunksPattern, "VLAN numbers with ; between them")},
		"type":         {form: oneOf("veth")},
	}}
}

func featureProperties() schema {
	return schema{parts: map[string]property{
		"force_rw_sys": {form: boolean},
		"fuse":         {form: boolean},
		"keyctl":       {form: boolean},
		"mknod":        {form: boolean},
		"mount":        {form: matching(mountsPattern, "file systems with ; between them")},
		"nesting":      {form: boolean},
	}}
}

func volumeParts() map[string]property {
	return map[string]property{
		"volume":       {form: text(0), required: true},
		"size":         {form: matching(sizePattern, "a size such as 8G")},
		"acl":          {form: boolean},
		"mountoptions": {form: matching(mountsPattern, "options with ; between them")},
		"ro":           {form: boolean},
		"quota":        {form: boolean},
		"replicate":    {form: boolean},
		"shared":       {form: boolean},
		"idmap":        {form: text(0)},
	}
}

func rootProperties() schema {
	return schema{defaultKey: "volume", parts: volumeParts()}
}

func mountProperties() schema {
	parts := volumeParts()
	parts["mp"] = property{form: text(0), required: true}
	parts["backup"] = property{form: boolean}
	parts["keepattrs"] = property{form: boolean}
	return schema{defaultKey: "volume", parts: parts}
}

func devProperties() schema {
	return schema{defaultKey: "path", parts: map[string]property{
		"path":       {form: text(0)},
		"mode":       {form: matching(octalPattern, "an octal mode such as 0660")},
		"uid":        {form: integer(0, 1<<31-1)},
		"gid":        {form: integer(0, 1<<31-1)},
		"deny-write": {form: boolean},
	}}
}

func unusedProperties() schema {
	return schema{defaultKey: "volume", parts: map[string]property{"volume": {form: text(0), required: true}}}
}

// ParseSize reads a volume size such as 8G, in bytes. No unit means bytes, as
// in PVE; a fraction is allowed.
func ParseSize(s string) (int64, error) {
	if !sizePattern.MatchString(s) {
		return 0, fmt.Errorf("%q is not a size: want a number and K, M, G or T", s)
	}
	unit := int64(1)
	if i := strings.IndexByte("KMGT", s[len(s)-1]); i >= 0 {
		unit <<= 10 * (i + 1)
		s = s[:len(s)-1]
	}
	var v float64
	if _, err := fmt.Sscanf(s, "%g", &v); err != nil || v*float64(unit) > 1<<62 {
		return 0, fmt.Errorf("size %q is too large", s)
	}
	return int64(v * float64(unit)), nil
}
