package contract

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/felhom/felhom-golden/internal/jsondoc"
	"github.com/felhom/felhom-golden/internal/pin"
)

func addSamples(f *testing.F) {
	f.Helper()
	n := 0
	for _, kind := range []string{"valid", "invalid"} {
		for _, s := range samples(f, kind) {
			if len(s.data) < 4<<10 { // large seeds slow the mutator down
				f.Add(s.data)
				n++
			}
		}
	}
	if n < 100 {
		f.Fatalf("only %d seeds", n)
	}
}

// FuzzParse: no input panics; a value comes without errors only, and reads
// back the same after Encode; places lie inside the file; secrets stay hidden.
func FuzzParse(f *testing.F) {
	addSamples(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		b, findings := Parse(data)
		shown := findings.Format("bootstrap.json")
		checkPlaces(t, data, findings)
		checkSecretsHidden(t, data, shown+findingTexts(findings))
		if findings.Err() != nil {
			if diff := diffBootstrap(Bootstrap{}, b); diff != "" {
				t.Fatalf("a refused document gave a value:\n%s", diff)
			}
			return
		}
		if !json.Valid(data) {
			t.Fatal("accepted what is not JSON")
		}
		encoded, err := b.Encode()
		if err != nil {
			t.Fatalf("accepted what cannot be encoded: %v", err)
		}
		again, findings := Parse(encoded)
		if diff := diffBootstrap(b, again); diff != "" || findings.Err() != nil {
			t.Fatalf("Parse(Encode(x)) is not x, findings %v:\n%s", findings.List, diff)
		}
		if twice, err := again.Encode(); err != nil || !bytes.Equal(twice, encoded) {
			t.Fatalf("encoded differently the second time (error %v)", err)
		}
	})
}

func checkPlaces(t *testing.T, data []byte, findings jsondoc.Findings) {
	t.Helper()
	lines := bytes.SplitAfter(data, []byte("\n"))
	for i, f := range findings.List {
		if f.Line < 1 || f.Line > len(lines) || f.Column < 1 || f.Column > len(lines[f.Line-1])+1 {
			t.Fatalf("the place of %v is outside the file", f)
		}
		if i > 0 {
			if p := findings.List[i-1]; p.Line > f.Line || p.Line == f.Line && p.Column > f.Column {
				t.Fatalf("%v comes before %v", p, f)
			}
		}
		if f.Message == "" || f.Rule == "" || !utf8.ValidString(f.String()) || strings.ContainsAny(f.String(), "\n\r\x1b") {
			t.Fatalf("finding %q has no message or rule, or breaks the terminal", f)
		}
	}
	if len(findings.List) > jsondoc.MaxFindings+1 {
		t.Fatalf("%d findings", len(findings.List))
	}
}

func findingTexts(findings jsondoc.Findings) string {
	var b strings.Builder
	for _, f := range findings.List {
		b.WriteString(f.String())
		b.WriteByte('\n')
	}
	if err := findings.Err(); err != nil {
		b.WriteString(err.Error())
	}
	return b.String()
}

// checkSecretsHidden looks for the values at secret places, as encoding/json
// finds them: our own reader is what is being checked.
func checkSecretsHidden(t *testing.T, data []byte, shown string) {
	t.Helper()
	var doc map[string]any
	if json.Unmarshal(data, &doc) != nil {
		return
	}
	secrets := []any{doc[keyToken]}
	if reg, ok := doc[keyRegistry].(map[string]any); ok {
		secrets = append(secrets, reg[keyRegistryToken])
	}
	for _, s := range secrets {
		secret, _ := s.(string)
		if len(secret) < jsondoc.MinHiddenSecret || strings.Contains(secret, redacted) || strings.Contains(fixedWords, secret) {
			continue
		}
		if strings.Contains(shown, secret) {
			t.Fatalf("the secret %q is shown:\n%s", secret, shown)
		}
	}
}

// fixedWords is text that findings may hold whatever the secret is.
const fixedWords = "bootstrap.json error warning " + keyEndpoint + " " + keyRegistry + " " + keyImage

// FuzzHiddenCanary puts a secret into a document that is broken at any place:
// neither findings nor source lines may show it.
func FuzzHiddenCanary(f *testing.F) {
	const canary = "cAnArY7cAnArY7"
	var documents [][]byte
	for _, s := range samples(f, "valid") {
		text := string(s.data)
		for _, secret := range []string{"an-opaque-guest-token", "an-opaque-registry-token", "the-guests-own-secret", "the-registrys-secret"} {
			text = strings.ReplaceAll(text, secret, canary)
		}
		if strings.Contains(text, canary) {
			documents = append(documents, []byte(text))
		}
	}
	if len(documents) == 0 {
		f.Fatal("no seeds")
	}
	for i := range documents {
		// Found by fuzzing: "local_api_token":0 "secret" made the secret a key.
		f.Add(uint8(i), uint16(bytes.Index(documents[i], []byte(`"`+canary))), []byte("0 "))
		f.Add(uint8(i), uint16(0), []byte("\""))
		f.Add(uint8(i), uint16(40*i), []byte("\n"))
		f.Add(uint8(i), uint16(60*i), []byte("{"))
		f.Add(uint8(i), uint16(200), []byte(","))
		f.Add(uint8(i), uint16(300), []byte("//"))
	}
	f.Fuzz(func(t *testing.T, which uint8, at uint16, put []byte) {
		doc := documents[int(which)%len(documents)]
		off := int(at) % len(doc)
		put = put[:min(len(put), 8)] // more could join a secret with a public value, where the two cannot be separated
		for _, mutant := range [][]byte{
			slices.Concat(doc[:off], put, doc[off:]),                         // put in
			slices.Concat(doc[:off], put, doc[min(off+len(put), len(doc)):]), // put over
			doc[:off], // cut off
			doc[off:], // beginning lost
		} {
			_, findings := Parse(mutant)
			shown := findings.Format("bootstrap.json") + findingTexts(findings)
			// A quote inside the secret cuts it in two; half of it is still one.
			if i := strings.Index(shown, canary[:len(canary)/2]); i >= 0 {
				t.Fatalf("the secret is shown:\n%s\nin\n%s", shown, mutant)
			}
		}
	})
}

func TestEncodeRefuses(t *testing.T) {
	valid, findings := Parse(samples(t, "valid")[0].data)
	if findings.Err() != nil {
		t.Fatal(findings.Err())
	}
	tests := []struct {
		name   string
		change func(*Bootstrap)
		want   []string // parts of the error
	}{
		{"zero value", func(b *Bootstrap) { *b = Bootstrap{} }, []string{keyEndpoint + ": ", keyToken + ": ", keyImage + ": ", "there is no pin"}},
		{"no token", func(b *Bootstrap) { b.LocalAPIToken = Secret{} }, []string{keyToken + ": the secret is empty"}},
		{"other version", func(b *Bootstrap) { b.SchemaVersion = 2 }, []string{"found version 2"}},
		{"zero pin", func(b *Bootstrap) { b.LocalAPIPins = pin.Set{{}} }, []string{"an empty pin cannot be written"}},
		{"third pin", func(b *Bootstrap) { b.LocalAPIPins = append(b.LocalAPIPins, b.LocalAPIPins[0], b.LocalAPIPins[0]) }, []string{"more than 2 pins over the SHA-256 of the public key"}},
		{"guest id", func(b *Bootstrap) { b.GuestID = 1 }, []string{"write a whole number from 100 to 999999999, not 1"}},
		{"half a registry", func(b *Bootstrap) { b.Registry = &Registry{Host: "registry.example"} }, []string{"registry.username: ", "registry.token: "}},
		{"not utf-8", func(b *Bootstrap) { b.Container = &Container{Environment: map[string]string{"A": "\xff"}} }, []string{"not UTF-8"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := valid
			b.LocalAPIPins = slices.Clone(b.LocalAPIPins)
			tt.change(&b)
			data, err := b.Encode()
			if err == nil || data != nil {
				t.Fatalf("encoded as %s", data)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
		})
	}
}

// The seven keys of the proven file give exactly these values.
func TestParseMinimal(t *testing.T) {
	for _, s := range samples(t, "valid") {
		if s.name != "minimal" {
			continue
		}
		b, findings := Parse(s.data)
		if len(findings.List) != 0 {
			t.Fatal(findings.List)
		}
		got := []any{b.SchemaVersion, b.HubURL, b.HostID, b.GuestID, b.LocalAPIEndpoint.URL(), len(b.LocalAPIPins), b.LocalAPIPins.Curl(), b.LocalAPIToken.Reveal(), b.Registry.Host, b.Registry.Username, b.Registry.Token.Reveal(), b.ControllerImage.String(), b.RegistryMirror, b.Container == nil}
		want := []any{1, "https://hub.example", "demo-felhom", 0, "https://192.168.0.162:8443", 1, "sha256//uSSmg6cuEJj9CF7hiBdQ5OEJKOs0NszXJXjRNBwq8DM=", "an-opaque-guest-token", "gitea.dooplex.hu", "admin", "an-opaque-registry-token", "gitea.dooplex.hu/admin/felhom-controller:v0.34.0", "", true}
		if !slices.Equal(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
		return
	}
	t.Fatal("the sample minimal is gone")
}

func TestPinOrder(t *testing.T) {
	for _, s := range samples(t, "valid") {
		if s.name != "full" {
			continue
		}
		b, _ := Parse(s.data)
		var got []string
		for _, p := range b.LocalAPIPins {
			got = append(got, p.String()[:11])
		}
		if want := []string{"sha256//uSS", "sha256//+/+", "AB:AB:AB:AB", "CD:CD:CD:CD"}; !slices.Equal(got, want) {
			t.Errorf("got pins %v, want %v: SPKI before leaf, current before next", got, want)
		}
		return
	}
	t.Fatal("the sample full is gone")
}

// A document at the limit costs no more than a moment, whatever is in it.
func BenchmarkParseHostile(b *testing.B) {
	for _, bb := range []struct {
		name string
		data []byte
	}{
		{"duplicates", []byte("{" + strings.Repeat(`"a":1,`, MaxBootstrapBytes/6-2) + `"a":1}`)},
		{"unknown keys", []byte("{" + strings.Repeat(`"local_api_endpoinx":1,`, MaxBootstrapBytes/23-2) + `"a":1}`)},
		{"brackets", bytes.Repeat([]byte("["), MaxBootstrapBytes)},
		{"escapes", []byte(`{"a":"` + strings.Repeat(`\u0000`, MaxBootstrapBytes/6-4) + `"}`)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			for b.Loop() {
				_, findings := Parse(bb.data)
				if findings.Err() == nil {
					b.Fatal("accepted")
				}
				findings.Format("bootstrap.json")
			}
		})
	}
}

func BenchmarkParseMinimal(b *testing.B) {
	data := samples(b, "valid")[0].data
	b.ReportAllocs()
	for b.Loop() {
		if _, findings := Parse(data); findings.Err() != nil {
			b.Fatal(findings.Err())
		}
	}
}
