package docker

import "testing"

func TestLastWordsOfAHealthTest(t *testing.T) {
	for _, test := range []struct {
		log  []healthResult
		want string
	}{
		{nil, ""},
		{[]healthResult{{ExitCode: 1, Output: "old"}, {ExitCode: 1, Output: "database\nis not up\n"}}, "database is not up"},
		{[]healthResult{{ExitCode: 7}}, "exit code 7"},
		{[]healthResult{}, ""},
		{[]healthResult{{}}, ""},
	} {
		if got := lastWords(test.log); got != test.want {
			t.Errorf("lastWords = %q, want %q", got, test.want)
		}
	}
}
