package containerspec

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/typo"
)

// MaxBytes is the largest text that Parse reads: it is written by hand.
const MaxBytes = 256 << 10

// Keys returns the keys of the settings, in the order of the documentation.
func Keys() []string {
	return []string{"ports", "volumes", "environment", "extra_hosts", "memory", "labels", "command", "network"}
}

// aliases are what other tools call the same settings.
func aliases() map[string]string {
	return map[string]string{
		"env": "environment", "env_file": "environment", "publish": "ports", "port": "ports", "expose": "ports",
		"volume": "volumes", "mounts": "volumes", "binds": "volumes", "label": "labels", "cmd": "command", "args": "command",
		"mem_limit": "memory", "mem": "memory", "add_host": "extra_hosts", "hosts": "extra_hosts", "network_mode": "network", "networks": "network",
	}
}

// Parse reads the settings from a YAML document: the file that a golden image
// carries. An empty document sets nothing. What it returns beside problems is
// incomplete.
func Parse(data []byte) (contract.Container, Problems) {
	if len(data) > MaxBytes {
		return contract.Container{}, Problems{{Message: fmt.Sprintf("the text has %d bytes and exceeds the limit of %d", len(data), MaxBytes)}}
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return contract.Container{}, nil
	case err != nil:
		return contract.Container{}, Problems{syntaxProblem(err)}
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return contract.Container{}, Problems{{Message: "there is more than one YAML document; keep one"}}
	}
	return Decode(&doc)
}

// syntaxProblem words an error of the YAML parser by its line alone: the parser
// quotes parts of the text, and they may be secret.
func syntaxProblem(err error) Problem {
	p := Problem{Message: "it is not valid YAML; check indentation, quotes and brackets"}
	if n, _ := fmt.Sscanf(err.Error(), "yaml: line %d:", &p.Line); n == 1 {
		p.Column = 1
	}
	return p
}

// Decode reads and checks the settings at n, a YAML mapping; nil and null set
// nothing. Unknown keys, keys that are repeated and values of a wrong kind are
// problems with their place. What it returns beside problems is incomplete.
func Decode(n *yaml.Node) (contract.Container, Problems) {
	d := &decoder{places: map[string]*yaml.Node{}}
	for n != nil && n.Kind == yaml.DocumentNode && len(n.Content) == 1 {
		n = n.Content[0]
	}
	if n == nil || n.Kind == 0 || n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return contract.Container{}, nil
	}
	c := d.container(n)
	for _, p := range Check(c) {
		at := d.places[p.Path]
		if at == nil {
			at = d.places[listOf(p.Path)]
		}
		if at != nil {
			p.Line, p.Column = at.Line, at.Column
		}
		d.problems = append(d.problems, p)
	}
	slices.SortStableFunc(d.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return c, d.problems
}

func listOf(path string) string {
	if i := strings.IndexAny(path, ".["); i >= 0 {
		return path[:i]
	}
	return path
}

type decoder struct {
	places   map[string]*yaml.Node // by path
	problems Problems
}

func (d *decoder) wrong(n *yaml.Node, path, format string, args ...any) {
	d.problems = append(d.problems, Problem{Path: path, Line: n.Line, Column: n.Column, Message: fmt.Sprintf(format, args...)})
}

func (d *decoder) container(n *yaml.Node) contract.Container {
	var c contract.Container
	if n.Kind != yaml.MappingNode {
		d.wrong(n, "", "want a mapping with the keys %s, got %s", strings.Join(Keys(), ", "), kindOf(n))
		return c
	}
	for _, m := range d.members(n, "") {
		switch key, value := m.key.Value, m.value; key {
		case "ports":
			c.Ports = d.list(value, key)
		case "volumes":
			c.Volumes = d.list(value, key)
		case "extra_hosts":
			c.ExtraHosts = d.list(value, key)
		case "command":
			c.Command = d.list(value, key)
		case "environment":
			c.Environment = d.pairs(value, key)
		case "labels":
			c.Labels = d.pairs(value, key)
		case "memory":
			c.Memory = d.text(value, key)
		case "network":
			c.Network = d.text(value, key)
		default:
			d.unknown(m.key)
		}
	}
	return c
}

func (d *decoder) unknown(key *yaml.Node) {
	meant := aliases()[strings.ToLower(strings.ReplaceAll(key.Value, "-", "_"))]
	switch meant = cmp.Or(meant, typo.Closest(key.Value, Keys())); {
	case key.Value == "restart":
		d.wrong(key, "", "unknown key %q; the container is always restarted unless it was stopped: remove it", key.Value)
	case meant != "":
		d.wrong(key, "", "unknown key %s; did you mean %q?", shown(key.Value), meant)
	default:
		d.wrong(key, "", "unknown key %s; the keys are %s", shown(key.Value), strings.Join(Keys(), ", "))
	}
}

// shown returns a key for a message. What does not look like a key may be anything.
func shown(key string) string {
	if join("", key) == "" {
		return fmt.Sprintf("of %d bytes", len(key))
	}
	return fmt.Sprintf("%q", key)
}

type member struct{ key, value *yaml.Node }

// members returns the members of a mapping whose keys are texts, each once.
func (d *decoder) members(n *yaml.Node, path string) []member {
	var out []member
	first := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" || key.Alias != nil {
			d.wrong(key, path, "want a name as the key, got %s", kindOf(key))
			continue
		}
		if before := first[key.Value]; before != nil {
			d.wrong(key, joinKey(path, key.Value), "the key is repeated; the first one is in line %d: remove one of the two", before.Line)
			continue
		}
		first[key.Value] = key
		if value.Kind == yaml.AliasNode {
			d.wrong(value, joinKey(path, key.Value), "an alias is not accepted here; write the value itself")
			continue
		}
		out = append(out, member{key, value})
	}
	return out
}

func joinKey(path, key string) string {
	if path == "" {
		return strings.TrimPrefix(join("", key), ".")
	}
	return join(path, key)
}

// list reads a list of texts. A missing value is a mistake and not an empty list.
func (d *decoder) list(n *yaml.Node, path string) []string {
	d.places[path] = n
	if n.Kind != yaml.SequenceNode {
		example := map[string]string{
			"ports": `["8080:80"]`, "volumes": `["/srv/data:/data"]`, "extra_hosts": `["hub.example:192.0.2.7"]`, "command": `["serve", "--verbose"]`,
		}
		d.wrong(n, path, "want a list, got %s; write %s", kindOf(n), example[path])
		return nil
	}
	out := make([]string, 0, len(n.Content))
	for i, one := range n.Content {
		at := item(path, i)
		if text, ok := d.scalar(one, at); ok {
			d.places[fmt.Sprintf("%s[%d]", path, len(out))] = one
			out = append(out, text)
		}
	}
	return out
}

// pairs reads a mapping of texts, or a list of NAME=VALUE.
func (d *decoder) pairs(n *yaml.Node, path string) map[string]string {
	d.places[path] = n
	out := map[string]string{}
	switch n.Kind {
	case yaml.MappingNode:
		for _, m := range d.members(n, path) {
			at := join(path, m.key.Value)
			if value, ok := d.scalar(m.value, at); ok {
				d.places[at], out[m.key.Value] = m.value, value
			}
		}
	case yaml.SequenceNode:
		for i, one := range n.Content {
			text, ok := d.scalar(one, item(path, i))
			if !ok {
				continue
			}
			name, value, hasValue := strings.Cut(text, "=")
			at := join(path, name)
			_, again := out[name]
			switch {
			case !hasValue:
				d.wrong(one, item(path, i), "want NAME=VALUE, and there is no \"=\"")
			case again:
				d.wrong(one, at, "the name is repeated; remove one of the two")
			default:
				d.places[at], out[name] = one, value
			}
		}
	default:
		d.wrong(n, path, "want a mapping NAME: VALUE, got %s", kindOf(n))
		return nil
	}
	return out
}

// text reads one text.
func (d *decoder) text(n *yaml.Node, path string) string {
	d.places[path] = n
	text, ok := d.scalar(n, path)
	if ok && text == "" {
		d.wrong(n, path, "the text is empty; leave the key out")
	}
	return text
}

// scalar reads a text, a number or a word, as it is written.
func (d *decoder) scalar(n *yaml.Node, path string) (text string, ok bool) {
	switch {
	case n.Kind != yaml.ScalarNode:
		d.wrong(n, path, "want a text, got %s", kindOf(n))
	case n.Tag == "!!null":
		d.wrong(n, path, `the value is missing; write "" for an empty one, or leave it out`)
	case n.Tag == "!!binary", !strings.HasPrefix(n.Tag, "!!"):
		d.wrong(n, path, "want a text without a tag; remove the tag")
	default:
		return n.Value, true
	}
	return "", false
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	case yaml.ScalarNode:
		switch n.Tag {
		case "!!null":
			return "nothing"
		case "!!int", "!!float":
			return "a number"
		case "!!bool":
			return "true or false"
		}
		return "a text"
	}
	return "nothing"
}
