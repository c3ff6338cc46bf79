// Package pin owns certificate pins: the SHA-256 of a leaf's public key (SPKI)
// or of the whole leaf certificate, how they are written, and the two TLS
// configurations built on them. It trusts no certificate authority and looks at
// no certificate but the leaf.
package pin

// Pin is one pin of either form. The zero Pin matches nothing. Pins are
// comparable with ==.
type Pin struct {
	form Form
	sum  [32]byte
}

// Form tells what a pin is the SHA-256 of.
type Form uint8

const (
	SPKI Form = iota + 1 // DER SubjectPublicKeyInfo of the leaf; curl's --pinnedpubkey
	Leaf                 // DER of the leaf certificate; PVE's fingerprint
)

// Set is a list of accepted pins. An empty Set accepts nothing.
type Set []Pin
