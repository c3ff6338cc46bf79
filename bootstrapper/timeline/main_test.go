package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/bootstrapper/internal/record"
	"github.com/felhom/felhom-golden/internal/leaktest"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

func TestDraw(t *testing.T) {
	var out bytes.Buffer
	in := `{"version":2,"run":"R","program":"t","started":"2026-01-31T12:00:00Z","finished":"2026-01-31T12:00:01Z","exit_code":0,"class":"ok","result":"changed","steps":[{"step":"image","result":"changed","start_ms":1,"duration_ms":5}]}`
	if err := draw(strings.NewReader(in), &out); err != nil || !strings.HasPrefix(out.String(), "<svg ") || !strings.Contains(out.String(), ">image<") {
		t.Errorf("error %v, drawn %.100s", err, out.String())
	}
	for _, bad := range []string{"", "{", `{"version":99}`, strings.Repeat("x", record.MaxBytes+1)} {
		out.Reset()
		if err := draw(strings.NewReader(bad), &out); err == nil || out.Len() > 0 {
			t.Errorf("%.20q: error %v, wrote %d bytes", bad, err, out.Len())
		}
	}
}
