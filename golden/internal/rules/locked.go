package rules

import "strings"

// shortestHash is the length of the shortest hash that crypt(3) makes, that of DES.
const shortestHash = 13

// IsLocked reports whether no password opens an account or a group with this field of shadow(5) or
// gshadow(5), now and after its lock is removed: "usermod --unlock" removes a "!" and
// leaves what is after it.
func IsLocked(field string) bool {
	if !strings.HasPrefix(field, "*") && !strings.HasPrefix(field, "!") || strings.Contains(field, "$") {
		return false
	}
	rest := strings.TrimLeft(field, "!")
	return strings.HasPrefix(rest, "*") || len(rest) < shortestHash
}
