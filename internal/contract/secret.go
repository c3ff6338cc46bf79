package contract

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"

	"github.com/felhom/felhom-golden/internal/jsondoc"
)

// MaxSecretBytes is the longest secret that [ParseSecret] accepts.
const MaxSecretBytes = 512

// redacted replaces a secret in all output. [ParseSecret] refuses it, so that a
// printed document is never valid input.
const redacted = jsondoc.Redacted

// Secret is a token or password. Printing, logging or encoding it in any way
// writes a placeholder; [Secret.Reveal] is the only way to its value. The zero
// Secret stands for no secret.
//
// The value is behind a pointer because fmt calls no method on an unexported
// field of another package's struct: it prints an address then, not the value.
type Secret struct {
	value *string
	_     [0]func() // not comparable: == would compare pointers; use Equal
}

// ParseSecret reads a secret: 1 to 512 visible ASCII characters, which an HTTP
// header can contain unchanged. Errors never contain the value.
func ParseSecret(s string) (Secret, error) {
	switch {
	case s == "":
		return Secret{}, errors.New("the secret is empty")
	case s == redacted:
		return Secret{}, fmt.Errorf("%q stands for a secret that was hidden; put the secret itself here", redacted)
	case len(s) > MaxSecretBytes:
		return Secret{}, fmt.Errorf("the secret is %d bytes long; at most %d are accepted", len(s), MaxSecretBytes)
	}
	for i := range len(s) {
		if s[i] > ' ' && s[i] < 0x7f {
			continue
		}
		switch {
		case s[i] == '\n' && i == len(s)-1:
			return Secret{}, errors.New("the secret ends in a line break; remove it")
		case s[i] == ' ' || s[i] == '\t':
			return Secret{}, fmt.Errorf("the secret has a blank at byte %d; only visible ASCII characters are accepted", i+1)
		default:
			return Secret{}, fmt.Errorf("byte %d of the secret is not a visible ASCII character", i+1)
		}
	}
	return Secret{value: &s}, nil
}

// Reveal returns the secret's value, "" for the zero Secret. The result belongs
// in a request or in a file of mode 0640 or stricter, never in an argument, a
// log or an error.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.value == nil }

// Equal compares two secrets, in constant time if they have the same length.
func (s Secret) Equal(other Secret) bool {
	return s.IsZero() == other.IsZero() && subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// String returns the placeholder, "" for the zero Secret.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return redacted
}

// GoString returns the placeholder.
func (s Secret) GoString() string { return fmt.Sprintf("contract.Secret(%q)", s.String()) }

// Format prints the placeholder for every verb, %x and %#v included.
func (s Secret) Format(f fmt.State, verb rune) {
	text := s.String()
	if verb == 'v' && f.Flag('#') {
		text = s.GoString()
	}
	_, _ = f.Write([]byte(text)) // fmt offers no way to report it
}

// MarshalJSON writes the placeholder. Only [Bootstrap.Encode] writes secrets.
func (s Secret) MarshalJSON() ([]byte, error) { return fmt.Appendf(nil, "%q", s.String()), nil }

// MarshalText writes the placeholder.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue returns the placeholder for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
