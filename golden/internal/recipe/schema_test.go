package recipe

import (
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"testing"

	"github.com/felhom/felhom-golden/internal/strictyaml/schematest"
)

const schemaFile = "../../../docs/golden.schema.json"

func TestSchemaAcceptsDefault(t *testing.T) {
	if err := schematest.Compile(t, schemaFile).Validate(schematest.Instance(t, string(DefaultYAML()))); err != nil {
		t.Error(err)
	}
}

// TestSchemaRefuses: what the schema can express it must refuse as Parse does.
func TestSchemaRefuses(t *testing.T) {
	s := schematest.Compile(t, schemaFile)
	for _, text := range []string{
		"suit: trixie", "suite: sid", "version: 2", "arch: i386", "engine: debootstrap", "guest: {vmid: 99}", "guest: {memory: lots}", "guest: {memroy: 1}",
		"files: [{path: etc/a}]", "files: [{path: /a, mode: '0888'}]", "files: [{path: /a, uid: 65536}]", "packages: {include: ['Vim']}",
		"units: {enable: [ssh]}", "output: {profile: tiny}", "apt: {sources: [{name: a}]}", "apt: {snapshot: yesterday}", "preload: [{archive: a}]",
	} {
		if s.Validate(schematest.Instance(t, text)) == nil {
			t.Errorf("the schema accepts %q", text)
		}
		if _, err := Parse("x", []byte(text)); err == nil {
			t.Errorf("Parse accepts %q", text)
		}
	}
}

// TestSchemaHasEveryKey compares the schema with the type, in both directions.
func TestSchemaHasEveryKey(t *testing.T) {
	data, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(data, &schema); err != nil {
		t.Fatal(err)
	}
	compareKeys(t, "", reflect.TypeFor[Recipe](), schema)
}

func compareKeys(t *testing.T, path string, typ reflect.Type, schema map[string]any) {
	t.Helper()
	if typ.Kind() == reflect.Slice {
		typ, schema = typ.Elem(), schema["items"].(map[string]any)
	}
	if typ.Kind() != reflect.Struct {
		return
	}
	props, _ := schema["properties"].(map[string]any)
	if schema["additionalProperties"] != false {
		t.Errorf("%s: the schema lets unknown keys pass", path)
	}
	names := []string{}
	for i := range typ.NumField() {
		f := typ.Field(i)
		name := f.Tag.Get("yaml")
		if name == "-" {
			continue
		}
		names = append(names, name)
		sub, ok := props[name].(map[string]any)
		if !ok {
			t.Errorf("%s%s: not in the schema", path, name)
			continue
		}
		compareKeys(t, path+name+".", f.Type, sub)
	}
	for name := range props {
		if !slices.Contains(names, name) {
			t.Errorf("%s%s: in the schema, not in the type", path, name)
		}
	}
}
