package retryafter

import (
	"testing"
	"time"
)

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "0", "-1", "120", "99999999999999999999", "Fri, 31 Dec 1999 23:59:59 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "1.5", "٣"} {
		f.Add(s, int64(300))
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string, seconds int64) {
		most := time.Duration(seconds&0xffff) * time.Second
		wait, ok := Parse(text, now, most)
		if wait < 0 || wait > most || !ok && wait != 0 {
			t.Errorf("%q: got %v, %v, want 0 to %v", text, wait, ok, most)
		}
	})
}
