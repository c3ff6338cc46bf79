package main

import (
	"io"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/agentd/internal/audit"
	"github.com/felhom/felhom-golden/agentd/internal/blobcache"
	"github.com/felhom/felhom-golden/agentd/internal/overview"
	"github.com/felhom/felhom-golden/agentd/internal/registryproxy"
	"github.com/felhom/felhom-golden/agentd/internal/rollout"
)

// shapes is what each command prints with --json; nil: another page has it.
var shapes = map[string]any{
	"provision":       []provisionedGuest{},
	"check":           []foreseen{},
	"config check":    checkedConfig{},
	"doctor":          nil,
	"firewall apply":  appliedFirewall{},
	"firewall remove": removedFirewall{},
	"firewall show":   shownFirewall{},
	"guest add":       added{},
	"guest attach":    attachedGuest{},
	"guest detach":    detachedGuest{},
	"guest list":      []overview.Row{},
	"guest remove":    removedGuest{},
	"guest revoke":    revokedGuest{},
	"guest rollout":   rollout.Status{},
	"guest rotate":    []added{},
	"guest set":       []provisionedGuest{},
	"guest set-image": []provisionedGuest{},
	"guest show":      shown{},
	"pin":             shownPins{},
	"pin rotate":      rotated{},
	"template list":   []listedTemplate{},
	"template prune":  prunedTemplates{},
	"registry check":  []registryproxy.Checked{},
	"cache list":      []blobcache.Blob{},
	"cache prune":     []blobcache.Blob{},
	"audit verify":    audit.Report{},
}

// withJSON returns the commands that have --json.
func withJSON(commands []*cli.Command, parent string) (list []string) {
	for _, c := range commands {
		name := strings.TrimSpace(parent + " " + c.Name)
		if slices.ContainsFunc(c.Flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), "json") }) {
			list = append(list, name)
		}
		list = append(list, withJSON(c.Subcommands, name)...)
	}
	slices.Sort(list)
	return list
}

// keysOf returns the keys of a type in JSON, those inside of others by path.
func keysOf(typ reflect.Type, path string) (list []string) {
	switch typ.Kind() {
	case reflect.Pointer:
		return keysOf(typ.Elem(), path)
	case reflect.Slice:
		return keysOf(typ.Elem(), path)
	case reflect.Struct:
	default:
		return nil
	}
	for i := range typ.NumField() {
		f := typ.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported():
		case f.Anonymous:
			list = append(list, keysOf(f.Type, path)...)
		default:
			list = append(list, path+name)
			if elem := f.Type; elem != reflect.TypeFor[time.Time]() && elem != reflect.TypeFor[*time.Time]() {
				list = append(list, keysOf(elem, path+name+".")...)
			}
		}
	}
	return list
}

// docs/json.md has a section for each command with --json, and in it each key and
// no other.
func TestJSONPage(t *testing.T) {
	commands := withJSON(newApp(io.Discard, io.Discard).Commands, "")
	if d := cmp.Diff(commands, slices.Sorted(maps.Keys(shapes))); d != "" {
		t.Errorf("commands with --json (-program +test):\n%s", d)
	}
	sections := map[string]string{}
	for part := range strings.SplitSeq(readText(t, "../docs/json.md"), "\n## ") {
		title, text, _ := strings.Cut(part, "\n")
		for _, name := range regexp.MustCompile("`felhom-agentd ([a-z -]+)`").FindAllStringSubmatch(title, -1) {
			sections[name[1]] = text
		}
	}
	if d := cmp.Diff(commands, slices.Sorted(maps.Keys(sections))); d != "" {
		t.Errorf("sections (-program +page):\n%s", d)
	}
	row := regexp.MustCompile("(?m)^\\| `([a-z0-9_.]+)` \\|")
	for name, shape := range shapes {
		var keys []string
		for _, match := range row.FindAllStringSubmatch(sections[name], -1) {
			keys = append(keys, match[1])
		}
		if shape == nil {
			continue
		}
		if d := cmp.Diff(keysOf(reflect.TypeOf(shape), ""), keys); d != "" {
			t.Errorf("%s: keys (-program +page):\n%s", name, d)
		}
		// A guest is named in one way on the whole page.
		for _, key := range keys {
			last := key[strings.LastIndex(key, ".")+1:]
			if isVMID := strings.Contains(sections[name], "| `"+key+"` | VMID |"); last == "vmid" || isVMID != (last == "guest") {
				t.Errorf("%s: %s: a VMID is in the key guest, and nothing else is", name, key)
			}
		}
		if isList := reflect.TypeOf(shape).Kind() == reflect.Slice; isList != strings.Contains(sections[name], "A list") {
			t.Errorf("%s: is a list: %t; the page has something else", name, isList)
		}
	}
}
