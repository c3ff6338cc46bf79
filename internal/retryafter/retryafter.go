// Package retryafter reads how long a server asks its clients to wait: call
// [Parse]. It is a package, though small, because the guest, its engine's
// driver and the host's registry proxy read the same header and share no other
// package about HTTP.
package retryafter

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Parse returns the time that a Retry-After header asks for (RFC 9110, section
// 10.2.3), in either of its forms: 0 for a time that is over, and at most the
// limit. ok is false if text is empty or not valid; the time is 0 then.
func Parse(text string, now time.Time, most time.Duration) (wait time.Duration, ok bool) {
	digits := strings.TrimPrefix(text, "-") // not of the RFC, and seen: it is over
	if digits == "" {
		return 0, false
	}
	if strings.Trim(digits, "0123456789") == "" {
		if text != digits {
			return 0, true
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || n > int64(most/time.Second) {
			return most, true
		}
		return time.Duration(n) * time.Second, true
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), most), true
}
