package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/typo"
)

// Parse reads a configuration. file is only its name for the findings, which
// come all at once as an [*Error].
func Parse(file string, data []byte) (Config, error) {
	p := parser{cfg: defaults()}
	p.document(data, p.top())
	if p.idMap != nil && p.cfg.IDMap == IDMapPerGuest && p.cfg.Hypervisor != HypervisorLXC {
		p.add(p.idMap, "id_map", "per-guest needs hypervisor: lxc; on PVE give a guest lxc.idmap lines")
	}
	if err := p.result(file); err != nil {
		return Config{}, err
	}
	if p.cfg.Hypervisor == HypervisorLXC && p.cfg.StorageFolder == "" {
		p.cfg.StorageFolder = p.cfg.LXCPath
	}
	if p.cfg.Provision.Bridge == "" {
		p.cfg.Provision.Bridge = p.cfg.Bridge
	}
	if p.cfg.StoreDir == "" {
		p.cfg.StoreDir = filepath.Join(p.cfg.StateDir, "guests")
	}
	return p.cfg, nil
}

type parser struct {
	cfg      Config
	idMap    *yaml.Node // of id_map; nil if it is absent
	findings []Finding
}

// field says how the value of one key is taken in.
type field struct {
	required bool
	take     func(p *parser, key string, n *yaml.Node)
}

// result is all that was found, by position.
func (p *parser) result(file string) error {
	if len(p.findings) == 0 {
		return nil
	}
	slices.SortStableFunc(p.findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return &Error{File: file, Findings: p.findings}
}

func (p *parser) document(data []byte, fields map[string]field) {
	if len(data) > MaxBytes {
		p.at(1, 1, "", "the file has %d bytes, want at most %d", len(data), MaxBytes)
		return
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF):
		doc.Content = []*yaml.Node{{Kind: yaml.MappingNode, Line: 1, Column: 1}}
	case err != nil:
		p.syntax(err)
		return
	}
	p.mapping("", doc.Content[0], fields)
	var more yaml.Node
	switch err := decoder.Decode(&more); {
	case errors.Is(err, io.EOF):
	case err != nil:
		p.syntax(err)
	default:
		p.at(more.Line, more.Column, "", "a second document: the file holds one")
	}
}

func (p *parser) top() map[string]field {
	c := &p.cfg
	return map[string]field{
		"host_id":                          {required: true, take: text(&c.HostID, checkHostID)},
		"hub_url":                          {required: true, take: text(&c.HubURL, checkHubURL)},
		"controller_image":                 {required: true, take: text(&c.ControllerImage, checkImage)},
		"controller_image_manifest_digest": {take: text(&c.ManifestDigest, checkDigest)},
		"controller_image_config_digest":   {take: text(&c.ConfigDigest, checkDigest)},
		"listen":                           {take: takeListen},
		"bridge":                           {take: text(&c.Bridge, checkInterface)},
		"state_dir":                        {take: text(&c.StateDir, checkPath)},
		"store_dir":                        {take: text(&c.StoreDir, checkPath)},
		"mounts_dir":                       {take: text(&c.MountsDir, checkPath)},
		"health_socket":                    {take: text(&c.HealthSocket, checkSocket)},
		"ready_wait":                       {take: text2(func(s string) (err error) { c.ReadyWait, err = contract.ParseReadyWait(s); return err })},
		"registry_mirror":                  {take: text(&c.RegistryMirror, checkRegistryHost)},
		"id_map_base":                      {take: number(&c.IDMapBase, 0, math.MaxUint32-1)},
		"registry": {take: func(p *parser, key string, n *yaml.Node) {
			r := &Registry{}
			c.Registry = r
			p.mapping(key, n, map[string]field{
				"host":       {required: true, take: text(&r.Host, checkRegistryHost)},
				"username":   {required: true, take: text(&r.Username, checkVisible)},
				"token_file": {required: true, take: text(&r.TokenFile, checkPath)},
			})
		}},
		"storage": {take: func(p *parser, key string, n *yaml.Node) {
			p.mapping(key, n, map[string]field{"folder": {required: true, take: text(&c.StorageFolder, checkPath)}})
		}},
		"id_map": {take: func(p *parser, key string, n *yaml.Node) {
			word(&c.IDMap, IDMapShared, IDMapPerGuest)(p, key, n)
			p.idMap = n
		}},
		"mount_owner": {take: word(&c.MountOwner, MountOwnerHost, MountOwnerGuest)},
		"hypervisor":  {take: word(&c.Hypervisor, HypervisorPCT, HypervisorLXC)},
		"lxc": {take: func(p *parser, key string, n *yaml.Node) {
			p.mapping(key, n, map[string]field{"path": {required: true, take: text(&c.LXCPath, checkPath)}})
		}},
		"provision": {take: func(p *parser, key string, n *yaml.Node) {
			fields := guestFields(&c.Provision.Guest)
			// What is one guest's own has no default.
			for _, own := range []string{"vmid", "hostname", "ip", "ip6", "image"} {
				delete(fields, own)
			}
			fields["wait"] = field{take: duration(&c.Provision.Wait, 0, 24*time.Hour)}
			p.mapping(key, n, fields)
		}},
		"limits": {take: func(p *parser, key string, n *yaml.Node) {
			l := &c.Limits
			p.mapping(key, n, map[string]field{
				"connections_per_source": {take: number(&l.ConnectionsPerSource, 1, 4096)},
				"connections_total":      {take: number(&l.ConnectionsTotal, 1, 65536)},
				"handshakes_per_second":  {take: number(&l.HandshakesPerSecond, 1, 10000)},
				"reports_per_minute":     {take: number(&l.ReportsPerMinute, 1, 60000)},
				"token_overlap":          {take: duration(&l.TokenOverlap, 0, 7*24*time.Hour)},
			})
		}},
	}
}

func (p *parser) mapping(path string, n *yaml.Node, fields map[string]field) {
	if n.Kind != yaml.MappingNode {
		p.add(n, path, "want keys and values, found %s", describe(n))
		return
	}
	places := map[string]*yaml.Node{}
	known := make([]string, 0, len(fields))
	for name := range fields {
		known = append(known, name)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		full := join(path, key.Value)
		f, ok := fields[key.Value]
		if !ok {
			message := "unknown key"
			if s := typo.Closest(key.Value, known); s != "" {
				message += fmt.Sprintf("; did you mean %q?", s)
			}
			p.add(key, full, "%s", message)
			continue
		}
		if first, twice := places[key.Value]; twice {
			p.add(key, full, "stands twice; the first is in line %d", first.Line)
			continue
		}
		places[key.Value] = key
		if value.Kind == yaml.AliasNode || value.Anchor != "" {
			p.add(value, full, "anchors and aliases are not read here; write the value out")
			continue
		}
		f.take(p, full, value)
	}
	for _, name := range slices.Sorted(slices.Values(known)) {
		if fields[name].required && places[name] == nil {
			p.at(max(n.Line, 1), max(n.Column, 1), join(path, name), "is missing")
		}
	}
}

func text(into *string, check func(string) error) func(*parser, string, *yaml.Node) {
	return func(p *parser, key string, n *yaml.Node) {
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
			p.add(n, key, "want a text, found %s", describe(n))
			return
		}
		if err := check(n.Value); err != nil {
			p.add(n, key, "%v", err)
			return
		}
		*into = n.Value
	}
}

func number(into *int, low, high int) func(*parser, string, *yaml.Node) {
	return func(p *parser, key string, n *yaml.Node) {
		v, err := strconv.Atoi(n.Value)
		if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || err != nil || v < low || v > high {
			p.add(n, key, "want a whole number from %d to %d, found %s", low, high, describe(n))
			return
		}
		*into = v
	}
}

func duration(into *time.Duration, low, high time.Duration) func(*parser, string, *yaml.Node) {
	return func(p *parser, key string, n *yaml.Node) {
		v, err := time.ParseDuration(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil || v < low || v > high {
			p.add(n, key, "want a duration like 10m, from %v to %v, found %s", low, high, describe(n))
			return
		}
		*into = v
	}
}

func takeListen(p *parser, key string, n *yaml.Node) {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		p.add(n, key, "want a list of address:port, found %s", describe(n))
		return
	}
	for i, item := range n.Content {
		name := fmt.Sprintf("%s[%d]", key, i)
		a, err := netip.ParseAddrPort(item.Value)
		switch {
		case item.Kind != yaml.ScalarNode || err != nil:
			p.add(item, name, "want address:port like 192.0.2.7:%d, found %s", DefaultPort, describe(item))
		case a.Addr().IsUnspecified():
			p.add(item, name, "%s means every interface; name the bridge's own addresses, or set bridge and leave listen out", a.Addr())
		case a.Addr().IsMulticast() || a.Addr().Zone() != "" || a.Addr().IsLinkLocalUnicast() && a.Addr().Is6():
			p.add(item, name, "guests cannot be told to use %s; name an ordinary address of the bridge", a.Addr())
		case a.Port() == 0:
			p.add(item, name, "port 0 is a different one at each start; guests need a fixed one")
		case slices.Contains(p.cfg.Listen, a):
			p.add(item, name, "%s stands twice", a)
		default:
			p.cfg.Listen = append(p.cfg.Listen, a)
		}
	}
}

// yamlLine finds the position in the library's error texts, the only place it is.
var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)

func (p *parser) syntax(err error) {
	line, message := 1, err.Error()
	if m := yamlLine.FindStringSubmatch(message); m != nil {
		message = m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		}
	}
	p.at(line, 1, "", "not YAML: %s", message)
}

func (p *parser) add(n *yaml.Node, key, format string, args ...any) {
	p.at(n.Line, n.Column, key, format, args...)
}

func (p *parser) at(line, column int, key, format string, args ...any) {
	p.findings = append(p.findings, Finding{Line: line, Column: column, Key: printable(key), Message: fmt.Sprintf(format, args...)})
}

func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "keys and values"
	case n.Kind == yaml.SequenceNode && len(n.Content) == 0:
		return "an empty list"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null":
		return "nothing"
	}
	return strconv.QuoteToASCII(n.Value)
}

// printable keeps a hostile key from writing to the terminal.
func printable(key string) string {
	return strings.Trim(strconv.QuoteToGraphic(key), `"`)
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
