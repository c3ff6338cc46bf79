package guest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io"
	"maps"
	"net/url"
	"slices"
)

// Secrets are texts that a place must not hold: what each is, to the text. A
// secret is found as it is and as it is written by programs: in base64, also
// behind a user name as in Docker's config.json, in hexadecimal, and in URLs.
type Secrets map[string]string

// In returns what is found in data, sorted.
func (s Secrets) In(data []byte) (found []string) {
	for _, what := range slices.Sorted(maps.Keys(s)) {
		if slices.ContainsFunc(forms(s[what]), func(f []byte) bool { return bytes.Contains(data, f) }) {
			found = append(found, what)
		}
	}
	return found
}

// Within is In for a stream of any size.
func (s Secrets) Within(r io.Reader) (found []string, err error) {
	const chunk = 4 << 20
	const overlap = 64 << 10 // above the longest form
	buf := make([]byte, chunk+overlap)
	kept := 0
	for {
		n, err := io.ReadFull(r, buf[kept:])
		n += kept
		for _, what := range s.In(buf[:n]) {
			if !slices.Contains(found, what) {
				found = append(found, what)
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return found, nil
		}
		if err != nil {
			return found, err
		}
		kept = copy(buf, buf[n-overlap:n])
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
