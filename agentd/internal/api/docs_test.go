package api_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver"
)

const openAPIFile = "../../../docs/openapi.yaml"

// openAPI returns the document as JSON values.
func openAPI(t *testing.T) map[string]any {
	t.Helper()
	text, err := os.ReadFile(openAPIFile)
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	plain, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(plain))
	if err != nil {
		t.Fatal(err)
	}
	return value.(map[string]any)
}

func schemaOf(t *testing.T, doc map[string]any, name string) *jsonschema.Schema {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.AssertFormat()
	if err := compiler.AddResource("openapi.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("openapi.json#/components/schemas/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func assertValid(t *testing.T, schema *jsonschema.Schema, text string) {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if err := schema.Validate(value); err != nil {
		t.Errorf("%v: %s", err, text)
	}
}

func TestOpenAPIIsTheRouteTable(t *testing.T) {
	var documented, served []string
	for path, item := range openAPI(t)["paths"].(map[string]any) {
		for method := range item.(map[string]any) {
			documented = append(documented, strings.ToUpper(method)+" "+path)
		}
	}
	for _, r := range newBed(t).Routes() {
		served = append(served, r.Method+" "+r.Path)
	}
	slices.Sort(documented)
	slices.Sort(served)
	if diff := cmp.Diff(served, documented); diff != "" {
		t.Errorf("served -, documented +:\n%s", diff)
	}
}

// Every example, in OpenAPI and in the page, is one that our own types read,
// and every key of the types is documented.
func TestExamplesAreOfTheirSchema(t *testing.T) {
	doc := openAPI(t)
	seen := map[string]int{}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if example, ok := v["example"]; ok {
				name := strings.TrimPrefix(v["schema"].(map[string]any)["$ref"].(string), "#/components/schemas/")
				seen[name]++
				text, err := json.Marshal(example)
				if err != nil {
					t.Fatal(err)
				}
				assertValid(t, schemaOf(t, doc, name), string(text))
				assertReadable(t, name, text)
			}
			for _, child := range v {
				walk(child)
			}
		case []any:
			for _, child := range v {
				walk(child)
			}
		}
	}
	walk(doc)
	for _, name := range []string{"Guest", "Storage", "Report", "Problem"} {
		if seen[name] == 0 {
			t.Errorf("openapi.yaml has no example of %s", name)
		}
	}
	page, err := os.ReadFile("../../../docs/local-api.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllSubmatch(page, -1)
	if len(blocks) != 3 {
		t.Fatalf("local-api.md has %d examples, want 3", len(blocks))
	}
	for i, name := range []string{"Guest", "Storage", "Report"} {
		assertValid(t, schemaOf(t, doc, name), string(blocks[i][1]))
		assertReadable(t, name, blocks[i][1])
	}
}

func assertReadable(t *testing.T, name string, text []byte) {
	t.Helper()
	into := map[string]any{"Guest": &contract.Guest{}, "Storage": &contract.Storage{}, "Report": &contract.Report{}, "Problem": &contract.Problem{}}[name]
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		t.Errorf("example of %s: %v", name, err)
	}
	if name == "Report" {
		if _, err := contract.ParseReport(text); err != nil {
			t.Errorf("example of %s: %v", name, err)
		}
	}
}

func TestAnswersAreOfTheirSchema(t *testing.T) {
	doc := openAPI(t)
	b := newBed(t, 8200)
	b.storage.Set(8200, driver.Usage{Path: "/", Size: 10, Used: 1, Available: 9})
	for _, c := range []struct{ path, schema string }{{"/guest", "Guest"}, {"/storage", "Storage"}, {"/guests/8200/storage", "Storage"}, {"/guests/8201/storage", "Problem"}, {"/none", "Problem"}} {
		got := b.ask(http.MethodGet, c.path, b.tokens[8200].Reveal(), "")
		assertValid(t, schemaOf(t, doc, c.schema), got.body)
	}
}
