package containerspec

import (
	"strings"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/strictyaml"
)

// MaxBytes is the largest text that [Parse] reads: it is written by hand.
const MaxBytes = 256 << 10

// Keys returns the keys of the settings, in the order of the documentation.
func Keys() []string {
	return []string{"ports", "volumes", "environment", "extra_hosts", "memory", "labels", "command", "network"}
}

// aliases are the names of the same settings in other tools.
func aliases() map[string]string {
	return map[string]string{
		"env": "environment", "env_file": "environment", "publish": "ports", "port": "ports", "expose": "ports",
		"volume": "volumes", "mounts": "volumes", "binds": "volumes", "label": "labels", "cmd": "command", "args": "command",
		"mem_limit": "memory", "mem": "memory", "add_host": "extra_hosts", "hosts": "extra_hosts", "network_mode": "network", "networks": "network",
	}
}

// Parse reads the settings from a YAML document, which is a file of the golden
// image. name is only its name in the findings. An empty document sets nothing. The
// error is a *[strictyaml.Findings] with the place of everything that is wrong; the
// settings are incomplete then.
func Parse(name string, data []byte) (contract.Container, error) {
	doc := strictyaml.Read(name, data, strictyaml.Options{MaxBytes: MaxBytes, HideValues: true})
	var c contract.Container
	if !doc.Empty() {
		c = Decode(doc.Root())
	}
	return c, doc.Err()
}

// Decode reads and checks the settings at v, a mapping; null sets nothing. It adds
// what is wrong to the document of v, without the values of variables, labels and
// commands; the settings are incomplete then.
func Decode(v strictyaml.Value) contract.Container {
	var c contract.Container
	if v.IsNull() {
		return c
	}
	if !v.IsMapping() { // the value may be a variable that was indented wrongly
		v.Add("want keys with values, such as %s", strings.Join(Keys(), ", "))
		return c
	}
	table := map[string]strictyaml.Field{
		"ports":       {Take: func(v strictyaml.Value) { c.Ports = list(v, `["8080:80"]`) }},
		"volumes":     {Take: func(v strictyaml.Value) { c.Volumes = list(v, `["/srv/data:/data"]`) }},
		"environment": {Take: func(v strictyaml.Value) { c.Environment = pairs(v) }},
		"extra_hosts": {Take: func(v strictyaml.Value) { c.ExtraHosts = list(v, `["hub.example:192.0.2.7"]`) }},
		"memory":      {Take: func(v strictyaml.Value) { c.Memory = text(v) }},
		"labels":      {Take: func(v strictyaml.Value) { c.Labels = pairs(v) }},
		"command":     {Take: func(v strictyaml.Value) { c.Command = list(v, `["serve", "--verbose"]`) }},
		"network":     {Take: func(v strictyaml.Value) { c.Network = text(v) }},
	}
	for name, meant := range aliases() {
		table[name] = strictyaml.Field{Meant: meant}
	}
	v.Fields(table)
	for _, p := range Check(c) {
		v.AddAt(p.Path, "%s", p.Message)
	}
	return c
}

// list reads a list of texts. A key without a value is a mistake and not an empty list.
func list(v strictyaml.Value, example string) []string {
	if !v.IsList() {
		v.Add("want a list, such as %s", example)
		return nil
	}
	out := make([]string, v.Len())
	v.Items(func(i int, item strictyaml.Value) { out[i], _ = item.Raw() })
	return out
}

// pairs reads a mapping of texts, or a list of NAME=VALUE.
func pairs(v strictyaml.Value) map[string]string {
	out := map[string]string{}
	switch {
	case v.IsMapping():
		v.Pairs(func(name string, value strictyaml.Value) {
			switch {
			case value.IsNull():
				value.Add(`the value is missing; write "" for an empty one, or leave it out`)
			default:
				out[name], _ = value.Raw()
			}
		})
	case v.IsList():
		v.Items(func(_ int, item strictyaml.Value) {
			one, ok := item.Raw()
			name, value, hasValue := strings.Cut(one, "=")
			_, again := out[name]
			switch {
			case !ok:
			case !hasValue:
				item.Add("want NAME=VALUE, and there is no \"=\"")
			case again:
				item.Add("the name is given twice; remove one of the two")
			default:
				if err := Pair("entry", name, value); err != nil {
					item.Add("%v", err)
					return
				}
				out[name] = value
			}
		})
	default:
		v.Add("want NAME: VALUE lines, or a list of NAME=VALUE")
		return nil
	}
	return out
}

// text reads one text that is not empty.
func text(v strictyaml.Value) string {
	s, ok := v.Raw()
	if ok && s == "" {
		v.Add("the text is empty; leave the key out")
	}
	return s
}
