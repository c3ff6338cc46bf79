package bootstrap

import (
	"encoding/base64"
	"strings"

	"github.com/felhom/felhom-golden/internal/contract"
)

// shortestScrubbed is the least length of a secret that is hidden in text:
// hiding a shorter one would damage every word, and protects nothing.
const shortestScrubbed = 4

// shortestValue is the same for a variable of the container's environment: any
// of them may be a secret, but most short ones are words such as "true".
const shortestValue = 8

// scrubber returns a function that hides the contract's secrets, and the values of environment (NAME=VALUE), in text of
// others: engine, registry, container. It covers each form in which a token is sent.
func scrubber(b contract.Bootstrap, environment []string) func(string) string {
	var pairs []string
	add := func(secret string) {
		if len(secret) >= shortestScrubbed {
			pairs = append(pairs, secret, "[redacted]")
		}
	}
	if r := b.Registry; r != nil {
		add(base64.StdEncoding.EncodeToString([]byte(r.Username + ":" + r.Token.Reveal())))
		add(r.Token.Reveal())
	}
	add(b.LocalAPIToken.Reveal())
	for _, variable := range environment {
		if _, value, _ := strings.Cut(variable, "="); len(value) >= shortestValue {
			add(value)
		}
	}
	if len(pairs) == 0 {
		return func(text string) string { return text }
	}
	return strings.NewReplacer(pairs...).Replace
}
