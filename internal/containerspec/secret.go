package containerspec

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/felhom/felhom-golden/internal/contract"
)

// secretName matches names that most likely have a secret as their value. Names
// that end in a word of notSecretName say where a secret is, or describe it. The four
// are compiled when they are first used: guests link this package and never look for secrets.
var (
	secretName = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?i)(^|[_.\-/])(pass|passwd|password|passphrase|pwd|secret|secrets|token|tokens|apikey|api_?key|access_?key|private_?key|secret_?key|encryption_?key|auth_?key|credential|credentials|cookie|salt|dsn)([_.\-/]|$)|(password|passwd|secret|token|apikey)$`)
	})
	notSecretName = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?i)[_.\-/](file|path|dir|ttl|expiry|expires|timeout|length|len|url|uri|issuer|name|id|header|type|algorithm|alg|policy|enabled|min|max)$`)
	})
	// secretValue matches values that are secret under any name.
	secretValue = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----|\bfgt_[0-9]+_|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_|\bglpat-|\bxox[abprs]-|\bAKIA[0-9A-Z]{16}\b|\beyJ[A-Za-z0-9_-]{8,}\.eyJ|[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@`)
	})
	// secretFlag matches an argument that names a secret, with or without its value.
	secretFlag = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?i)^--?[a-z0-9._-]*(password|passwd|passphrase|secret|token|api-?key|private-?key|credential)s?(=|$)`)
	})
)

// harmless are values that no secret has.
func harmless(value string) bool {
	switch strings.ToLower(value) {
	case "", "true", "false", "yes", "no", "on", "off", "0", "1", "none", "null":
		return true
	}
	return strings.HasPrefix(value, "/") && !strings.ContainsAny(value, " \t") // the path of a file
}

// SecretAdvice is what programs say of a path of [SecretLooking] in a golden image.
const SecretAdvice = "looks like a secret, and every copy of the image has it: set it on the host (container in agentd.yaml or the spec)"

// SecretLooking returns the paths of the variables, labels and arguments whose
// value looks like a secret, such as "environment.DB_PASSWORD". Everyone who can
// read the golden image or agentd.yaml can read them.
func SecretLooking(c contract.Container) []string {
	var paths []string
	for _, group := range []struct {
		path  string
		pairs map[string]string
	}{{"environment", c.Environment}, {"labels", c.Labels}} {
		for _, name := range slices.Sorted(maps.Keys(group.pairs)) {
			value := group.pairs[name]
			named := secretName().MatchString(name) && !notSecretName().MatchString(name) && !harmless(value)
			if named || secretValue().MatchString(value) {
				paths = append(paths, join(group.path, name))
			}
		}
	}
	for i, argument := range c.Command {
		flag, value, hasValue := strings.Cut(argument, "=")
		next := hasValue && !harmless(value) || !hasValue && i+1 < len(c.Command) && !strings.HasPrefix(c.Command[i+1], "-") && !harmless(c.Command[i+1])
		named := secretFlag().MatchString(argument) && !notSecretName().MatchString(flag) && next
		if named || secretValue().MatchString(argument) {
			paths = append(paths, item("command", i))
		}
	}
	return paths
}
