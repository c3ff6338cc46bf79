package firewall

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/felhom/felhom-golden/internal/regular"
)

// PVE is what Proxmox VE's own firewall needs so that guests reach the local
// API. It is never written by this program.
type PVE struct {
	IsOn bool `json:"is_on"` // it then drops what no rule accepts
	// HasRule reports whether a rule of the host or the cluster names the port.
	HasRule     bool   `json:"has_rule"`
	ClusterFile string `json:"cluster_file"`
	Cluster     string `json:"cluster_text"` // to add there
	HostFile    string `json:"host_file"`
	Host        string `json:"host_text"`
}

const maxPVEFile = 1 << 20

// LookAtPVE reads the firewall's files below dir, /etc/pve on a node. networks
// are those of the host's addresses, for guests whose address is not fixed.
// Without such files the firewall is off.
func LookAtPVE(dir, node, bridge string, p Plan, networks []netip.Prefix) (PVE, error) {
	out := PVE{ClusterFile: filepath.Join(dir, "firewall/cluster.fw"), HostFile: filepath.Join(dir, "nodes", node, "host.fw")}
	cluster, err := readPVE(out.ClusterFile)
	if err != nil {
		return out, err
	}
	host, err := readPVE(out.HostFile)
	if err != nil {
		return out, err
	}
	// Off by default; a host can be left out of a firewall that is on.
	out.IsOn = option(cluster, "0") != "0" && option(host, "1") != "0" && policy(cluster) != "ACCEPT"
	var ports []string
	for _, a := range p.Listen {
		port := fmt.Sprint(a.Port())
		if slices.Contains(ports, port) {
			continue
		}
		ports = append(ports, port)
		out.Host += fmt.Sprintf("IN ACCEPT -i %s -source +dc/felhom-guests -p tcp -dport %s -log nolog\n", bridge, port)
		out.HasRule = out.HasRule || hasRule(host, port) || hasRule(cluster, port)
	}
	if out.Host != "" {
		out.Host = "[RULES]\n" + out.Host
	}
	var sources []string
	for _, e := range p.Entries {
		if e.Addresses.Bits() > 0 {
			sources = append(sources, e.Addresses.Addr().String())
			continue
		}
		for _, n := range networks {
			if n.Addr().Is6() == e.Addresses.Addr().Is6() {
				sources = append(sources, n.Masked().String())
			}
		}
	}
	slices.Sort(sources)
	out.Cluster = "[IPSET felhom-guests]\n" + strings.Join(append(slices.Compact(sources), ""), "\n")
	return out, nil
}

func readPVE(file string) (string, error) {
	data, err := regular.Read(file, maxPVEFile)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("firewall of PVE: %w", err)
	}
	return string(data), nil
}

var enableLine = regexp.MustCompile(`(?i)^enable:\s*([0-9]+)\s*$`)

// option returns the value of enable in [OPTIONS]; the last one counts.
func option(text, missing string) string {
	value := missing
	for line := range section(text, "options") {
		if m := enableLine.FindStringSubmatch(line); m != nil {
			if value = strings.TrimLeft(m[1], "0"); value == "" {
				value = "0"
			}
		}
	}
	return value
}

var policyLine = regexp.MustCompile(`(?i)^policy_in:\s*(ACCEPT|DROP|REJECT)\s*$`)

// policy returns what becomes of a packet for the host that no rule names; the
// last line of [OPTIONS] counts.
func policy(text string) string {
	value := "DROP"
	for line := range section(text, "options") {
		if m := policyLine.FindStringSubmatch(line); m != nil {
			value = strings.ToUpper(m[1])
		}
	}
	return value
}

// hasRule reports whether a rule that is not disabled accepts the port by its number.
func hasRule(text, port string) bool {
	for line := range section(text, "rules") {
		words := strings.Fields(line)
		if len(words) < 2 || !strings.EqualFold(words[0], "IN") || words[1] != "ACCEPT" {
			continue
		}
		for i, word := range words[:len(words)-1] {
			if strings.TrimLeft(word, "-") == "dport" && words[i+1] == port {
				return true
			}
		}
	}
	return false
}

// section yields the lines of a section.
func section(text, name string) func(func(string) bool) {
	return func(yield func(string) bool) {
		isIn := false
		for line := range strings.Lines(text) {
			line, _, _ = strings.Cut(strings.TrimSpace(line), "#")
			if line = strings.TrimSpace(line); strings.HasPrefix(line, "[") {
				isIn = strings.EqualFold(line, "["+name+"]")
				continue
			}
			if isIn && !yield(line) {
				return
			}
		}
	}
}
