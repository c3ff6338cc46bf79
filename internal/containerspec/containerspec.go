// Package containerspec reads, merges and checks the settings of the controller's container: it has one parser for the
// golden image's file, for agentd.yaml, a spec, flags and bootstrap.json. [Decode] reads a value of a YAML document,
// [Parse] a whole document, [Merge] merges layers, and [Check] returns everything that Docker would refuse. The texts
// are in Docker's own short syntax and are parsed by Docker's own libraries. It opens no file and asks no engine.
//
// The order of layers is: Defaults of the profile, golden image, agentd.yaml,
// spec, flags. Variables and labels are merged one by one; a list or a text that
// is present replaces the one below it.
package containerspec

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/felhom/felhom-golden/internal/contract"
)

// The directories of the guest that the profile felhom gives to a container.
const (
	MountDir     = "/etc/felhom-bootstrap"
	SettingsDir  = "/opt/docker/felhom-controller"
	EngineSocket = "/var/run/docker.sock"
)

// reservedLabels begins the labels that the bootstrapper gives to its containers.
const reservedLabels = "org.felhom."

// Problem is one mistake in the settings.
type Problem struct {
	// Path names the setting: "ports[0]", "environment.TZ"; "" is all of them.
	Path string
	// Line is the line in a file of variables, 1-based; 0 if the setting is not
	// from such a file.
	Line int
	// Message says what is wrong and what to write. It holds no value of a
	// variable, a label or a command.
	Message string
}

// String returns "line: path: message" without what is not known.
func (p Problem) String() string {
	text := p.Message
	if p.Path != "" {
		text = p.Path + ": " + text
	}
	if p.Line > 0 {
		text = fmt.Sprintf("%d: %s", p.Line, text)
	}
	return text
}

// Problems are all mistakes in the settings, in the order of the settings.
type Problems []Problem

// Defaults returns what a container of that profile gets if nothing else is set.
func Defaults(p contract.Profile) contract.Container {
	if p == contract.ProfilePlain {
		return contract.Container{}
	}
	return contract.Container{
		Ports:   []string{"8080:8080", "8081:8081"},
		Volumes: []string{EngineSocket + ":" + EngineSocket, SettingsDir + ":" + SettingsDir, MountDir + ":" + MountDir + ":ro"},
	}
}

// Merge merges the layers, of which a later one overrides the earlier ones, and
// returns a value that shares nothing with them. It skips a nil layer.
func Merge(layers ...*contract.Container) contract.Container {
	var out contract.Container
	for _, l := range layers {
		if l == nil {
			continue
		}
		out.Ports = replace(out.Ports, l.Ports)
		out.Volumes = replace(out.Volumes, l.Volumes)
		out.ExtraHosts = replace(out.ExtraHosts, l.ExtraHosts)
		out.Command = replace(out.Command, l.Command)
		out.Environment = over(out.Environment, l.Environment)
		out.Labels = over(out.Labels, l.Labels)
		if l.Memory != "" {
			out.Memory = l.Memory
		}
		if l.Network != "" {
			out.Network = l.Network
		}
	}
	return out
}

func replace(below, above []string) []string {
	if above == nil {
		return below
	}
	return append([]string{}, above...) // an empty list is present, and stays so
}

func over(below, above map[string]string) map[string]string {
	if above == nil {
		return below
	}
	out := make(map[string]string, len(below)+len(above))
	maps.Copy(out, below)
	maps.Copy(out, above)
	return out
}

// IsZero reports whether c sets nothing.
func IsZero(c *contract.Container) bool {
	return c == nil || c.Ports == nil && c.Volumes == nil && c.ExtraHosts == nil && c.Command == nil &&
		c.Environment == nil && c.Labels == nil && c.Memory == "" && c.Network == ""
}

// Pairs returns NAME=VALUE of each variable or label, sorted by name; nil for none.
func Pairs(m map[string]string) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, name+"="+m[name])
	}
	return out
}

// HidesPorts reports whether a container in that network publishes no port, even if ports are set.
func HidesPorts(network string) bool {
	return network == "host" || network == "none" || strings.HasPrefix(network, "container:")
}
