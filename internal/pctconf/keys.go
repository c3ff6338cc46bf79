package pctconf

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// form returns the canonical form of a value, or an error that says what is
// valid.
type form func(value string) (string, error)

// forms holds every key of the current configuration, without its number.
func forms() map[string]form {
	return map[string]form{
		"arch":         oneOf("amd64", "i386", "arm64", "armhf", "riscv32", "riscv64"),
		"cmode":        oneOf("shell", "console", "tty"),
		"console":      boolean,
		"cores":        integer(1, 8192),
		"cpulimit":     number(0, 8192),
		"cpuunits":     integer(0, 500000),
		"debug":        boolean,
		"dev":          properties(devProperties),
		"entrypoint":   text(0),
		"env":          text(0),
		"features":     properties(featureProperties),
		"hookscript":   text(0),
		"hostname":     hostname,
		"lock":         oneOf("backup", "create", "destroyed", "disk", "fstrim", "migrate", "mounted", "rollback", "snapshot", "snapshot-delete"),
		"memory":       integer(16, 1<<31-1),
		"mp":           properties(mountProperties),
		"nameserver":   text(0),
		"net":          properties(netProperties),
		"onboot":       boolean,
		"ostype":       oneOf("debian", "devuan", "ubuntu", "centos", "fedora", "opensuse", "archlinux", "alpine", "gentoo", "nixos", "unmanaged"),
		"parent":       text(40),
		"protection":   boolean,
		"rootfs":       properties(rootProperties),
		"searchdomain": text(0),
		"startup":      startup,
		"swap":         integer(0, 1<<31-1),
		"tags":         tags,
		"template":     boolean,
		"timezone":     text(0),
		"tty":          integer(0, 6),
		"unprivileged": boolean,
		"unused":       properties(unusedProperties),
	}
}

var formByKey = forms()

// numbered are the keys that carry a number, with the greatest one.
var numbered = map[string]int{"net": 31, "mp": 255, "dev": 255, "unused": 255}

// Keys returns the keys of the grammar, sorted, those with numbers as "netN".
func Keys() []string {
	var keys []string
	for key := range formByKey {
		if _, ok := numbered[key]; ok {
			key += "N"
		}
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func keyName(key string) string { return strings.TrimRight(key, "0123456789") }

func isProperty(key string) bool {
	switch keyName(key) {
	case "net", "mp", "dev", "unused", "rootfs", "features":
		return true
	}
	return false
}

// Canonical checks a value against the form of its key and returns it as PVE
// would write it. The error names the key, and says what is valid.
func Canonical(key, value string) (string, error) {
	name := keyName(key)
	f, known := formByKey[name]
	limit, hasNumber := numbered[name]
	digits := key[len(name):]
	switch {
	case !known, digits != "" && !hasNumber:
		return "", fmt.Errorf("%s: no such key in pct.conf", key)
	case hasNumber:
		n, err := strconv.Atoi(digits)
		if err != nil || n > limit || strconv.Itoa(n) != digits {
			return "", fmt.Errorf("%s: no such key in pct.conf: want %s0 to %s%d", key, name, name, limit)
		}
	}
	if strings.ContainsAny(value, "\n\r\x00") {
		return "", fmt.Errorf("%s: the value has a line break or a NUL byte", key)
	}
	if at, r := odd(value); at >= 0 {
		return "", fmt.Errorf("%s: the value has %U, want printable characters and spaces", key, r)
	}
	canonical, err := f(strings.Trim(value, " \t"))
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	return canonical, nil
}

// ParseBool reads PVE's booleans: 1 on yes true, 0 off no false.
func ParseBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "1", "on", "yes", "true":
		return true, nil
	case "0", "off", "no", "false":
		return false, nil
	}
	return false, fmt.Errorf("%q is not a boolean: want 0 or 1", s)
}

// FormatBool returns the canonical form of a boolean.
func FormatBool(on bool) string {
	if on {
		return "1"
	}
	return "0"
}

func boolean(s string) (string, error) {
	b, err := ParseBool(s)
	if err != nil {
		return "", err
	}
	return FormatBool(b), nil
}

func oneOf(words ...string) form {
	return func(s string) (string, error) {
		if slices.Contains(words, s) {
			return s, nil
		}
		return "", fmt.Errorf("%q: want one of %s", s, strings.Join(words, ", "))
	}
}

func integer(least, most int64) form {
	return func(s string) (string, error) {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < least || n > most || strconv.FormatInt(n, 10) != s { // PVE keeps a sign and leading zeros
			return "", fmt.Errorf("%q: want a whole number from %d to %d", s, least, most)
		}
		return strconv.FormatInt(n, 10), nil
	}
}

var numberPattern = regexp.MustCompile(`^(0|[1-9][0-9]*)(\.[0-9]+)?$`)

func number(least, most float64) form {
	return func(s string) (string, error) {
		n, err := strconv.ParseFloat(s, 64)
		if err != nil || !numberPattern.MatchString(s) || n < least || n > most {
			return "", fmt.Errorf("%q: want a number from %g to %g", s, least, most)
		}
		return s, nil
	}
}

// text accepts any value of one line, of at most limit bytes if limit is not 0.
func text(limit int) form {
	return func(s string) (string, error) {
		if s == "" {
			return "", errors.New("the value is empty")
		}
		if limit > 0 && len(s) > limit {
			return "", fmt.Errorf("%q has %d bytes, more than the limit of %d", s, len(s), limit)
		}
		return s, nil
	}
}

var hostLabel = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)

func hostname(s string) (string, error) {
	if len(s) > 255 {
		return "", fmt.Errorf("the name has %d bytes, more than the limit of 255", len(s))
	}
	for label := range strings.SplitSeq(s, ".") {
		if !hostLabel.MatchString(label) {
			return "", fmt.Errorf("%q is not a DNS name: each part has 1 to 63 letters, digits and inner hyphens", s)
		}
	}
	return s, nil
}

var startupPattern = regexp.MustCompile(`^(order=)?[0-9]+$|^(up|down)=[0-9]+$`)

func startup(s string) (string, error) {
	for part := range strings.SplitSeq(s, ",") {
		if !startupPattern.MatchString(part) {
			return "", fmt.Errorf("%q: want [order=]N,up=N,down=N", s)
		}
	}
	return s, nil
}

var tagPattern = regexp.MustCompile(`^[a-z0-9_][a-z0-9_+.-]*$`)

// tags are lower-cased, sorted and unique, as "pct set" makes them.
func tags(s string) (string, error) {
	list := strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return r == ';' || r == ',' || r == ' ' || r == '\t' })
	for _, tag := range list {
		if !tagPattern.MatchString(tag) {
			return "", fmt.Errorf("%q is not a tag: want a letter, digit or _ first, then also -, + or a full stop", tag)
		}
	}
	slices.Sort(list)
	return strings.Join(slices.Compact(list), ";"), nil
}

// checkLXC refuses the raw keys that PVE refuses.
func checkLXC(key string) error {
	switch {
	case key == "lxc.rootfs.path", key == "lxc.rootfs.options", key == "lxc.rootfs.mount":
		return errors.New("this raw key is not allowed: PVE sets it")
	case strings.HasPrefix(key, "lxc.cgroup."):
		return errors.New("this raw key is for cgroup v1: use lxc.cgroup2")
	}
	return nil
}
