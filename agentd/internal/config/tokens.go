package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/internal/strictyaml"
)

// Tokens is when the daemon replaces the guests' tokens by itself.
type Tokens struct {
	RotateEvery time.Duration // 0: never
	// ExpireAfter is the age at which a token ends although the guest has not used
	// the one after it; 0: it ends with that use alone.
	ExpireAfter time.Duration
}

const (
	day = 24 * time.Hour

	minRotation = time.Hour
	maxRotation = 10 * 365 * day
)

func (c *Config) takeTokens(v strictyaml.Value) {
	v.Fields(map[string]field{
		"rotate_every": {Take: days(&c.Tokens.RotateEvery, minRotation, maxRotation)},
		"expire_after": {Take: days(&c.Tokens.ExpireAfter, minRotation, maxRotation)},
	})
}

// checkTokens refuses an expiry without a rotation in time: guests would lose
// tokens that nothing has replaced.
func (c *Config) checkTokens(doc *strictyaml.Document) {
	switch t := c.Tokens; {
	case t.ExpireAfter == 0:
	case t.RotateEvery == 0:
		doc.Add("tokens.expire_after", "needs rotate_every: a token ends only after another one is in the guest's mount")
	case t.ExpireAfter <= t.RotateEvery:
		doc.Add("tokens.expire_after", "want more than rotate_every, which is %v, got %v", t.RotateEvery, t.ExpireAfter)
	}
}

// days takes a duration that may be in days, "30d".
func days(into *time.Duration, low, high time.Duration) func(strictyaml.Value) {
	return parsed(func(s string) error {
		d, err := time.ParseDuration(s)
		if number, ok := strings.CutSuffix(s, "d"); ok {
			var n int
			if n, err = strconv.Atoi(number); err == nil && strconv.Itoa(n) == number && n <= int(high/day) {
				d = time.Duration(n) * day
			}
		}
		if err != nil || d < low || d > high {
			return fmt.Errorf("want a duration like 30d or 12h, from %v to %dd, got %q", low, int(high/day), s)
		}
		*into = d
		return nil
	})
}
