package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func places(name, text string) []string {
	var list []string
	for _, h := range find(name, []byte(text)) {
		list = append(list, fmt.Sprintf("%d:%d %s", h.line, h.column, h.found))
	}
	return list
}

func TestFind(t *testing.T) {
	for _, tt := range []struct {
		name, file, text string
		want             []string
	}{
		{"word", "a.go", "// the folder\n", []string{"1:8 folder"}},
		{"plural and capital", "a.md", "Folders", []string{"1:1 folders"}},
		{"part of another word", "a.md", "folderol, halfway, upontime, marshall", nil},
		{"identifier", "a.go", "func tempFolderName() {}", []string{"1:10 folder"}},
		{"exported identifier", "a.go", "type HTTPFolder int", []string{"1:10 folder"}},
		{"underscore and digits", "a.sh", "OLD_FOLDER2=x", []string{"1:5 folder"}},
		{"string", "a.go", `err := fmt.Errorf("no folder %s", x)`, []string{"1:23 folder"}},
		{"behind an escape", "a.go", `"x\nfolder"`, []string{"1:5 folder"}},
		{"YAML key", "a.yaml", "work_folder: x", []string{"1:6 folder"}},
		{"file name", "docs/folder.md", "", []string{"1:1 folder"}},
		{"directory name", "internal/driver/folder/x.go", "", []string{"1:1 folder"}},
		{"phrase over two comment lines", "a.go", "\t// the name is\n\t// no path", []string{"1:14 is no"}},
		{"phrase over two lines of prose", "a.md", "the name is\nno path", []string{"1:10 is no"}},
		{"not over a paragraph", "a.md", "the name is\n\nno path", nil},
		{"not over a full stop", "a.md", "that it is. No path", nil},
		{"there is no", "a.md", "if there is no path", nil},
		{"is no longer", "a.md", "it is no longer in use", nil},
		{"is no", "a.md", "8200 is no name", []string{"1:6 is no"}},
		{"is none", "a.md", "this is none", []string{"1:6 is none"}},
		{"with a verb of a format", "a.go", `"%q is no %s"`, []string{"1:5 is no"}},
		{"golden as a noun", "a.md", "Bake the golden, then restore a golden on it.", []string{"1:6 the golden", "1:31 a golden"}},
		{"golden image", "a.md", "Bake the golden image with golden and felhom-golden; golden.yaml", nil},
		{"goldens", "a.md", "two goldens", []string{"1:5 goldens"}},
		{"half", "a.md", "a half archive; half of it; half an hour; half-written", []string{"1:3 half", "1:43 half"}},
		{"stands", "a.md", "it stands in the file; stands for; a stand-in; that stands in for pct", []string{"1:4 stands"}},
		{"in the way", "a.md", "a file is in the way; in the way that tar does", []string{"1:11 in the way"}},
		{"take it back", "a.md", "take it back, takes back", []string{"1:1 take it back", "1:15 takes back"}},
		{"want found", "a.go", `errorf("want %s, found %s")`, []string{"1:9 want ... found"}},
		{"found want", "a_test.go", `t.Errorf("found %q, want %q")`, []string{"1:11 found ... want"}},
		{"want got", "a_test.go", `t.Errorf("%s: want %s, got %s")`, nil},
		{"found of a test", "a_test.go", `t.Errorf("state: found %+v", x)`, []string{"1:18 found %"}},
		{"found of a program", "a.go", `fmt.Sprintf("found %d guests", n)`, nil},
		{"not found", "a_test.go", `"file not found", errNotFound`, nil},
		{"at most are taken", "a.md", "at most 64 names are taken", []string{"1:1 at most names are taken"}},
		{"told is English, tells is not wanted", "a.md", "the guest is told; it tells who", []string{"1:23 tells"}},
		{"tell apart", "a.md", "to tell them apart", nil},
		{"Unicode before it", "a.md", "é folder", []string{"1:4 folder"}},
		{"not UTF-8", "a.md", "\xff folder", []string{"1:3 folder"}},
		{"comment marks of shell", "a.sh", "# it goes\n# on", []string{"1:6 goes on"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := places(tt.file, tt.text); !slices.Equal(got, tt.want) {
				t.Errorf("want %q, got %q", tt.want, got)
			}
		})
	}
}

// Each phrase of the table is seen in its own text: no row is dead.
func TestEachRuleFinds(t *testing.T) {
	for _, row := range table {
		for phrase := range strings.SplitSeq(row.phrases, ",") {
			var words []string
			for _, e := range elements(phrase) {
				word := strings.NewReplacer("...", "x", "*", "x", "%", "%d").Replace(e[0])
				words = append(words, word)
			}
			text := `"` + strings.Join(words, " ") + `"`
			if len(places("x_test.go", text)) == 0 {
				t.Errorf("%q: want a place in %s, got none", phrase, text)
			}
		}
	}
}

func TestCheck(t *testing.T) {
	root := fstest.MapFS{
		"clean/a.go":           {Data: []byte("// directory\n")},
		"dirty/a.go":           {Data: []byte("// folder\n// shall\n")},
		"dirty/testdata/x.txt": {Data: []byte("folder")},
		"testdata/x.txt":       {Data: []byte("folder")},
		"go.sum":               {Data: []byte("folder")},
	}
	var files []string
	for name := range root {
		files = append(files, name)
	}
	slices.Sort(files)
	const (
		first  = `dirty/a.go:1:4: "folder": write directory`
		second = `dirty/a.go:2:4: "shall": write must, should`
	)
	for _, tt := range []struct {
		name, allow, checked string
		o                    options
		want                 []string
	}{
		{"checked and clean", "", "clean", options{}, nil},
		{"not checked", "", "# a comment\n\nclean\n", options{}, nil},
		{"checked and not clean", "", "clean\ndirty\n", options{}, []string{first, second}},
		{"a prefix of a name is no parent", "", "dirt", options{}, []string{`tools/words/checked.txt: "dirt" names no file: remove it`}},
		{"twice, as after a merge", "", "clean\nclean", options{}, nil},
		{"everything", "", "", options{all: true}, []string{first, second}},
		{"the root", "", ".", options{}, []string{first, second}},
		{"a path", "", "clean", options{paths: []string{"dirty/a.go"}}, []string{first, second}},
		{"count", "", "clean", options{count: true}, []string{"     2 dirty", "     2 in all"}},
		{"allowed", "dirty/a.go | folder | | an external format", "dirty", options{}, []string{second}},
		{"allowed by pattern and text", "dirty/*.go | folder | // fold | x", "dirty", options{}, []string{second}},
		{"allowed below", "dirty | folder | | x\n# comment\ndirty | shall | | y", "dirty", options{}, nil},
		{
			"allowed in another text", "dirty | folder | other | x", "clean",
			options{},
			[]string{`tools/words/allow.txt:1: unused: no place in dirty needs "folder": remove the line`},
		},
		{
			"allowed where nothing is", "clean | folder | | x", "clean",
			options{},
			[]string{`tools/words/allow.txt:1: unused: no place in clean needs "folder": remove the line`},
		},
		{"allowed and not checked is used", "dirty | folder | | x", "clean", options{}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := check(root, files, tt.allow, tt.checked, tt.o)
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("want %q, got %q %v", tt.want, got, err)
			}
		})
	}
}

func TestAllowedLinesAreComplete(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"a | folder | x", "allow.txt:1: want PATH | WORDS | TEXT | REASON"},
		{"\na | folder | x | ", "allow.txt:2: the reason is missing"},
		{"a | folder |  |  ", "allow.txt:1: the reason is missing"},
		{" | folder | x | y", "allow.txt:1: want PATH"},
		{"[ | folder | x | y", "allow.txt:1: \"[\" is not a valid pattern"},
	} {
		if _, err := parseAllowed(tt.text); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: want %q, got %v", tt.text, tt.want, err)
		}
	}
}

func TestFilesOfTheProgram(t *testing.T) {
	if _, err := parseAllowed(allowText); err != nil {
		t.Error(err)
	}
	if len(parseChecked(checkedText)) == 0 {
		t.Error("checked.txt: want directories, got none")
	}
}

func TestFindSkipsBinaryFiles(t *testing.T) {
	if hits := find("program", []byte("anew\x00anew\n")); len(hits) != 0 {
		t.Errorf("%d places in a binary file, want 0", len(hits))
	}
	if hits := find("text", []byte(strings.Repeat("x", 1<<20)+" anew\n")); len(hits) != 1 {
		t.Errorf("%d places behind a very long word, want 1", len(hits))
	}
}
