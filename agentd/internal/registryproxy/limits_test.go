package registryproxy

import (
	"testing"
	"time"
)

// TestALargeBlobHasTheTimeItNeeds: engines before 29 begin a layer again whose
// transfer was ended, so that a limit that is too short ends it each time.
func TestALargeBlobHasTheTimeItNeeds(t *testing.T) {
	l := Limits{}.withDefaults()
	for size, want := range map[int64]time.Duration{0: 2 * time.Hour, 20 << 20: 2 * time.Hour, 1 << 30: (1 << 18) * time.Second, l.MaxBlob: (8 << 20) * time.Second} {
		if got := l.longest(size); got != want {
			t.Errorf("a blob of %d bytes: got %v, want %v", size, got, want)
		}
	}
}
