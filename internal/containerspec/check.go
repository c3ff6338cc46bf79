package containerspec

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/volume/mounts"
	"github.com/docker/go-connections/nat"
	"github.com/docker/go-units"

	"github.com/felhom/felhom-golden/internal/contract"
)

// The limits beside those of the contract.
const (
	// MaxPorts bounds the published ports: the engine starts a process for each.
	MaxPorts = 256
	// MinMemory is the engine's own minimum.
	MinMemory = 6 << 20
)

// dockerName matches what the engine accepts as the name of a volume or
// network.
var dockerName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

// Check returns what the engine would refuse of c when it makes or starts the
// container, as far as that can be known without one.
func Check(c contract.Container) Problems {
	k := &checker{}
	k.ports(c.Ports)
	k.volumes(c.Volumes)
	k.pairs("environment", "variable", c.Environment)
	k.extraHosts(c.ExtraHosts)
	if c.Memory != "" {
		_, err := Memory(c.Memory)
		k.add("memory", err)
	}
	k.pairs("labels", "label", c.Labels)
	for _, name := range slices.Sorted(maps.Keys(c.Labels)) {
		if strings.HasPrefix(name, reservedLabels) {
			k.add(join("labels", name), fmt.Errorf("labels that begin with %s are the bootstrapper's own; choose another name", reservedLabels))
		}
	}
	k.command(c.Command)
	k.network(c.Network)
	return k.problems
}

type checker struct{ problems Problems }

// add keeps err as a problem at path; nil adds nothing.
func (k *checker) add(path string, err error) {
	if err != nil {
		k.problems = append(k.problems, Problem{Path: path, Message: err.Error()})
	}
}

func item(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]" }

// join returns the path of a member. A name that is not one may be anything, and is not repeated.
func join(path, name string) string {
	if name == "" || len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("_-./", r)
	}) {
		return path
	}
	return path + "." + name
}

// entries checks what is common to all lists.
func (k *checker) entries(path string, list []string) bool {
	if len(list) > contract.MaxContainerEntries {
		k.add(path, fmt.Errorf("the list has %d entries and exceeds the limit of %d", len(list), contract.MaxContainerEntries))
		return false
	}
	return true
}

// entry checks what is common to all texts of one line.
func entry(s string) error {
	switch {
	case s == "":
		return errors.New("the text is empty; leave it out")
	case len(s) > contract.MaxContainerEntryBytes:
		return fmt.Errorf("the text is %d bytes long and exceeds the limit of %d", len(s), contract.MaxContainerEntryBytes)
	case strings.ContainsFunc(s, unicode.IsControl):
		return errors.New("the text has a control character; remove it")
	}
	return nil
}

func (k *checker) ports(list []string) {
	if !k.entries("ports", list) {
		return
	}
	total, taken := 0, map[string]int{}
	for i, text := range list {
		published, err := Port(text)
		if err != nil {
			k.add(item("ports", i), err)
			continue
		}
		if total += len(published); total > MaxPorts {
			k.add("ports", fmt.Errorf("%d ports exceed the limit of %d", total, MaxPorts))
			return
		}
		for _, p := range published {
			at := net(p)
			if at == "" {
				continue // the engine chooses a free one
			}
			if first, again := taken[at]; again {
				k.add(item("ports", i), fmt.Errorf("port %s is published by ports[%d] already; remove one of the two", at, first))
				break
			}
			taken[at] = i
		}
	}
}

// net returns the published address, port and protocol, which must be unique;
// "" if the engine chooses.
func net(p nat.PortMapping) string {
	if p.Binding.HostPort == "" || p.Binding.HostPort == "0" || strings.Contains(p.Binding.HostPort, "-") {
		return ""
	}
	ip := p.Binding.HostIP
	if ip != "" {
		ip += ":"
	}
	return ip + p.Binding.HostPort + "/" + p.Port.Proto()
}

// Port parses a published port in Docker's short syntax, [[IP:]HOSTPORT:]PORT[/PROTOCOL], ranges included.
func Port(text string) ([]nat.PortMapping, error) {
	if err := entry(text); err != nil {
		return nil, err
	}
	published, err := nat.ParsePortSpec(text)
	if err != nil {
		return nil, fmt.Errorf("%q is not a published port (%w); write HOSTPORT:PORT, such as 8080:80, 127.0.0.1:8080:80 or 53:53/udp", text, err)
	}
	for _, p := range published {
		if p.Port.Int() == 0 {
			return nil, fmt.Errorf("%q is not a published port: there is no port 0 in a container", text)
		}
	}
	return published, nil
}

func (k *checker) volumes(list []string) {
	if !k.entries("volumes", list) {
		return
	}
	targets := map[string]int{}
	for i, text := range list {
		v, err := ParseVolume(text)
		if err != nil {
			k.add(item("volumes", i), err)
			continue
		}
		if first, again := targets[v.Target]; again {
			k.add(item("volumes", i), fmt.Errorf("%s is mounted by volumes[%d] already; remove one of the two", v.Target, first))
			continue
		}
		targets[v.Target] = i
	}
}

// Volume is a volume or bind mount in parts.
type Volume struct {
	Source string // directory or file of the guest, name of a volume, "" for a volume without a name
	Target string // in the container
	Mode   string // "ro", "rw,z"; may be ""
	IsBind bool   // Source is a path of the guest
}

// String returns v in Docker's short syntax.
func (v Volume) String() string {
	text := v.Target
	if v.Source != "" {
		text = v.Source + ":" + text
	}
	if v.Mode != "" {
		text += ":" + v.Mode
	}
	return text
}

// ParseVolume parses a volume in Docker's short syntax: SOURCE:TARGET[:MODE] or TARGET.
func ParseVolume(text string) (Volume, error) {
	if err := entry(text); err != nil {
		return Volume{}, err
	}
	point, err := mounts.NewLinuxParser().ParseMountRaw(text, "")
	if err != nil {
		return Volume{}, fmt.Errorf("%q is not a volume (%s); write SOURCE:TARGET, such as /srv/data:/data or data:/data:ro", text, reason(text, err))
	}
	if !path.IsAbs(point.Destination) { // the parser takes a path of Windows as well, which runc does not
		return Volume{}, fmt.Errorf("%q is not a volume (%q is not an absolute path in the container); write SOURCE:TARGET, such as /srv/data:/data or data:/data:ro", text, point.Destination)
	}
	v := Volume{Source: point.Source, Target: path.Clean(point.Destination), Mode: point.Mode, IsBind: point.Type == mount.TypeBind}
	if !v.IsBind {
		v.Source = point.Name
		if strings.Count(text, ":") == 0 {
			v.Source = ""
		}
		if v.Source != "" && !dockerName.MatchString(v.Source) {
			return Volume{}, fmt.Errorf("%q is neither an absolute path nor the name of a volume; write /DIRECTORY:TARGET or NAME:TARGET", v.Source)
		}
	}
	return v, nil
}

// reason returns the parser's message without the text itself.
func reason(text string, err error) string {
	out := err.Error()
	for _, prefix := range []string{"invalid volume specification: '" + text + "': ", "invalid volume specification: '" + text + "'"} {
		out = strings.TrimPrefix(out, prefix)
	}
	if out == "" {
		return "it has too few or too many parts"
	}
	return strings.TrimPrefix(out, "invalid mount config for type ")
}

func (k *checker) pairs(path, what string, m map[string]string) {
	if len(m) > contract.MaxContainerEntries {
		k.add(path, fmt.Errorf("%d %ss exceed the limit of %d", len(m), what, contract.MaxContainerEntries))
		return
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		k.add(join(path, name), Pair(what, name, m[name]))
	}
}

// Pair checks one variable or label; what says which of the two it is.
func Pair(what, name, value string) error {
	switch {
	case name == "":
		return fmt.Errorf("the name of a %s is empty; write NAME=VALUE", what)
	case strings.Contains(name, "="), strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf(`the name of a %s has a "=" or a control character; remove it`, what)
	case strings.Contains(value, "\x00"):
		return fmt.Errorf("the value of this %s has a NUL byte; remove it", what)
	case len(name)+len(value) > contract.MaxContainerEntryBytes:
		return fmt.Errorf("the %s is %d bytes long and exceeds the limit of %d", what, len(name)+len(value), contract.MaxContainerEntryBytes)
	}
	return nil
}

func (k *checker) extraHosts(list []string) {
	if !k.entries("extra_hosts", list) {
		return
	}
	for i, text := range list {
		k.add(item("extra_hosts", i), extraHost(text))
	}
}

func extraHost(text string) error {
	if err := entry(text); err != nil {
		return err
	}
	name, address, ok := strings.Cut(text, ":")
	bare := strings.TrimSuffix(strings.TrimPrefix(address, "["), "]")
	_, err := netip.ParseAddr(bare)
	if !ok || name == "" || strings.ContainsAny(name, " \t/") || err != nil && address != "host-gateway" {
		return fmt.Errorf("%q is not a line of the hosts file; write NAME:ADDRESS, such as hub.example:192.0.2.7", text)
	}
	return nil
}

// Memory parses a memory limit such as 512m, in bytes.
func Memory(text string) (int64, error) {
	bytes, err := units.RAMInBytes(text)
	switch {
	case entry(text) != nil, err != nil:
		return 0, fmt.Errorf("%q is not a size; write a number with a unit, such as 512m or 2g", text)
	case bytes < MinMemory:
		return 0, fmt.Errorf("%q is below the minimum of 6m", text)
	}
	return bytes, nil
}

func (k *checker) command(list []string) {
	if !k.entries("command", list) {
		return
	}
	for i, text := range list {
		switch {
		case strings.Contains(text, "\x00"):
			k.add(item("command", i), errors.New("the argument has a NUL byte; remove it"))
		case len(text) > contract.MaxContainerEntryBytes:
			k.add(item("command", i), fmt.Errorf("the argument is %d bytes long and exceeds the limit of %d", len(text), contract.MaxContainerEntryBytes))
		}
	}
}

func (k *checker) network(name string) {
	if name == "" {
		return
	}
	if !dockerName.MatchString(strings.TrimPrefix(name, "container:")) {
		k.add("network", fmt.Errorf("%q is not the name of a network; write bridge, host, none, or the name of one", name))
	}
}
