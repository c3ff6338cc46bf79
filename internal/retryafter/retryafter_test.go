package retryafter_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/retryafter"
)

func TestParse(t *testing.T) {
	now := time.Date(2026, 11, 24, 2, 0, 0, 0, time.UTC)
	for text, want := range map[string]struct {
		wait time.Duration
		ok   bool
	}{
		"0": {0, true}, "7": {7 * time.Second, true}, "007": {7 * time.Second, true}, "3600": {time.Hour, true}, "3601": {time.Hour, true},
		"99999999999999999999": {time.Hour, true}, "9223372036854775807": {time.Hour, true}, "-1": {0, true}, "-99999999999999999999": {0, true},
		"": {}, "-": {}, "--1": {}, "+5": {}, "1.5": {}, "5s": {}, " 5": {}, "soon": {}, "\u0663": {}, "evil\r\nX: 1": {},
		now.Add(9 * time.Second).Format(http.TimeFormat): {9 * time.Second, true},
		now.Add(-time.Hour).Format(http.TimeFormat):      {0, true},
		now.Add(40 * time.Hour).Format(http.TimeFormat):  {time.Hour, true},
		"Fri, 31 Dec 9999 23:59:59 GMT":                  {time.Hour, true},
	} {
		if wait, ok := retryafter.Parse(text, now, time.Hour); wait != want.wait || ok != want.ok {
			t.Errorf("%q: %v %v, want %+v", text, wait, ok, want)
		}
	}
}

func ExampleParse() {
	fmt.Println(retryafter.Parse("120", time.Now(), time.Minute))
	// Output: 1m0s true
}
