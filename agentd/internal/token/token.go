// Package token mints and parses the bearer tokens of guests. Call [Mint] for a
// new token, [Parse] for one that a client sent, and [Token.Digest] for what is
// stored. A token has the form
//
//	fgt_<vmid>_<43 base62 digits><6 base62 digits of a CRC-32>
//
// The prefix is for secret scanners, a double click selects the whole token
// because it has no hyphen, and the checksum reveals a typo before a record is
// read. The VMID selects the guest's record; it is not secret and proves
// nothing.
package token

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/big"
	"strconv"
	"strings"
)

const (
	prefix       = "fgt_"
	secretDigits = 43 // 62^43 > 2^256
	sumDigits    = 6  // 62^6 > 2^32
	alphabet     = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

	maxLength = len(prefix) + 9 + 1 + secretDigits + sumDigits
)

// The limits of a guest's id are PVE's.
const (
	MinVMID = 100
	MaxVMID = 999_999_999
)

// ErrMalformed means that a string is not a token: it has another form, a typo,
// or is incomplete. It never quotes the string.
var ErrMalformed = errors.New("malformed token")

// Token is a well-formed token. Formatting one shows its guest, never its
// secret. The zero Token belongs to no guest.
type Token struct {
	vmid int
	text string
}

// Digest is the SHA-256 of a whole token: the only form that is stored.
type Digest [sha256.Size]byte

// Mint returns a new token of guest vmid with 256 random bits.
func Mint(vmid int) Token {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	body := prefix + strconv.Itoa(vmid) + "_" + base62(new(big.Int).SetBytes(b[:]), secretDigits)
	return Token{vmid: vmid, text: body + checksum(body)}
}

// Parse accepts exactly what [Mint] makes; anything else is [ErrMalformed].
func Parse(s string) (Token, error) {
	if len(s) > maxLength || !strings.HasPrefix(s, prefix) {
		return Token{}, ErrMalformed
	}
	id, rest, ok := strings.Cut(s[len(prefix):], "_")
	if !ok || len(rest) != secretDigits+sumDigits {
		return Token{}, ErrMalformed
	}
	vmid, err := ParseVMID(id)
	if err != nil {
		return Token{}, ErrMalformed
	}
	for i := range len(rest) {
		if strings.IndexByte(alphabet, rest[i]) < 0 {
			return Token{}, ErrMalformed
		}
	}
	body := s[:len(s)-sumDigits]
	if checksum(body) != s[len(s)-sumDigits:] {
		return Token{}, ErrMalformed
	}
	return Token{vmid: vmid, text: s}, nil
}

// ParseVMID accepts a guest's id as PVE writes it: decimal, without sign or
// leading zero, within the limits.
func ParseVMID(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || strconv.Itoa(n) != s {
		return 0, fmt.Errorf("%q is not a VMID: want a decimal number without sign or leading zero", s)
	}
	if n < MinVMID || n > MaxVMID {
		return 0, fmt.Errorf("VMID %d is out of range: want %d to %d", n, MinVMID, MaxVMID)
	}
	return n, nil
}

// VMID returns the guest that the token claims to belong to.
func (t Token) VMID() int { return t.vmid }

// Reveal returns the token itself. It belongs only into the guest's config
// mount.
func (t Token) Reveal() string { return t.text }

// Digest returns the digest that is stored in place of the token.
func (t Token) Digest() Digest { return Sum(t.text) }

// Format writes the redacted form for every verb, so that no log or error line
// can hold the secret.
func (t Token) Format(w fmt.State, _ rune) {
	_, _ = io.WriteString(w, prefix+strconv.Itoa(t.vmid)+"_[redacted]")
}

// MarshalText always returns an error: a token is written only by [Token.Reveal].
func (t Token) MarshalText() ([]byte, error) {
	return nil, errors.New("a token is not encoded with the value that holds it")
}

// Sum returns the digest of any string that claims to be a token.
func Sum(s string) Digest { return sha256.Sum256([]byte(s)) }

// Equal compares in constant time.
func (d Digest) Equal(other Digest) bool {
	return subtle.ConstantTimeCompare(d[:], other[:]) == 1
}

// Short returns the first eight hex digits, which a log may contain.
func (d Digest) Short() string { return hex.EncodeToString(d[:4]) }

// MarshalText returns 64 lower-case hex digits.
func (d Digest) MarshalText() ([]byte, error) {
	return hex.AppendEncode(nil, d[:]), nil
}

// UnmarshalText reads what MarshalText writes.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(d)) {
		return fmt.Errorf("token digest has %d characters, want %d hex digits", len(text), hex.EncodedLen(len(d)))
	}
	if _, err := hex.Decode(d[:], text); err != nil {
		return fmt.Errorf("token digest: %w", err)
	}
	return nil
}

func checksum(body string) string {
	sum := crc32.ChecksumIEEE([]byte(body))
	var out [sumDigits]byte
	for i := range out {
		out[len(out)-1-i] = alphabet[sum%62]
		sum /= 62
	}
	return string(out[:])
}

func base62(n *big.Int, digits int) string {
	out := make([]byte, digits)
	base, digit := big.NewInt(62), new(big.Int)
	for i := range out {
		n.DivMod(n, base, digit)
		out[len(out)-1-i] = alphabet[digit.Int64()]
	}
	return string(out)
}
