package apt

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
)

// FuzzRelease: of what an archive offers the digest is that of its bytes, and a date is
// one that the bytes have.
func FuzzRelease(f *testing.F) {
	for _, s := range []string{
		"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nOrigin: Debian\nSuite: stable\nDate: Sat, 10 Jan 2026 10:20:30 UTC\nValid-Until: Sat, 17 Jan 2026 10:20:30 UTC\nSHA256:\n e3b0 0 main/binary-amd64/Packages\n-----BEGIN PGP SIGNATURE-----\n\nx\n-----END PGP SIGNATURE-----\n",
		"Origin: Debian\nDate: x\n", "\n\nDate: Sat, 10 Jan 2026 10:20:30 UTC\nDate: Sun, 11 Jan 2026 10:20:30 UTC\n", "", "\n\n", "a\n\nDate: Sat, 10 Jan 99999 10:20:30 UTC\n", "\x00\n\nValid-Until:\n Sat, 17 Jan 2026 10:20:30 UTC\n",
	} {
		f.Add([]byte(s))
	}
	dir := f.TempDir()
	file := filepath.Join(dir, "dists/trixie/InRelease")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Client{}.Release(t.Context(), "file:"+dir, "trixie")
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(data); got.SHA256 != hex.EncodeToString(sum[:]) || got.Suite != "trixie" {
			t.Errorf("%q is %+v", data, got)
		}
		if years := got.Date.Year() + got.ValidUntil.Year(); years < 0 || years > 2*9999 || !got.Date.Equal(got.Date.UTC()) {
			t.Errorf("%q is of %v, until %v", data, got.Date, got.ValidUntil)
		}
	})
}
