package containerspec

import (
	"maps"
	"slices"
	"strings"

	"github.com/felhom/felhom-golden/internal/contract"
)

// Redact returns c with the text instead in place of values that look like a
// secret ([SecretLooking]), and of variables that are in secret.
func Redact(c contract.Container, secret map[string]string, instead string) contract.Container {
	looks := SecretLooking(c)
	environment, labels := maps.Clone(c.Environment), maps.Clone(c.Labels)
	for name, value := range environment {
		if from, ok := secret[name]; ok && from == value || slices.Contains(looks, "environment."+name) || isOdd(name) {
			environment[name] = instead
		}
	}
	for name := range labels {
		if slices.Contains(looks, "labels."+name) || isOdd(name) {
			labels[name] = instead
		}
	}
	command := slices.Clone(c.Command)
	if slices.ContainsFunc(looks, func(path string) bool { return strings.HasPrefix(path, "command[") }) {
		command = []string{instead} // which argument is the secret's is not sure
	}
	c.Environment, c.Labels, c.Command = environment, labels, command
	return c
}

// isOdd reports whether SecretLooking cannot name the variable.
func isOdd(name string) bool {
	return len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool {
		return r != '_' && r != '-' && r != '.' && r != '/' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}
