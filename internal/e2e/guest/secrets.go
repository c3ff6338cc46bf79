package guest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"net/url"
	"slices"
	"sync"
)

// Secrets are texts that a place must not hold: what each is, to the text. A
// secret is found as it is and as it is written by programs: in base64, also
// behind a user name as in Docker's config.json, in hexadecimal, and in URLs.
type Secrets map[string]string

// In returns what data holds, sorted.
func (s Secrets) In(data []byte) []string { return s.Search().In(data) }

// Search looks for many secrets in one pass: the files of a guest are large.
type Search struct {
	isFirst [1 << 16]bool // by the first two bytes of a form
	forms   map[uint16][]form
}

type form struct {
	text []byte
	what string
}

// Search returns what looks for s. Later changes of s do not change it.
func (s Secrets) Search() *Search {
	out := &Search{forms: map[uint16][]form{}}
	for what, secret := range s {
		for _, text := range forms(secret) {
			first := pair(text)
			out.isFirst[first] = true
			out.forms[first] = append(out.forms[first], form{text, what})
		}
	}
	return out
}

func pair(b []byte) uint16 { return uint16(b[0])<<8 | uint16(b[1]) }

// In returns what data holds, sorted. The race detector, which would slow the
// search of some gigabytes down twenty times, does not look at its loop: what it
// reads is not written meanwhile.
//
//go:norace
func (s *Search) In(data []byte) []string {
	held := map[string]bool{}
	for i := 0; i+1 < len(data); i++ {
		first := pair(data[i:])
		if !s.isFirst[first] {
			continue
		}
		for _, f := range s.forms[first] {
			if bytes.HasPrefix(data[i:], f.text) {
				held[f.what] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(held))
}

const (
	chunk   = 1 << 20
	overlap = 64 << 10 // above the longest form
)

// buffers are kept: most files are small, and there are many.
var buffers = sync.Pool{New: func() any { return new([chunk + overlap]byte) }}

// Within is In for a stream of any size.
func (s *Search) Within(r io.Reader) ([]string, error) {
	held := map[string]bool{}
	kept := buffers.Get().(*[chunk + overlap]byte)
	defer buffers.Put(kept)
	buf := kept[:]
	before := 0
	for {
		n, err := io.ReadFull(r, buf[before:])
		n += before
		for _, what := range s.In(buf[:n]) {
			held[what] = true
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return slices.Sorted(maps.Keys(held)), nil
		}
		if err != nil {
			return nil, err
		}
		before = copy(buf, buf[n-overlap:n])
	}
}

// forms returns the ways in which a secret may be written.
func forms(secret string) [][]byte {
	out := [][]byte{
		[]byte(secret), []byte(url.QueryEscape(secret)), []byte(url.PathEscape(secret)),
		[]byte(hex.EncodeToString([]byte(secret))), bytes.ToUpper([]byte(hex.EncodeToString([]byte(secret)))),
	}
	// What is before the secret moves its base64 by 0 to 2 bytes. The digits
	// that depend on its neighbours are left out.
	for shift := range 3 {
		padded := append(make([]byte, shift), secret...)
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := encoding.EncodeToString(padded)
			first := (shift*8 + 5) / 6
			last := len(padded) * 8 / 6
			out = append(out, []byte(text[first:last]))
		}
	}
	return out
}
