package pin

import (
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
)

// Set is a list of accepted pins. An empty Set accepts nothing.
type Set []Pin

// The refusals of [Set.Verify] other than a [MismatchError].
var (
	// ErrNoPins means that there is nothing to compare with. It is an error so
	// that a lost configuration never means "trust everything".
	ErrNoPins = errors.New("no pin is configured, so no server can be trusted")
	// ErrNoCertificate means that the peer showed no certificate.
	ErrNoCertificate = errors.New("the server showed no certificate")
)

// MismatchError means that the server's leaf certificate matches no pin of the
// set. Nothing was sent to that server.
type MismatchError struct {
	Want Set // every pin of the set
	Got  Set // the leaf's pins, one for each form in Want, in its order
}

// Error names both sides, in the same forms.
func (e *MismatchError) Error() string {
	return fmt.Sprintf("the server's certificate does not match the pin: want %s, got %s", e.Want.list(" or "), e.Got.list(" and "))
}

func (s Set) list(sep string) string {
	texts := make([]string, len(s))
	for i, p := range s {
		texts[i] = p.String()
		if p.IsZero() {
			texts[i] = "(an empty pin)"
		}
	}
	return strings.Join(texts, sep)
}

// Verify returns nil if the leaf certificate of state matches a pin of s. It
// fits [tls.Config.VerifyConnection]. Only the leaf counts: TLS proves
// possession of no other key, so a pin found elsewhere in the chain proves
// nothing. Otherwise the error is [ErrNoPins], [ErrNoCertificate] or a
// *[MismatchError].
func (s Set) Verify(state tls.ConnectionState) error {
	if len(s) == 0 {
		return ErrNoPins
	}
	if len(state.PeerCertificates) == 0 || state.PeerCertificates[0] == nil {
		return ErrNoCertificate
	}
	leaf := state.PeerCertificates[0]
	spki, whole := SPKIOf(leaf), LeafOf(leaf)
	match := 0
	for _, p := range s { // no early exit, so that the time does not show which pin matched
		switch p.form {
		case SPKI:
			match |= subtle.ConstantTimeCompare(p.sum[:], spki.sum[:])
		case Leaf:
			match |= subtle.ConstantTimeCompare(p.sum[:], whole.sum[:])
		}
	}
	if match == 1 {
		return nil
	}
	mismatch := &MismatchError{Want: s}
	seen := map[Form]bool{}
	for _, p := range s {
		if seen[p.form] {
			continue
		}
		seen[p.form] = true
		if p.form == Leaf {
			mismatch.Got = append(mismatch.Got, whole)
		} else {
			mismatch.Got = append(mismatch.Got, spki)
		}
	}
	return mismatch
}

// Curl returns the SPKI pins of s as the one argument of curl's --pinnedpubkey,
// joined by ";" with none at the end. It is "" if s has no SPKI pin; curl then
// refuses every server.
func (s Set) Curl() string {
	var pins []string
	for _, p := range s {
		if p.form == SPKI {
			pins = append(pins, p.String())
		}
	}
	return strings.Join(pins, ";")
}
