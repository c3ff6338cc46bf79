package debroot

import (
	"encoding/json"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// FuzzChoice: of a choice that is read all names can be words of a script and parts of a path,
// and it is written so that it is read as the same. Of one that is damaged nothing is used.
func FuzzChoice(f *testing.F) {
	digest := strings.Repeat("0a", 32)
	written, err := json.Marshal(choice{
		Essential: selection{Packages: []pkg{{Name: "a", Version: "1", File: "a_1_all.deb", SumType: "SHA256", Sum: digest}}, Steps: []step{{unpack, []string{"a"}}}},
		Rest:      selection{Packages: []pkg{{Name: "b", Version: "1", Sum: digest}}, Steps: []step{{unpack, []string{"b"}}, {configure, []string{"b"}}}, Auto: []string{"b"}},
	})
	if err != nil {
		f.Fatal(err)
	}
	good := string(written)
	for _, s := range []string{
		good, strings.Replace(good, "a_1_all.deb", "../../a.deb", 1), strings.Replace(good, "a_1_all.deb", "/a.deb", 1), strings.Replace(good, `"a"`, `"a;b"`, 1), strings.Replace(good, `["b"]`, `["b","../b"]`, 1),
		strings.Replace(good, digest, "../x", 1), strings.Replace(good, digest, strings.ToUpper(digest), 1), good[:len(good)-1], "null", "", "{}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, ok := parseChoice(data)
		if !ok {
			if !reflect.DeepEqual(c, choice{}) {
				t.Errorf("%q is refused, and is %+v", data, c)
			}
			return
		}
		for _, s := range []selection{c.Essential, c.Rest} {
			words := strings.Join(s.Auto, "")
			for _, st := range s.Steps {
				words += strings.Join(st.Names, "")
			}
			if strings.Trim(words, "abcdefghijklmnopqrstuvwxyz0123456789+.-") != "" || len(s.Packages) == 0 {
				t.Errorf("%q has the names %q", data, words)
			}
			for _, p := range s.Packages {
				if !filepath.IsLocal(p.name()) || filepath.Base(p.name()) != p.name() || p.File != "" && (!filepath.IsLocal(p.File) || filepath.Base(p.File) != p.File) {
					t.Errorf("%q has the package %+v", data, p)
				}
			}
		}
		written, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		again, ok := parseChoice(written)
		twice, err := json.Marshal(again)
		if !ok || err != nil || string(twice) != string(written) {
			t.Errorf("%s is written and read as %s, %v, %v", written, twice, ok, err)
		}
	})
}
