package contract_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/felhom/felhom-golden/internal/contract"
)

// A report that is accepted must be one that can be written and read again: one
// that could not kept the daemon at 503 for ever.
func TestAReportThatCannotBeKeptIsRefused(t *testing.T) {
	for text, isGood := range map[string]bool{
		"2026-01-31T12:00:00Z":          true,
		"2026-01-31T12:00:00.123+02:00": true,
		"2026-01-31T12:00:00+23:59":     true,
		"2026-01-31T12:00:00+24:00":     false,
		"2026-01-31T12:00:00-24:00":     false,
		"2026-01-31T12:00:00+24:59":     false,
		"0000-01-01T00:00:00+23:59":     true,
		"9999-12-31T23:59:59-23:59":     true,
		"2026-01-31T12:00:00,5Z":        true,
	} {
		body := fmt.Sprintf(`{"run":"a","sequence":1,"time":%q,"step":"image","state":"done"}`, text)
		r, err := contract.ParseReport([]byte(body))
		if (err == nil) != isGood {
			t.Errorf("%s: error %v, want accepted %v", text, err, isGood)
		}
		if err != nil {
			continue
		}
		data, err := json.Marshal(r)
		if err != nil {
			t.Errorf("%s: accepted, and not written: %v", text, err)
		}
		if err := json.Unmarshal(data, new(contract.Report)); err != nil {
			t.Errorf("%s: accepted, and not read again: %v", text, err)
		}
	}
}
