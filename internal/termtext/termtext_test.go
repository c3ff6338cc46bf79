package termtext_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/felhom/felhom-golden/internal/termtext"
)

// The same bytes through each function.
func TestText(t *testing.T) {
	for _, tt := range []struct{ what, text, line, lines, name string }{
		{"nothing", "", "", "", ""},
		{"letters", "Köln 東京 e\u0301", "Köln 東京 e\u0301", "Köln 東京 e\u0301", "Köln 東京 e\u0301"},
		{"quotes and backslashes", `a "b" 'c' \n`, `a "b" 'c' \n`, `a "b" 'c' \n`, `a "b" 'c' \n`},
		{"escape sequence", "a\x1b[2Jb", `a\x1b[2Jb`, `a\x1b[2Jb`, `a\x1b[2Jb`},
		{"controls", "a\x00\x07\x08\x7fb", `a\x00\a\b\x7fb`, `a\x00\a\b\x7fb`, `a\x00\a\b\x7fb`},
		{"C1 controls", "a\u009b31mb", `a\u009b31mb`, `a\u009b31mb`, `a\u009b31mb`},
		{"a byte that is not UTF-8", "a\x9b31m\xff", `a\x9b31m\xff`, `a\x9b31m\xff`, `a\x9b31m\xff`},
		{"a surrogate and an overlong form", "\xed\xa0\x80\xc0\x80", `\xed\xa0\x80\xc0\x80`, `\xed\xa0\x80\xc0\x80`, `\xed\xa0\x80\xc0\x80`},
		{"a cut character", "a\xe6\x9d", `a\xe6\x9d`, `a\xe6\x9d`, `a\xe6\x9d`},
		{"the replacement character itself", "a\ufffdb", "a\ufffdb", "a\ufffdb", "a\ufffdb"},
		{"direction of text", "a\u202eb\u2066c\u200f", `a\u202eb\u2066c\u200f`, `a\u202eb\u2066c\u200f`, `a\u202eb\u2066c\u200f`},
		{"invisible", "a\u200bb\ufeffc\u00add", `a\u200bb\ufeffc\u00add`, `a\u200bb\ufeffc\u00add`, `a\u200bb\ufeffc\u00add`},
		{"tags beyond 16 bits", "a\U000e0041", `a\U000e0041`, `a\U000e0041`, `a\U000e0041`},
		{"private and unassigned", "\ue000\u0378", `\ue000\u0378`, `\ue000\u0378`, `\ue000\u0378`},
		{"spaces", " a  b ", "a b", " a  b ", " a  b "},
		{"other spaces", "a\u00a0b\u3000c\u2003d", "a b c d", `a\u00a0b\u3000c\u2003d`, `a\u00a0b\u3000c\u2003d`},
		{"tab", "a\tb", "a b", "a\tb", `a\tb`},
		{"line breaks", "a\nb\r\nc\n", "a b c", "a\nb\nc\n", `a\nb\r\nc\n`},
		{"carriage return", "10%\r20%", "10% 20%", `10%\r20%`, `10%\r20%`},
		{"line separators", "a\u2028b\u2029c\u0085d\vd\fe", "a b c d d e", `a\u2028b\u2029c\u0085d\vd\fe`, `a\u2028b\u2029c\u0085d\vd\fe`},
	} {
		t.Run(tt.what, func(t *testing.T) {
			for _, c := range []struct{ function, got, want string }{
				{"Line", termtext.Line(tt.text, 0), tt.line},
				{"Lines", termtext.Lines(tt.text), tt.lines},
				{"Name", termtext.Name(tt.text), tt.name},
			} {
				if c.got != c.want {
					t.Errorf("%s: want %q, got %q", c.function, c.want, c.got)
				}
			}
		})
	}
}

// A name and %q of package fmt agree on every character, so that a message may use either.
func TestNameIsQuoteWithoutQuotes(t *testing.T) {
	for r := rune(0); r <= 0xe0200; r++ {
		if r == 0x20000 {
			r = 0xe0000 // in between is nothing but letters
		}
		if r == '"' || r == '\\' || r >= 0xd800 && r < 0xe000 {
			continue
		}
		quoted := strconv.Quote(string(r))
		if got := termtext.Name(string(r)); got != quoted[1:len(quoted)-1] {
			t.Fatalf("%U: want %s, got %s", r, quoted, got)
		}
	}
}

func TestLineIsBounded(t *testing.T) {
	for _, tt := range []struct {
		text  string
		limit int
		want  string
	}{
		{"12345", 5, "12345"},
		{"123456", 5, "1234…"},
		{"ööööö", 5, "ööööö"},
		{"öööööö", 5, "öööö…"},
		{"12345  \n", 5, "12345"},
		{"1234 6", 5, "1234…"},
		{"123 567", 5, "123…"},
		{"a\x1bb", 6, `a\x1bb`},
		{"a\x1bbc", 6, `a\x1b…`},
		{"12\x1b", 5, "12…"}, // no part of an escape
		{"\x1b\x1b", 5, `\x1b…`},
		{"\x1b", 2, "…"},
		{"ab", 1, "…"},
		{strings.Repeat("x", 1<<20), 3, "xx…"},
		{strings.Repeat("\n", 1<<20) + "x", 3, "x"},
	} {
		if got := termtext.Line(tt.text, tt.limit); got != tt.want || utf8.RuneCountInString(got) > tt.limit {
			t.Errorf("%.20q to %d: want %q, got %q", tt.text, tt.limit, tt.want, got)
		}
	}
}

func TestCutAndTail(t *testing.T) {
	for _, tt := range []struct {
		text      string
		limit     int
		cut, tail string
	}{
		{"", 0, "", ""},
		{"12345", 5, "12345", "12345"},
		{"123456", 5, "12…", "…56"},
		{"ööööö", 8, "öö…", "…öö"},
		{"123456", 3, "…", "…"},
		{"123456", 0, "…", "…"},
		{"\x80\x80\x80\x80\x80", 4, "…", "…"},
	} {
		if cut, tail := termtext.Cut(tt.text, tt.limit), termtext.Tail(tt.text, tt.limit); cut != tt.cut || tail != tt.tail {
			t.Errorf("%q to %d bytes: want %q and %q, got %q and %q", tt.text, tt.limit, tt.cut, tt.tail, cut, tail)
		}
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{"", "a\x1b[31mb\n", "\x1b]0;\x07", "\xff\xfe\r\n", "\u202e \u2028", "\U000e0041"} {
		f.Add(s, 10)
	}
	f.Fuzz(func(t *testing.T, text string, limit int) {
		limit = limit&0xff + 1
		unsafe := func(r rune) bool { return !termtext.IsSafe(r) }
		for _, got := range []string{termtext.Name(text), termtext.Line(text, 0), termtext.Line(text, limit)} {
			if !utf8.ValidString(got) || strings.ContainsFunc(got, unsafe) {
				t.Errorf("%q gives %q", text, got)
			}
		}
		if got := termtext.Line(text, limit); utf8.RuneCountInString(got) > limit {
			t.Errorf("%q to %d characters gives %q", text, limit, got)
		}
		if got := strings.NewReplacer("\n", "", "\t", "").Replace(termtext.Lines(text)); strings.ContainsFunc(got, unsafe) {
			t.Errorf("%q gives %q", text, got)
		}
		data, err := json.MarshalIndent(map[string]string{text: text}, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		var before, after map[string]string
		shown := termtext.JSON(data)
		if err := json.Unmarshal(data, &before); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(shown, &after); err != nil || fmt.Sprint(before) != fmt.Sprint(after) {
			t.Errorf("%s is not %s: %v", shown, data, err)
		}
		if strings.ContainsFunc(strings.ReplaceAll(string(shown), "\n", ""), unsafe) {
			t.Errorf("JSON of %q gives %q", text, shown)
		}
	})
}

func ExampleLine() {
	fmt.Println(termtext.Line("denied:\n\x1b[2J  ask   the owner", 0))
	fmt.Println(termtext.Line("a long answer of a registry", 10))
	// Output:
	// denied: \x1b[2J ask the owner
	// a long an…
}

func ExampleName() {
	fmt.Println(termtext.Name("etc/passwd\n\u202e"))
	// Output: etc/passwd\n\u202e
}
