package contract

import (
	"errors"
	"fmt"
	"strings"
)

const (
	digestPrefix = "sha256:"
	digestHexLen = 64
)

// Digest is a SHA-256 in the form of the OCI image specification,
// "sha256:<64 lower-case hex digits>". The zero Digest stands for no digest. Digests are
// comparable with ==.
type Digest struct{ text string }

// ParseDigest reads a digest. It refuses other algorithms: registries and
// engines use only SHA-256, and digests of two algorithms could not be
// compared.
func ParseDigest(s string) (Digest, error) {
	if s == "" {
		return Digest{}, errors.New("the digest is empty; leave the key out")
	}
	body, found := strings.CutPrefix(s, digestPrefix)
	if !found {
		switch {
		case len(s) == digestHexLen && isLowerHex(s):
			return Digest{}, fmt.Errorf("the algorithm is missing; write %q before the digits", digestPrefix)
		case strings.Contains(s, "@"+digestPrefix):
			return Digest{}, fmt.Errorf(`this is an image reference; write only what comes after its "@"`)
		}
		return Digest{}, fmt.Errorf("the digest does not begin with %q; no other algorithm is accepted", digestPrefix)
	}
	switch {
	case len(body) != digestHexLen:
		return Digest{}, fmt.Errorf("the digest has %d characters after %q; a SHA-256 has %d", len(body), digestPrefix, digestHexLen)
	case isLowerHex(body):
		return Digest{text: s}, nil
	case isLowerHex(strings.ToLower(body)):
		return Digest{}, errors.New("the digest has upper-case digits; write it in lower case")
	}
	return Digest{}, fmt.Errorf("the digest has a character after %q that is not a hex digit", digestPrefix)
}

// Hex returns the 64 digits, "" for the zero Digest.
func (d Digest) Hex() string { return strings.TrimPrefix(d.text, digestPrefix) }

// IsZero reports whether there is no digest.
func (d Digest) IsZero() bool { return d.text == "" }

// String returns "sha256:<hex>", "" for the zero Digest.
func (d Digest) String() string { return d.text }

// MarshalText writes [Digest.String].
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.text), nil }

// UnmarshalText reads what [ParseDigest] reads; an empty text is the zero Digest.
func (d *Digest) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*d = Digest{}
		return nil
	}
	*d, err = ParseDigest(string(text))
	return err
}

func isLowerHex(s string) bool {
	return strings.Trim(s, "0123456789abcdef") == ""
}
