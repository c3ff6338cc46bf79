package enter

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
)

// FuzzOutcome: what comes from the side of the program is an exit status, an error, or
// nothing; and no file is removed for it that is not a placeholder.
func FuzzOutcome(f *testing.F) {
	for _, s := range []string{
		`{"Code":0,"Made":["/etc/resolv.conf"]}` + "\n" + `{"Code":3}` + "\n", `{"Code":0,"Error":"x","Hint":"y","Refused":true}`, `{"Code":0}` + "\n" + `{"Code":256}`, `{}{"Code":-1}`, `{"Made":["/etc/passwd"]}{}`, `{"Made":["../../x"],"Error":"x"}`,
		`{}{"Error":"x","Made":["/x"]}`, `{}`, `{}{`, `{}[]`, "", "null null", `{"Code":1e9}{}`, `{"Code":999,"Error":"x"}`, `{} {} {"Code":7}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		out, err := readOutcome(bytes.NewReader(data))
		for _, path := range out.Made {
			if path != policyRcD && path != resolvConf {
				t.Errorf("%q: %s is to be removed", data, path)
			}
		}
		if err != nil {
			if out.Code != 0 || out.Error != "" || out.Hint != "" || out.Refused {
				t.Errorf("%q gives %+v and the error %v", data, out, err)
			}
			return
		}
		if out.Code < 0 || out.Code > maxStatus {
			t.Errorf("%q has the exit status %d", data, out.Code)
		}
		// What pid 1 says is read as it was said.
		var said bytes.Buffer
		for _, report := range []outcome{{Made: out.Made}, out} {
			if err := json.NewEncoder(&said).Encode(report); err != nil {
				t.Fatal(err)
			}
		}
		again, err := readOutcome(&said)
		if err != nil || again.Code != out.Code || again.Error != out.Error || len(again.Made) != len(out.Made) {
			t.Errorf("%+v is written and read as %+v, %v", out, again, err)
		}
	})
}

// endless is a report that does not end.
type endless struct {
	t    *testing.T
	read int
}

// Read implements [io.Reader].
func (e *endless) Read(p []byte) (int, error) {
	if e.read += len(p); e.read > 4*maxOutcome {
		e.t.Fatalf("%d bytes of a report are read", e.read)
	}
	return copy(p, bytes.Repeat([]byte("x"), len(p))), nil
}

func TestReportWithoutEnd(t *testing.T) {
	for _, head := range []string{`{"Error":"`, `{}{"Error":"`} {
		if out, err := readOutcome(io.MultiReader(strings.NewReader(head), &endless{t: t})); err == nil || out.Error != "" {
			t.Errorf("%s...: %d bytes of an error, %v; want none", head, len(out.Error), err)
		}
	}
}
