package strictyaml_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/internal/finding"
	"github.com/felhom/felhom-golden/internal/strictyaml"
)

type guest struct {
	Memory int    `yaml:"memory"`
	Name   string `yaml:"name"`
}

type config struct {
	Suite  string            `yaml:"suite"`
	Guest  guest             `yaml:"guest"`
	List   []string          `yaml:"list"`
	Env    map[string]string `yaml:"env"`
	Free   map[string]any    `yaml:"free"`
	OnBoot bool              `yaml:"onboot"`
	Guests []guest           `yaml:"guests"`
	Inner  string            `yaml:"-"`
}

func read(in string, opts strictyaml.Options) (config, error) {
	c := config{Suite: "trixie", OnBoot: true}
	doc := strictyaml.Read("f", []byte(in), opts)
	doc.Root().Decode(&c)
	return c, doc.Err()
}

func TestDecode(t *testing.T) {
	got, err := read("guest: {memory: 7, name: '8'}\nlist: [a, 2026-01-02]\nenv: {1: b}\nfree: {x: [1, {y: null}], z: 1.5}\nonboot: false\nsuite:\nguests: [{name: a}]\n", strictyaml.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := config{
		Suite: "trixie", Guest: guest{7, "8"}, List: []string{"a", "2026-01-02"}, Env: map[string]string{"1": "b"},
		Free: map[string]any{"x": []any{1, map[string]any{"y": nil}}, "z": 1.5}, Guests: []guest{{Name: "a"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestFindings has each mistake once, with the whole text that it gives.
func TestFindings(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"syntax", "suite: a\nlist: [\n", "f:2:1: error: not YAML: did not find expected node content"},
		{"bytes that are not text", "\x00", "f:1:1: error: not YAML: control characters are not allowed"},
		{"list for document", "- a\n", "f:1:1: error: want keys with values, got a list"},
		{"text for document", "a\n", `f:1:1: error: want keys with values, got "a"`},
		{"second document", "suite: a\n---\nsuite: b\n", "f:2:1: error: a second document follows: want one"},
		{"broken second document", "suite: a\n---\nlist: [\n", "f:3:1: error: not YAML: did not find expected node content"},
		{"near key", "guest: {memroy: 1}\n", `f:1:9: error: guest.memroy: unknown key; did you mean "memory"?`},
		{"field that is not read", "Inner: a\n", "f:1:1: error: Inner: unknown key; want one of env, free, guest, guests, list, onboot, suite"},
		{"key twice", "suite: a\nsuite: b\n", "f:2:1: error: suite: the key is given twice; the first is in line 1"},
		{"key twice, other writing", "suite: a\n\"su\\x69te\": b\n", "f:2:1: error: suite: the key is given twice; the first is in line 1"},
		{"free key twice", "free: {a: {b: 1, b: 2}}\n", "f:1:18: error: free.a.b: the key is given twice; the first is in line 1"},
		{"merge key", "guest:\n  <<: {memory: 1}\n", `f:2:3: error: guest: want a plain key, got "<<"`},
		{"list as key", "env: {[a]: b}\n", "f:1:7: error: env: want a plain key, got a list"},
		{"text for number", "guest: {memory: lots}\n", `f:1:17: error: guest.memory: want a whole number, got "lots"`},
		{"number in quotes", "guest: {memory: '1'}\n", `f:1:17: error: guest.memory: want a whole number, got "1"`},
		{"fraction for number", "guest: {memory: 1.5}\n", "f:1:17: error: guest.memory: want a whole number, got 1.5"},
		{"huge number", "guest: {memory: 99999999999999999999}\n", "f:1:17: error: guest.memory: want a whole number, got 99999999999999999999"},
		{"number for text", "suite: 12\n", "f:1:8: error: suite: want text, got 12: write it in quotes"},
		{"bool for text", "suite: true\n", "f:1:8: error: suite: want text, got true: write it in quotes"},
		{"list for text", "suite: [a]\n", "f:1:8: error: suite: want text, got a list"},
		{"text for bool", "onboot: yes\n", `f:1:9: error: onboot: want true or false, got "yes"`},
		{"text for list", "list: a\n", `f:1:7: error: list: want a list, got "a"`},
		{"mapping for list", "list: {a: b}\n", "f:1:7: error: list: want a list, got keys with values"},
		{"empty item", "list: [a, ]\nguests: [~]\n", "f:2:10: error: guests[0]: the item is empty"},
		{"number in list", "list: [a, 1]\n", "f:1:11: error: list[1]: want text, got 1: write it in quotes"},
		{"list for mapping", "env: []\n", "f:1:6: error: env: want keys with values, got an empty list"},
		{"null in a map", "env: {a: [b]}\n", "f:1:10: error: env.a: want text, got a list"},
		{"alias", "suite: &a b\nlist: [*a]\n", "f:1:8: error: suite: anchors and aliases are not read here; write the value out\nf:2:8: error: list[0]: anchors and aliases are not read here; write the value out"},
		{"anchor of the document", "&a {suite: b}\n", "f:1:1: error: anchors and aliases are not read here; write the value out"},
		{"tag that does not hold", "free: {a: !!int b}\n", "f:1:11: error: free.a: not a value of the type that its tag names"},
		{"control characters", "\"\\e[2J\\u202e\": 1\n", `f:1:1: error: \x1b[2J\u202e: unknown key; want one of env, free, guest, guests, list, onboot, suite`},
		{"control characters in a value", "onboot: \"\\e[2J\"\n", `f:1:9: error: onboot: want true or false, got "\x1b[2J"`},
		{"number with odd text", "suite: !!int \"\\e[2J\"\n", `f:1:8: error: suite: want text, got "\x1b[2J": write it in quotes`},
		{"long value", "onboot: " + strings.Repeat("a", 100) + "\n", `f:1:9: error: onboot: want true or false, got "` + strings.Repeat("a", 60) + `" and more`},
		{"all in the order of the lines", "zzzzzz: 1\nguest: {name: 1, memory: x}\nlist: 1\n", "f:1:1: error: zzzzzz: unknown key; want one of env, free, guest, guests, list, onboot, suite\nf:2:15: error: guest.name: want text, got 1: write it in quotes\nf:2:26: error: guest.memory: want a whole number, got \"x\"\nf:3:7: error: list: want a list, got 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := read(tt.in, strictyaml.Options{})
			if err == nil {
				t.Fatal("accepted")
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			for _, word := range []string{"int ", "string", "struct", "!!", "main."} {
				if strings.Contains(strings.ReplaceAll(err.Error(), "not YAML", ""), word) {
					t.Errorf("a word of the program is in %q", err)
				}
			}
		})
	}
}

func TestEmpty(t *testing.T) {
	for _, in := range []string{"", "# nothing\n", "~\n", "---\n"} {
		doc := strictyaml.Read("f", []byte(in), strictyaml.Options{})
		if !doc.Empty() {
			t.Errorf("%q is not empty", in)
		}
		doc.Root().Fields(map[string]strictyaml.Field{"a": {Required: true}})
		if err := doc.Err(); err == nil || err.Error() != "f:1:1: error: a: is missing" {
			t.Errorf("%q: %v", in, err)
		}
	}
}

// A document that could not be read is not blamed for missing keys as well.
func TestMissingKeysOfBrokenDocument(t *testing.T) {
	doc := strictyaml.Read("f", []byte("a: [\n"), strictyaml.Options{})
	doc.Root().Fields(map[string]strictyaml.Field{"b": {Required: true}})
	if list := doc.Findings().List; len(list) != 1 {
		t.Errorf("want one finding, got %v", doc.Err())
	}
}

func TestLimits(t *testing.T) {
	if _, err := read("suite: abcdef\n", strictyaml.Options{MaxBytes: 13}); err == nil || !strings.Contains(err.Error(), "f:1:1: error: the file has 14 bytes, which exceeds the limit of 13") {
		t.Error(err)
	}
	// Ten levels of ten aliases are 10 billion values.
	in := "free:\n  a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n"
	for i := 1; i < 10; i++ {
		in += fmt.Sprintf("  a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	if _, err := read(in, strictyaml.Options{Aliases: true}); err == nil || !strings.Contains(err.Error(), "exceeds the limit of 100000 values") {
		t.Error(err)
	}
	// The path of each level is as long as the level is deep.
	for _, in := range []string{"free: {a: &a [*a]}\n", "free: {a: &a [*a, *a]}\n", "free: &a {a: *a}\n", "free: {a: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "}\n"} {
		_, err := read(in, strictyaml.Options{Aliases: true})
		if err == nil || !strings.Contains(err.Error(), "the document exceeds the limit of 100 levels") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.40s: %.300v", in, err)
		}
	}
	var many strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&many, "zzzzzz%d: 1\n", i)
	}
	_, err := read(many.String(), strictyaml.Options{})
	if lines := strings.Split(fmt.Sprint(err), "\n"); len(lines) != 201 || lines[200] != "f:201:1: error: 800 more findings from here on" {
		t.Errorf("%d lines, the last is %s", len(lines), lines[len(lines)-1])
	}
}

func TestAliases(t *testing.T) {
	c, err := read("list: &a [x, y]\nfree: {b: *a}\nguests: [&g {memory: 1}, *g]\n", strictyaml.Options{Aliases: true})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{"x", "y"}, c.Free["b"]); diff != "" || len(c.Guests) != 2 || c.Guests[1].Memory != 1 {
		t.Errorf("%s%+v", diff, c)
	}
}

// TestHiddenValues: no byte of a value is in a message.
func TestHiddenValues(t *testing.T) {
	for _, in := range []string{
		"onboot: s3cret\n", "guest: {memory: 's3cret'}\n", "guest: {memory: !s3cret x}\n", "list: s3cret\n", "suite: 53.3\n", "env: {a: &s3cret x}\n", "env: {a: *s3cret}\n",
		"suite: \"s3cret\\q\"\n", "suite: %s3cret\n", "suite: @s3cret\n", "s3cret\n", "suite: a: s3cret\n", "env: {a: [s3cret]}\n", "env: {<<: s3cret}\n", "free: {a: !!int s3cret}\n", "%TAG s3cret\n",
	} {
		_, err := read(in, strictyaml.Options{HideValues: true})
		if err == nil {
			t.Errorf("%q is accepted", in)
		} else if strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "53.3") {
			t.Errorf("%q: %v", in, err)
		}
	}
}

// A password that begins with "*" and is not in quotes is read as an alias.
func TestAnAliasThatIsAPassword(t *testing.T) {
	_, err := read("suite: *s3cret\n", strictyaml.Options{})
	if err == nil || strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), "in quotes") {
		t.Errorf("%v", err)
	}
}

func TestOwnFindings(t *testing.T) {
	doc := strictyaml.Read("f", []byte("guest:\n  memory: 1\n  name: 3\n"), strictyaml.Options{})
	var c config
	doc.Root().Decode(&c)
	doc.Add("guest.memory", "want at least 16")
	doc.Add("guest.memory", "a second finding at one place")
	doc.Add("guest.name", "a finding at what could not be read")
	doc.Add("guest.swap.size", "is missing")
	doc.Warn("suite", "is old")
	want := []finding.Finding{
		{Severity: finding.Warning, Path: "suite", Line: 1, Column: 1, Message: "is old"},
		{Severity: finding.Error, Path: "guest.swap.size", Line: 2, Column: 3, Message: "is missing"},
		{Severity: finding.Error, Path: "guest.memory", Line: 2, Column: 11, Message: "want at least 16"},
		{Severity: finding.Error, Path: "guest.name", Line: 3, Column: 9, Message: "want text, got 3: write it in quotes"},
	}
	if diff := cmp.Diff(want, doc.Findings().List); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	warned := strictyaml.Read("f", []byte("a: b\n"), strictyaml.Options{})
	warned.Warn("a", "is old")
	if err := warned.Err(); err != nil {
		t.Errorf("a warning is an error: %v", err)
	}
}

func TestScalar(t *testing.T) {
	doc, v := strictyaml.Scalar("memory", "lots")
	if _, ok := v.IntIn(1, 2); ok || doc.Err() == nil || doc.Findings().List[0].Message != `want a whole number from 1 to 2, got "lots"` {
		t.Error(doc.Err())
	}
	if _, v := strictyaml.Scalar("memory", "7"); true {
		if n, ok := v.Int(); !ok || n != 7 {
			t.Error(n, ok)
		}
	}
	if _, v := strictyaml.Scalar("start", "true"); true {
		if b, ok := v.Bool(); !ok || !b {
			t.Error(b, ok)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, seed := range []string{"", "suite: a\n", "a: &a [*a]\n", "\x00", "{", "<<: a", "? [a]\n: b\n", "--- 1\n--- 2\n", "guest: {memory: 1, memory: 2}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		for _, aliases := range []bool{false, true} {
			_, err := read(in, strictyaml.Options{Aliases: aliases})
			list, ok := err.(*strictyaml.Findings) //nolint:errorlint // Err promises this very type
			if err != nil && (!ok || len(list.List) == 0) {
				t.Errorf("error %v without findings", err)
			}
			lines := strings.Count(in, "\n") + strings.Count(in, "\r") + 2
			for i := 0; err != nil && i < len(list.List); i++ {
				if one := list.List[i]; one.Line < 1 || one.Line > lines || one.Column < 1 {
					t.Errorf("finding at %d:%d of %d lines", one.Line, one.Column, lines)
				}
			}
		}
	})
}

func Example() {
	doc := strictyaml.Read("app.yaml", []byte("naem: web\nport: high\n"), strictyaml.Options{MaxBytes: 64 << 10})
	var c struct {
		Name string `yaml:"name"`
		Port int    `yaml:"port"`
	}
	doc.Root().Decode(&c)
	fmt.Println(doc.Err())
	// Output:
	// app.yaml:1:1: error: naem: unknown key; did you mean "name"?
	// app.yaml:2:7: error: port: want a whole number, got "high"
}
