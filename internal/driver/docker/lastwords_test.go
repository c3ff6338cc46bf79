package docker

import (
	"testing"

	"github.com/docker/docker/api/types/container"
)

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
