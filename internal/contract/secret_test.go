package contract

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/sirupsen/logrus" //nolint:depguard // what the programs log with must not print a secret
)

const testSecret = "s3cr3t-v4lu3-0f-a-t3st"

func mustSecret(t testing.TB, s string) Secret {
	t.Helper()
	secret, err := ParseSecret(s)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

func TestSecretIsNeverPrinted(t *testing.T) {
	secret := mustSecret(t, testSecret)
	type exported struct{ Token Secret }
	type unexported struct{ token Secret } // fmt calls no method on this one
	values := []any{
		secret, &secret,
		exported{secret},
		&exported{secret},
		unexported{secret},
		&unexported{secret},
		[]Secret{secret},
		map[string]Secret{"token": secret},
		map[string]any{"token": secret},
		[]any{secret},
		Bootstrap{LocalAPIToken: secret},
		&Registry{Token: secret},
		Registry{Token: secret},
		fmt.Errorf("token %v", secret),
	}
	printers := map[string]func(any) string{
		"json":    func(v any) string { data, _ := json.Marshal(v); return string(data) },
		"xml":     func(v any) string { data, _ := xml.Marshal(v); return string(data) },
		"println": func(v any) string { return fmt.Sprintln(v) },
		"errorf":  func(v any) string { return fmt.Errorf("%v", v).Error() },
		"slog text": func(v any) string {
			var b bytes.Buffer
			slog.New(slog.NewTextHandler(&b, nil)).Info("message", "field", v)
			return b.String()
		},
		"slog json": func(v any) string {
			var b bytes.Buffer
			slog.New(slog.NewJSONHandler(&b, nil)).Info("message", "field", v)
			return b.String()
		},
		"logrus text": func(v any) string { return viaLogrus(&logrus.TextFormatter{}, v) },
		"logrus json": func(v any) string { return viaLogrus(&logrus.JSONFormatter{}, v) },
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%t", "%p", "%T", "%20s", "%.3s", "%U", "%c", "%b", "%o", "%e"} {
		printers[verb] = func(v any) string { return fmt.Sprintf(verb, v) }
	}
	hexText := fmt.Sprintf("%x", testSecret)
	for name, print := range printers {
		t.Run(name, func(t *testing.T) {
			for _, v := range values {
				got := print(v)
				if strings.Contains(got, testSecret) || strings.Contains(strings.ToLower(strings.ReplaceAll(got, " ", "")), hexText) || strings.Contains(got, testSecret[:3]) {
					t.Errorf("%T shows the secret: %s", v, got)
				}
			}
		})
	}
	if got := fmt.Sprint(secret); got != redacted {
		t.Errorf("got %q, want the placeholder %q", got, redacted)
	}
	if got := secret.Reveal(); got != testSecret {
		t.Errorf("Reveal gave %q", got)
	}
}

func viaLogrus(format logrus.Formatter, v any) string {
	var b bytes.Buffer
	log := logrus.New()
	log.Out, log.Formatter = &b, format
	log.WithField("field", v).WithFields(logrus.Fields{"more": v}).Info("message ", v)
	return b.String()
}

func TestSecretZeroAndEqual(t *testing.T) {
	var zero Secret
	a, again, b := mustSecret(t, testSecret), mustSecret(t, testSecret), mustSecret(t, testSecret+"x")
	if !zero.IsZero() || zero.Reveal() != "" || zero.String() != "" || a.IsZero() {
		t.Error("the zero secret is not none")
	}
	for _, tt := range []struct {
		name string
		a, b Secret
		want bool
	}{{"same value", a, again, true}, {"other value", a, b, false}, {"zero and value", zero, a, false}, {"both zero", zero, Secret{}, true}} {
		if got := tt.a.Equal(tt.b); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

// The samples hold the rule by message; this holds its edges.
func TestParseSecretBounds(t *testing.T) {
	for _, s := range []string{"!", "~", strings.Repeat("x", MaxSecretBytes)} {
		if got := mustSecret(t, s).Reveal(); got != s {
			t.Errorf("%q came back as %q", s, got)
		}
	}
	for _, s := range []string{"", " ", "\x7f", "\x00", "a\tb", strings.Repeat("x", MaxSecretBytes+1), redacted} {
		if got, err := ParseSecret(s); err == nil || !got.IsZero() {
			t.Errorf("%q was accepted", s)
		}
	}
}
