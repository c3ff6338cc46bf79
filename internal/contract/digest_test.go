package contract

import (
	"testing"

	"github.com/opencontainers/go-digest"
)

// FuzzDigest: what we accept, the OCI library accepts as the same digest; what
// it accepts as SHA-256, we accept.
func FuzzDigest(f *testing.F) {
	seeds := []string{"sha256:" + testHex, testHex, "sha512:" + testHex + testHex, "sha256:", "", "sha256:" + testHex[1:]}
	if len(seeds) == 0 {
		f.Fatal("no seeds")
	}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ours, err := ParseDigest(s)
		theirs, theirErr := digest.Parse(s)
		wanted := theirErr == nil && theirs.Algorithm() == digest.SHA256
		if (err == nil) != wanted {
			t.Fatalf("%q: we say %v, the OCI library %v", s, err, theirErr)
		}
		if err == nil && (ours.String() != s || ours.Hex() != theirs.Encoded()) {
			t.Errorf("%q was read as %q", s, ours)
		}
		var again Digest
		if text, _ := ours.MarshalText(); again.UnmarshalText(text) != nil || again != ours {
			t.Errorf("%q came back as %q", ours, again)
		}
	})
}
