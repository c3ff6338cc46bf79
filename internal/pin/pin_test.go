package pin_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/pin"
)

// The pin of system.md, and the same 32 bytes as a leaf pin.
const (
	spkiText = "uSSmg6cuEJj9CF7hiBdQ5OEJKOs0NszXJXjRNBwq8DM="
	leafText = "B9:24:A6:83:A7:2E:10:98:FD:08:5E:E1:88:17:50:E4:E1:09:28:EB:34:36:CC:D7:25:78:D1:34:1C:2A:F0:33"
)

// A hash whose base64 has both characters that the url-safe alphabet changes.
const slashText = "+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/8="

func TestParseSPKI(t *testing.T) {
	lower := strings.ToLower(strings.ReplaceAll(leafText, ":", ""))
	b64 := func(n int) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xf8}, n)) }
	tests := []struct {
		name, in string
		want     string // String() of the pin
		wantErr  string // part of the error
	}{
		{name: "as in bootstrap.json", in: spkiText, want: "sha256//" + spkiText},
		{name: "as curl takes it", in: "sha256//" + spkiText, want: "sha256//" + spkiText},
		{name: "slashes and pluses", in: slashText, want: "sha256//" + slashText},
		{name: "no padding", in: strings.TrimSuffix(spkiText, "="), wantErr: `add "=" at the end`},
		{name: "no padding, with prefix", in: "sha256//" + strings.TrimSuffix(spkiText, "="), wantErr: `add "=" at the end`},
		{name: "hex", in: lower, wantErr: "this is hex"},
		{name: "hex with colons", in: leafText, wantErr: "belongs into the leaf pin"},
		{name: "hex after prefix", in: "sha256//" + lower, wantErr: "this is hex"},
		{name: "url-safe", in: strings.NewReplacer("+", "-", "/", "_").Replace(slashText), wantErr: "url-safe"},
		{name: "blank after prefix", in: "sha256// " + spkiText, wantErr: "a blank at character 9"},
		{name: "blank before", in: " " + spkiText, wantErr: "a blank at character 1"},
		{name: "one slash", in: "sha256/" + spkiText, wantErr: `"sha256/" has one slash`},
		{name: "upper-case scheme", in: "SHA256//" + spkiText, wantErr: "in lower case only"},
		{name: "colon scheme", in: "sha256:" + spkiText, wantErr: `"sha256:" is not how curl marks a hash`},
		{name: "integrity scheme", in: "sha256-" + spkiText, wantErr: `"sha256-" is not how curl marks a hash`},
		{name: "trailing semicolon", in: "sha256//" + spkiText + ";", wantErr: `ends in ";"`},
		{name: "two pins", in: "sha256//" + spkiText + ";sha256//" + spkiText, wantErr: "a pin holds one hash"},
		{name: "empty", in: "", wantErr: "the pin is empty"},
		{name: "blanks only", in: " \t", wantErr: "the pin is empty"},
		{name: "prefix alone", in: "sha256//", wantErr: "has no hash after it"},
		{name: "prefix twice", in: "sha256//sha256//" + spkiText, wantErr: "written twice"},
		{name: "line break", in: spkiText + "\n", wantErr: "ends in a line break"},
		{name: "other character", in: "sha256//*" + spkiText[1:], wantErr: "character 9 is not base64"},
		{name: "loose last bits", in: strings.TrimSuffix(spkiText, "M=") + "N=", wantErr: "carries bits that belong to no byte"},
		{name: "cut off", in: spkiText[:40], wantErr: "30 bytes long, but a SHA-256 has 32; copy the whole pin"},
		{name: "broken", in: "abc=d", wantErr: "5 characters of broken base64"},
		{name: "sha-1", in: b64(20), wantErr: "SHA-1"},
		{name: "sha-384", in: b64(48), wantErr: "SHA-384"},
		{name: "sha-512", in: b64(64), wantErr: "SHA-512"},
		{name: "a file name", in: "/etc/felhom/key.pem", wantErr: "is not base64"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { check(t, pin.ParseSPKI, pin.SPKI, tt.in, tt.want, tt.wantErr) })
	}
}

func TestParseLeaf(t *testing.T) {
	plain := strings.ReplaceAll(leafText, ":", "")
	tests := []struct {
		name, in      string
		want, wantErr string
	}{
		{name: "as pve shows it", in: leafText, want: leafText},
		{name: "lower case", in: strings.ToLower(leafText), want: leafText},
		{name: "no colons", in: plain, want: leafText},
		{name: "no colons, lower case", in: strings.ToLower(plain), want: leafText},
		{name: "base64", in: spkiText, wantErr: "this is base64"},
		{name: "curl's form", in: "sha256//" + spkiText, wantErr: "belongs into the SPKI pin"},
		{name: "one slash", in: "sha256/" + spkiText, wantErr: "belongs into the SPKI pin"},
		{name: "some colons", in: plain[:32] + ":" + plain[32:], wantErr: "byte 1 is 32 characters long"},
		{name: "one digit between colons", in: strings.Replace(leafText, ":24:", ":4:", 1), wantErr: "byte 2 is 1 characters long"},
		{name: "colon at the end", in: leafText + ":", wantErr: "byte 33 is 0 characters long"},
		{name: "other digit", in: strings.Replace(leafText, ":24:", ":2G:", 1), wantErr: "character 5 is not a hex digit"},
		{name: "odd digits", in: plain[1:], wantErr: "63 hex digits make no whole number of bytes"},
		{name: "sha-1", in: plain[:40], wantErr: "SHA-1"},
		{name: "too long", in: plain + "00", wantErr: "33 bytes long"},
		{name: "empty", in: "", wantErr: "the pin is empty"},
		{name: "blanks only", in: "\n", wantErr: "the pin is empty"},
		{name: "blank inside", in: strings.Replace(leafText, ":", " ", 1), wantErr: "a blank at character 3"},
		{name: "trailing semicolon", in: leafText + ";", wantErr: `ends in ";"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { check(t, pin.ParseLeaf, pin.Leaf, tt.in, tt.want, tt.wantErr) })
	}
}

// check runs one row: the pin and its printed form, which reads back as the
// same pin, or the error, which does not repeat what it refuses.
func check(t *testing.T, parse func(string) (pin.Pin, error), form pin.Form, in, want, wantErr string) {
	t.Helper()
	got, err := parse(in)
	if wantErr != "" {
		if err == nil || !strings.Contains(err.Error(), wantErr) {
			t.Fatalf("got %v, error %v, want one with %q", got, err, wantErr)
		}
		if !got.IsZero() {
			t.Errorf("a refused text gave the pin %v", got)
		}
		if len(in) > 20 && strings.Contains(err.Error(), in) {
			t.Errorf("the error repeats the input, which may be a misplaced secret: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != want || got.Form() != form {
		t.Errorf("got %v of form %v, want %s of form %v", got, got.Form(), want, form)
	}
	if again, err := parse(got.String()); again != got {
		t.Errorf("%v reads back as %v, error %v", got, again, err)
	}
	var unmarshalled pin.Pin
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &unmarshalled); err != nil || unmarshalled != got {
		t.Errorf("%s from JSON is %v, error %v", text, unmarshalled, err)
	}
}

func TestZeroPin(t *testing.T) {
	var zero pin.Pin
	if !zero.IsZero() || zero.String() != "" || zero.Base64() != "" || zero.Form() != 0 {
		t.Errorf("the zero pin shows as %q, %q", zero.String(), zero.Base64())
	}
	if text, err := zero.MarshalText(); err == nil {
		t.Errorf("the zero pin was written as %q", text)
	}
	var p pin.Pin
	if err := p.UnmarshalText([]byte("sha256//nonsense")); err == nil || !p.IsZero() {
		t.Errorf("nonsense was read as %v", p)
	}
}

func TestPinsOfCertificate(t *testing.T) {
	cert := selfSigned(t, newKey(t)).Leaf
	spki, whole := sha256.Sum256(cert.RawSubjectPublicKeyInfo), sha256.Sum256(cert.Raw)
	if got, want := pin.SPKIOf(cert).Base64(), base64.StdEncoding.EncodeToString(spki[:]); got != want {
		t.Errorf("SPKIOf: got %s, want %s", got, want)
	}
	if got, want := strings.ReplaceAll(pin.LeafOf(cert).String(), ":", ""), strings.ToUpper(hex.EncodeToString(whole[:])); got != want {
		t.Errorf("LeafOf: got %s, want %s", got, want)
	}
}

func TestCurl(t *testing.T) {
	a, err := pin.ParseSPKI(spkiText)
	if err != nil {
		t.Fatal(err)
	}
	b, err := pin.ParseSPKI(slashText)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := pin.ParseLeaf(leafText)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		set  pin.Set
		want string
	}{
		{"none", nil, ""},
		{"leaf only", pin.Set{leaf}, ""},
		{"one", pin.Set{a}, "sha256//" + spkiText},
		{"two around a leaf", pin.Set{a, leaf, b}, "sha256//" + spkiText + ";sha256//" + slashText},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.set.Curl(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// FuzzParse: what is accepted has one printed form that reads back, and no
// text is both an SPKI and a leaf pin.
func FuzzParse(f *testing.F) {
	seeds := []string{spkiText, "sha256//" + slashText, leafText, strings.ReplaceAll(leafText, ":", ""), spkiText + ";", "sha256//"}
	for _, seed := range seeds {
		f.Add(seed)
	}
	if len(seeds) == 0 {
		f.Fatal("no seeds")
	}
	f.Fuzz(func(t *testing.T, s string) {
		spki, spkiErr := pin.ParseSPKI(s)
		leaf, leafErr := pin.ParseLeaf(s)
		if spkiErr == nil && leafErr == nil {
			t.Fatalf("%q is a pin of both forms", s)
		}
		if spkiErr == nil {
			if again, err := pin.ParseSPKI(spki.String()); again != spki {
				t.Errorf("%v reads back as %v, %v", spki, again, err)
			}
			if strings.TrimPrefix(s, "sha256//") != spki.Base64() {
				t.Errorf("%q was taken for %q, which curl would not do", s, spki.Base64())
			}
		}
		if leafErr == nil {
			if again, err := pin.ParseLeaf(leaf.String()); again != leaf {
				t.Errorf("%v reads back as %v, %v", leaf, again, err)
			}
		}
	})
}

// Samples that other packages and scripts share must stay readable.
func TestSamples(t *testing.T) {
	files, err := filepath.Glob("../../testdata/pins/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no samples in testdata/pins (error %v)", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(data)) {
				var p pin.Pin
				if err := p.UnmarshalText([]byte(strings.TrimSpace(line))); err != nil {
					t.Errorf("%q: %v", line, err)
				}
			}
		})
	}
}
