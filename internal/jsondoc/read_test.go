package jsondoc

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// addSamples adds the samples of bootstrap.json.
func addSamples(f *testing.F) {
	f.Helper()
	files, err := filepath.Glob("../../testdata/contract/*/*.json")
	if err != nil || len(files) < 100 {
		f.Fatalf("only %d samples (error %v)", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		if len(data) < 4<<10 { // large seeds slow the mutator down
			f.Add(data)
		}
	}
}

// FuzzReadJSON: without a finding the text is JSON, and JSON without the traps
// that we refuse on purpose gives no finding.
func FuzzReadJSON(f *testing.F) {
	addSamples(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		d := Read(data, Format{})
		root, clean := d.root, len(d.found) == 0
		if clean && (root == nil || root.cut) {
			t.Fatal("an incomplete document has no finding")
		}
		if clean && !json.Valid(data) {
			t.Fatalf("no finding in what is not JSON: %q", data)
		}
		for _, f := range d.found {
			if f.Rule == RuleEncoding || f.Rule == RuleDepth {
				return
			}
		}
		if !clean && json.Valid(data) {
			t.Fatalf("%q is JSON, but: %v", data, d.found)
		}
		if clean {
			compareTree(t, root, decoded(t, data))
		}
	})
}

func decoded(t *testing.T, data []byte) any {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// compareTree compares our tree with encoding/json's value.
func compareTree(t *testing.T, n *Value, want any) {
	t.Helper()
	switch want := want.(type) {
	case map[string]any:
		last := map[string]*Value{} // encoding/json keeps the last of equal keys
		for _, m := range n.Members {
			last[m.Key.Text] = m.Value
		}
		if n.Kind != KindObject || len(last) != len(want) {
			t.Fatalf("got %v with %d keys, want an object with %d", n.Kind, len(last), len(want))
		}
		for key, value := range want {
			if last[key] == nil {
				t.Fatalf("key %q is not in the tree", key)
			}
			compareTree(t, last[key], value)
		}
	case []any:
		if n.Kind != KindArray || len(n.Items) != len(want) {
			t.Fatalf("got %v with %d items, want %d", n.Kind, len(n.Items), len(want))
		}
		for i := range want {
			compareTree(t, n.Items[i], want[i])
		}
	case string:
		if n.Kind != KindString || n.Text != want {
			t.Fatalf("got %v %q, want %q", n.Kind, n.Text, want)
		}
	case json.Number:
		if n.Kind != KindNumber || n.Text != want.String() {
			t.Fatalf("got %v %q, want %v", n.Kind, n.Text, want)
		}
	case bool:
		if n.Kind != KindBool || n.Text != strconv.FormatBool(want) {
			t.Fatalf("got %v %q, want %v", n.Kind, n.Text, want)
		}
	case nil:
		if n.Kind != KindNull {
			t.Fatalf("got %v, want null", n.Kind)
		}
	}
}
