package seal

import (
	"slices"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/golden/internal/rules"
	"github.com/felhom/felhom-golden/internal/fuzztest"
)

// FuzzAccounts: after a seal no account or group has a password, all other fields are as
// they were, and once more changes nothing.
func FuzzAccounts(f *testing.F) {
	for _, s := range []string{
		"root:$y$j9T$abc$def:20000:0:99999:7:::\ndaemon:*:20000:0:99999:7:::\n", "a:!$6$x$y:1:::::\nb:!ab01FAX.bQRSU:1::::::\nc:!!:::::::\nd::1::::::\n", "a:!!ab01FAX.bQRSU:999999999999999999999:\n", "a:_J9..rasmBYk8r9AiWNc:99999:0", "+\n\n:\n::\na", "root:x:0:\nadm:!:4:syslog\n", "a:*x:1\r\n", "\x00:\xff:-1\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, file := range accountFiles(20000) {
			got := editedLines(text, file.edit)
			if again := editedLines(got, file.edit); again != got {
				t.Errorf("%s: %q becomes %q, then %q", file.name, text, got, again)
			}
			before, after := strings.Split(text, "\n"), strings.Split(got, "\n")
			if len(before) != len(after) {
				t.Fatalf("%s: %q becomes %q", file.name, text, got)
			}
			for i := range after {
				was, is := strings.Split(before[i], ":"), strings.Split(after[i], ":")
				if len(was) != len(is) || was[0] != is[0] || len(is) > 3 && !slices.Equal(was[3:], is[3:]) || file.name != "etc/shadow" && len(is) > 2 && was[2] != is[2] {
					t.Errorf("%s: %q becomes %q", file.name, before[i], after[i])
				}
				if len(is) > 1 && !isWithoutPassword(file.name, is[1]) {
					t.Errorf("%s: %q becomes %q, which has a password", file.name, before[i], after[i])
				}
			}
		}
	})
}

func isWithoutPassword(file, field string) bool {
	switch file {
	case "etc/passwd":
		return field == "x"
	case "etc/gshadow":
		return field == "" || rules.IsLocked(field)
	}
	return rules.IsLocked(field)
}

func TestAccountsTakeTimeThatGrowsWithTheirLength(t *testing.T) {
	fuzztest.Long(t, "", func(text string) {
		for _, file := range accountFiles(20000) {
			editedLines(text, file.edit)
		}
	}, "a:!\n", ":", "\n", "!", "a:x:1:")
}
