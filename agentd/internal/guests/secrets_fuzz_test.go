package guests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzSecrets: the error of a file with secrets has none of its content, and what is
// refused gives no value.
func FuzzSecrets(f *testing.F) {
	s, dir, _ := openedStore(f)
	for _, text := range []string{`{"TOKEN":"s3cr3ts3cr3t"}`, `{"TOKEN":"s3cr3ts3cr3t"`, `{"s3cr3ts3cr3t":5}`, `["s3cr3ts3cr3t"]`, `null`, "", `s3cr3ts3cr3t`, `{"A":"b"}{"s3cr3ts3cr3t":1}`} {
		f.Add([]byte(text))
	}
	name := secretsPrefix(8200) + "a" + secretsSuffix
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := s.Secrets(name)
		if err != nil && (got != nil || strings.Contains(err.Error(), "s3cr3ts3cr3t")) {
			t.Errorf("%q gives %v and the error %v", data, got, err)
		}
	})
}

// FuzzSecretsName: no name leads to a file that is not one with secrets.
func FuzzSecretsName(f *testing.F) {
	s, dir, _ := openedStore(f)
	if err := os.WriteFile(filepath.Join(dir, "8200.json"), []byte(`{"TOKEN":"x"}`), 0o600); err != nil {
		f.Fatal(err)
	}
	for _, name := range []string{"8200.json", "../state/x" + secretsSuffix, secretsPrefix(8200) + "a" + secretsSuffix, "/etc/passwd", ".", "a\x00" + secretsSuffix, ""} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if got, err := s.Secrets(name); len(got) > 0 || err == nil && name != "" {
			t.Errorf("%q has %v, %v", name, got, err)
		}
	})
}
