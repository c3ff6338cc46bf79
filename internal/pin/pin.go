// Package pin has certificate pins: the SHA-256 of a leaf's public key (SPKI)
// or of the whole leaf certificate. A server calls [SPKIOf] and [ServerTLS], a
// client [ParseSPKI] or [ParseLeaf] and [ClientTLS]. It trusts no certificate
// authority and looks at no certificate but the leaf.
package pin

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Pin is one pin of either form. The zero Pin matches nothing. Pins are
// comparable with ==.
type Pin struct {
	form Form
	sum  [32]byte
}

// Form says what a pin is the SHA-256 of.
type Form uint8

// The two forms in use.
const (
	SPKI Form = iota + 1 // DER SubjectPublicKeyInfo of the leaf; curl's --pinnedpubkey
	Leaf                 // DER of the leaf certificate; PVE's fingerprint
)

// String returns the name of the form, for messages.
func (f Form) String() string {
	switch f {
	case SPKI:
		return "SHA-256 of the public key"
	case Leaf:
		return "SHA-256 of the certificate"
	}
	return "no pin"
}

// curlPrefix is what curl's --pinnedpubkey wants before the base64 text.
const curlPrefix = "sha256//"

// SPKIOf returns the SPKI pin of cert.
func SPKIOf(cert *x509.Certificate) Pin {
	return Pin{form: SPKI, sum: sha256.Sum256(cert.RawSubjectPublicKeyInfo)}
}

// LeafOf returns the leaf pin of cert.
func LeafOf(cert *x509.Certificate) Pin {
	return Pin{form: Leaf, sum: sha256.Sum256(cert.Raw)}
}

// Form returns the form of p, 0 for the zero Pin.
func (p Pin) Form() Form { return p.form }

// IsZero reports whether p is the zero Pin, which matches nothing.
func (p Pin) IsZero() bool { return p.form == 0 }

// String returns an SPKI pin as curl's --pinnedpubkey takes it ("sha256//" and
// standard base64 with padding), a leaf pin as PVE shows it (upper-case hex
// with colons), and "" for the zero Pin.
func (p Pin) String() string {
	switch p.form {
	case SPKI:
		return curlPrefix + p.Base64()
	case Leaf:
		var b strings.Builder
		for i, octet := range p.sum {
			if i > 0 {
				b.WriteByte(':')
			}
			fmt.Fprintf(&b, "%02X", octet)
		}
		return b.String()
	}
	return ""
}

// Base64 returns the hash alone, standard base64 with padding: the form of the
// local_api_pin_spki_sha256 key. It is "" for the zero Pin.
func (p Pin) Base64() string {
	if p.IsZero() {
		return ""
	}
	return base64.StdEncoding.EncodeToString(p.sum[:])
}

// MarshalText writes p as [Pin.String] does. The zero Pin is an error: it
// would read back as no pin at all.
func (p Pin) MarshalText() ([]byte, error) {
	if p.IsZero() {
		return nil, errors.New("the zero pin cannot be written")
	}
	return []byte(p.String()), nil
}

// UnmarshalText reads what MarshalText wrote: a text that starts with
// "sha256//" is an SPKI pin, any other a leaf pin. Use [ParseSPKI] if the
// prefix is optional.
func (p *Pin) UnmarshalText(text []byte) error {
	parse := ParseLeaf
	if strings.HasPrefix(string(text), curlPrefix) {
		parse = ParseSPKI
	}
	got, err := parse(string(text))
	if err != nil {
		return err
	}
	*p = got
	return nil
}

// ParseSPKI reads an SPKI pin: standard base64, with padding, of 32 bytes, with
// or without curl's "sha256//" before it. It accepts nothing that curl would
// take for another pin or for none.
func ParseSPKI(s string) (Pin, error) {
	if err := checkText(s); err != nil {
		return Pin{}, err
	}
	body, prefixed := strings.CutPrefix(s, curlPrefix)
	if !prefixed {
		if err := checkScheme(s); err != nil {
			return Pin{}, err
		}
	}
	if strings.Contains(body, ";") {
		return Pin{}, errors.New(`a pin holds one hash: ";" joins pins in curl's --pinnedpubkey only; write the second pin under its own name`)
	}
	switch {
	case body == "":
		return Pin{}, fmt.Errorf("%q has no hash after it; write the base64 of the key's SHA-256", curlPrefix)
	case strings.HasPrefix(body, curlPrefix):
		return Pin{}, fmt.Errorf("%q is written twice; write it once or not at all", curlPrefix)
	case isHex(body):
		return Pin{}, errors.New("this is hex, but an SPKI pin is written in base64; where it is the fingerprint of a certificate, it belongs into the leaf pin")
	case strings.ContainsAny(body, "-_"):
		return Pin{}, errors.New(`url-safe base64 ("-" and "_") is not accepted; write "+" and "/" instead`)
	}
	if i := strings.IndexFunc(body, func(r rune) bool { return !isBase64(r) }); i >= 0 {
		return Pin{}, fmt.Errorf("character %d is not base64; an SPKI pin is 43 letters, digits, \"+\" or \"/\" and then \"=\"", len(s)-len(body)+i+1)
	}
	if len(body) == 43 && !strings.Contains(body, "=") {
		return Pin{}, errors.New(`the base64 padding is missing; add "=" at the end`)
	}
	// Strict: without it two spellings would be the same pin here and different
	// ones in curl, which compares the text.
	raw, err := base64.StdEncoding.Strict().DecodeString(body)
	if err != nil {
		if _, lax := base64.StdEncoding.DecodeString(body); lax == nil {
			return Pin{}, errors.New(`the last character before "=" carries bits that belong to no byte; copy the pin again`)
		}
		return Pin{}, fmt.Errorf(`this is %d characters of broken base64; an SPKI pin is 43 characters and then "="`, len(body))
	}
	return newPin(SPKI, raw)
}

// ParseLeaf reads a leaf pin: 32 bytes in hex, in any case, with a colon
// between every two bytes or with none at all.
func ParseLeaf(s string) (Pin, error) {
	if err := checkText(s); err != nil {
		return Pin{}, err
	}
	if strings.HasPrefix(strings.ToLower(s), "sha256/") {
		return Pin{}, errors.New(`this is a pin in curl's form, but a leaf pin is written in hex; where it is the hash of a public key, it belongs into the SPKI pin`)
	}
	text := s
	if strings.Contains(s, ":") {
		parts := strings.Split(s, ":")
		for i, part := range parts {
			if len(part) != 2 {
				return Pin{}, fmt.Errorf("byte %d is %d characters long; write two hex digits between every two colons", i+1, len(part))
			}
		}
		text = strings.Join(parts, "")
	}
	raw, err := hex.DecodeString(text)
	if err != nil {
		if decoded, err := base64.StdEncoding.DecodeString(s); err == nil && len(decoded) == sha256.Size {
			return Pin{}, errors.New("this is base64, but a leaf pin is written in hex; where it is the hash of a public key, it belongs into the SPKI pin")
		}
		if i := strings.IndexFunc(s, func(r rune) bool { return r != ':' && !isHexDigit(r) }); i >= 0 {
			return Pin{}, fmt.Errorf("character %d is not a hex digit; a leaf pin is 32 bytes in hex, with colons or without", i+1)
		}
		return Pin{}, fmt.Errorf("%d hex digits make no whole number of bytes; a leaf pin has 64", len(text))
	}
	return newPin(Leaf, raw)
}

func newPin(form Form, raw []byte) (Pin, error) {
	if len(raw) != sha256.Size {
		return Pin{}, fmt.Errorf("this is %d bytes long, but a SHA-256 has %d%s", len(raw), sha256.Size, otherHash(len(raw)))
	}
	p := Pin{form: form}
	copy(p.sum[:], raw)
	return p, nil
}

// otherHash returns the hash that a pin of another length most likely is.
func otherHash(n int) string {
	switch n {
	case 20:
		return "; 20 bytes look like a SHA-1 fingerprint: take the SHA-256 one"
	case 48:
		return "; 48 bytes look like a SHA-384: take the SHA-256"
	case 64:
		return "; 64 bytes look like a SHA-512: take the SHA-256"
	}
	return "; copy the whole pin"
}

// checkText refuses what is not valid in a pin of any form.
func checkText(s string) error {
	switch {
	case strings.TrimSpace(s) == "":
		return errors.New("the pin is empty; leave the key out")
	case strings.HasSuffix(s, ";"):
		return errors.New(`the pin ends in ";", which curl takes for a part of the hash; remove it`)
	case strings.HasSuffix(s, "\n"):
		return errors.New("the pin ends in a line break; remove it")
	case strings.ContainsAny(s, " \t\r\n"):
		return fmt.Errorf("the pin has a blank at character %d; remove it", strings.IndexAny(s, " \t\r\n")+1)
	}
	return nil
}

// checkScheme refuses prefixes that resemble curl's.
func checkScheme(s string) error {
	lower := strings.ToLower(s)
	switch {
	case strings.HasPrefix(lower, curlPrefix):
		return fmt.Errorf("curl knows %q in lower case only; write it so", curlPrefix)
	case strings.HasPrefix(lower, "sha256/"):
		return fmt.Errorf(`"sha256/" has one slash; write %q`, curlPrefix)
	case strings.HasPrefix(lower, "sha256:"), strings.HasPrefix(lower, "sha256-"), strings.HasPrefix(lower, "sha256="):
		return fmt.Errorf("%q is not how curl marks a hash; write %q", s[:len("sha256:")], curlPrefix)
	}
	return nil
}

func isHex(s string) bool {
	digits := strings.ReplaceAll(s, ":", "")
	return len(digits) == 2*sha256.Size && strings.IndexFunc(digits, func(r rune) bool { return !isHexDigit(r) }) < 0
}

func isHexDigit(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'f' || r >= 'A' && r <= 'F'
}

func isBase64(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '+' || r == '/' || r == '='
}
