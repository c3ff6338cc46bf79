package registryproxy

import (
	"encoding/base64"
	"slices"
	"testing"
)

// FuzzSecretsOf: of a header with a credential everything is hidden that a text of an
// error may have of it.
func FuzzSecretsOf(f *testing.F) {
	for _, s := range []string{"Bearer eyJhbGciOi.a.b", "Basic dXNlcjpzM2NyM3RzM2NyM3Q=", "Basic !", "Bearer", "", "Basic dXNlcg==", "Bearer short", "basic dXNlcjpzM2NyM3RzM2NyM3Q="} {
		f.Add(s, "s3cr3ts3cr3t\"\n")
	}
	f.Fuzz(func(t *testing.T, auth, password string) {
		for _, secret := range secretsOf(auth) {
			if len(secret) < leastSecret {
				t.Errorf("%q: %q is hidden in every text", auth, secret)
			}
		}
		if len(password) < leastSecret {
			return
		}
		encoded := base64.StdEncoding.EncodeToString([]byte("user:" + password))
		all := secretsOf("Basic " + encoded)
		if !slices.Contains(all, encoded) || !slices.Contains(all, password) {
			t.Errorf("of the password %q is hidden: %q", password, all)
		}
		if !slices.Contains(secretsOf("Bearer "+password), password) {
			t.Errorf("of the token %q is hidden: %q", password, secretsOf("Bearer "+password))
		}
	})
}
