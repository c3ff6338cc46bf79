package contract

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/felhom/felhom-golden/internal/jsondoc"
	"github.com/felhom/felhom-golden/internal/strictyaml/schematest"
)

const schemaFile = "../../docs/bootstrap.schema.json"

// beyondSchema are the samples that only Parse can refuse, by what they are
// about. Every other sample that is JSON must be refused by the schema too.
func beyondSchema() []string {
	return []string{
		"depth-bomb-objects", // what is under an ignored key
		"digest-clash",       // one value against another
		"duplicate-key",      // a schema sees one value of each key
		"duplicate-key-escaped",
		"duplicate-key-in-environment",
		"duplicate-key-secret",
		"endpoint-bad-ipv4", // what makes an address
		"endpoint-port-range",
		"endpoint-unspecified",
		"guest-id-fraction", // 8200.0 is an integer to a schema
		"hub-url-broken",    // what makes a URL
		"image-bad-port",
		"image-docker-library", // which names Docker changes
		"image-long",           // the length of two parts together
		"registry-host-index",
		"size-too-large",   // the length of the file
		"version-fraction", // 1.0 equals 1 to a schema
	}
}

func TestSchemaAgainstSamples(t *testing.T) {
	schema := schematest.Compile(t, schemaFile)
	for _, s := range samples(t, "valid") {
		t.Run("valid/"+s.name, func(t *testing.T) {
			if err := schemaError(t, schema, s.data); err != nil {
				t.Error(err)
			}
		})
	}
	refused := 0
	for _, s := range samples(t, "invalid") {
		if !json.Valid(s.data) {
			continue
		}
		t.Run("invalid/"+s.name, func(t *testing.T) {
			err := schemaError(t, schema, s.data)
			listed := slices.Contains(beyondSchema(), s.name)
			switch {
			case err == nil && !listed:
				t.Error("the schema accepts it; widen the schema, or list it with its reason")
			case err != nil && listed:
				t.Errorf("the schema refuses it, so it is listed for nothing: %v", err)
			case err != nil:
				refused++
			}
		})
	}
	if refused < 60 {
		t.Errorf("the schema refused only %d samples", refused)
	}
}

func schemaError(t *testing.T, schema *jsonschema.Schema, data []byte) error {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return schema.Validate(doc)
}

// The schema, the keys that Parse knows and the struct that Encode writes name
// the same keys, in the same order, and the schema describes each of them.
func TestSchemaKeys(t *testing.T) {
	data, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	doc := jsondoc.Read(data, jsondoc.Format{})
	if err := doc.Findings().Err(); err != nil {
		t.Fatal(err)
	}
	properties := at(t, doc.Value(), "properties")
	for _, tt := range []struct {
		name   string
		schema *jsondoc.Value
		parsed []string
		typ    reflect.Type
	}{
		{"document", properties, bootstrapKeys(), reflect.TypeFor[bootstrapFile]()},
		{"registry", at(t, properties, "registry", "properties"), registryKeys(), reflect.TypeFor[registryFile]()},
		{"container", at(t, properties, "container", "properties"), containerKeys(), reflect.TypeFor[containerFile]()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var inSchema, inStruct []string
			for _, m := range tt.schema.Members {
				inSchema = append(inSchema, m.Key.Text)
				if at(t, m.Value, "description").Text == "" {
					t.Errorf("%s has no description", m.Key.Text)
				}
			}
			for i := range tt.typ.NumField() {
				key, _, _ := strings.Cut(tt.typ.Field(i).Tag.Get("json"), ",")
				inStruct = append(inStruct, key)
			}
			if diff := cmp.Diff(inStruct, inSchema); diff != "" {
				t.Errorf("the schema differs from the struct (-struct +schema):\n%s", diff)
			}
			if diff := cmp.Diff(inStruct, tt.parsed); diff != "" {
				t.Errorf("Parse differs from the struct (-struct +Parse):\n%s", diff)
			}
		})
	}
}

// at returns the node under keys.
func at(t *testing.T, n *jsondoc.Value, keys ...string) *jsondoc.Value {
	t.Helper()
	for _, key := range keys {
		i := slices.IndexFunc(n.Members, func(m jsondoc.Member) bool { return m.Key.Text == key })
		if i < 0 {
			t.Fatalf("the schema has no %q", key)
		}
		n = n.Members[i].Value
	}
	return n
}
