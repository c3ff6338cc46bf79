package registryproxy

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// echoes remembers the credentials that were sent last: a registry can write them
// back into its status, its headers, or in place of HTTP, and errors show these.
type echoes struct {
	mu   sync.Mutex
	sent []string // Authorization headers
}

// maxEchoes is above the number of requests to one registry at the same time.
const maxEchoes = 128

// leastSecret is the length below which a text is not hidden: it would be found
// everywhere.
const leastSecret = 4

func (e *echoes) add(auth string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if auth == "" || slices.Contains(e.sent, auth) {
		return
	}
	if len(e.sent) == maxEchoes {
		e.sent = slices.Delete(e.sent, 0, 1)
	}
	e.sent = append(e.sent, auth)
}

// hide replaces the credentials in s.
func (e *echoes) hide(s string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, auth := range e.sent {
		for _, secret := range secretsOf(auth) {
			s = strings.ReplaceAll(s, secret, "(credential)")
		}
	}
	return s
}

// secretsOf returns what of an Authorization header is secret, in the spellings
// that texts of the standard library have.
func secretsOf(auth string) (all []string) {
	_, value, _ := strings.Cut(auth, " ")
	plain := []string{value}
	if isPassword(auth) {
		if data, err := base64.StdEncoding.DecodeString(value); err == nil {
			_, password, _ := strings.Cut(string(data), ":")
			plain = append(plain, password)
		}
	}
	for _, secret := range plain {
		if len(secret) < leastSecret {
			continue
		}
		for _, form := range []string{secret, strings.ToLower(secret)} {
			quoted := strconv.Quote(form)
			all = append(all, form, quoted[1:len(quoted)-1])
		}
	}
	return all
}

// clip bounds and cleans a text that the upstream may have made, and hides the
// credentials that it got.
func (u *upstream) clip(s string) string { return clip(u.echoes.hide(s)) }
