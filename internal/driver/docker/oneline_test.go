package docker

import (
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
)

func TestOneLine(t *testing.T) {
	for in, want := range map[string]string{
		"":                          "",
		"a\r\n\tb  c\n":             "a b c",
		"a\x1b[31mb\u202ec\x00":     "a[31mbc",
		"a\xffb":                    "ab",
		strings.Repeat("ű", 50):     strings.Repeat("ű", 8) + "…",
		strings.Repeat("\n", 10000): "",
	} {
		if got := OneLine(in, 20); got != want {
			t.Errorf("OneLine(%.20q) = %q, want %q", in, got, want)
		}
	}
}

func TestLastWordsOfAHealthTest(t *testing.T) {
	for _, test := range []struct {
		log  []*container.HealthcheckResult
		want string
	}{
		{nil, ""},
		{[]*container.HealthcheckResult{{ExitCode: 1, Output: "old"}, {ExitCode: 1, Output: "database\nis not up\n"}}, "database is not up"},
		{[]*container.HealthcheckResult{{ExitCode: 7}}, "exit code 7"},
		{[]*container.HealthcheckResult{nil}, ""},
		{[]*container.HealthcheckResult{{}}, ""},
	} {
		if got := lastWords(test.log); got != test.want {
			t.Errorf("lastWords = %q, want %q", got, test.want)
		}
	}
}
