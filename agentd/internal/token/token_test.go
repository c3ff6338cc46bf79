package token_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/agentd/internal/token"
)

// form is what a secret scanner would look for.
var form = regexp.MustCompile(`^fgt_[1-9][0-9]{2,8}_[0-9A-Za-z]{49}$`)

func TestMintMakesWhatParseAccepts(t *testing.T) {
	seen := map[string]bool{}
	for _, vmid := range []int{100, 8200, 999_999_999} {
		for range 200 {
			minted := token.Mint(vmid)
			text := minted.Reveal()
			if !form.MatchString(text) {
				t.Fatalf("token of %d has another form than %s", vmid, form)
			}
			if seen[text] {
				t.Fatal("the same token was minted twice")
			}
			seen[text] = true
			parsed, err := token.Parse(text)
			if err != nil || parsed != minted || parsed.VMID() != vmid {
				t.Fatalf("parse of a minted token: guest %d, %v, want %d", parsed.VMID(), err, vmid)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	good := token.Mint(8200).Reveal()
	swapped := []byte(good)
	swapped[20], swapped[21] = swapped[21], swapped[20]
	if swapped[20] == swapped[21] {
		swapped[20] ^= 1
	}
	cases := []struct{ name, input string }{
		{"empty", ""},
		{"prefix alone", "fgt_"},
		{"another prefix", "ghp_" + good[4:]},
		{"upper-case prefix", "FGT_" + good[4:]},
		{"leading blank", " " + good},
		{"trailing newline", good + "\n"},
		{"one digit short", good[:len(good)-1]},
		{"one digit long", good + "0"},
		{"two digits swapped", string(swapped)},
		{"other guest, same secret", strings.Replace(good, "_8200_", "_8201_", 1)},
		{"leading zero in the id", strings.Replace(good, "_8200_", "_08200_", 1)},
		{"signed id", strings.Replace(good, "_8200_", "_+8200_", 1)},
		{"id below the range", strings.Replace(good, "_8200_", "_99_", 1)},
		{"id above the range", strings.Replace(good, "_8200_", "_1000000000_", 1)},
		{"hyphen among the digits", good[:30] + "-" + good[31:]},
		{"high byte among the digits", good[:30] + "\xff" + good[31:]},
		{"huge", strings.Repeat("fgt_", 1<<16)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if _, err := token.Parse(c.input); !errors.Is(err, token.ErrMalformed) {
				t.Errorf("error %v, want ErrMalformed", err)
			}
		})
	}
}

func TestTokenIsNeverPrinted(t *testing.T) {
	tok := token.Mint(8200)
	secret := tok.Reveal()[len("fgt_8200_"):]
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		for _, value := range []any{tok, &tok, struct{ T token.Token }{tok}, []token.Token{tok}} {
			if out := fmt.Sprintf(verb, value); strings.Contains(out, secret) || strings.Contains(out, fmt.Sprintf("%x", secret)) {
				t.Errorf("%s of %T shows the secret", verb, value)
			}
		}
	}
	if out, err := json.Marshal(map[string]any{"t": tok}); err == nil {
		t.Errorf("JSON gave %d bytes, want a refusal", len(out))
	}
}

func TestParseVMID(t *testing.T) {
	for _, s := range []string{"", "99", "0", "-100", "+100", "0100", "1e3", "100 ", "1000000000", "99999999999999999999"} {
		if n, err := token.ParseVMID(s); err == nil {
			t.Errorf("%q was accepted as %d", s, n)
		}
	}
}

func TestDigestText(t *testing.T) {
	want := token.Mint(8200).Digest()
	text, err := want.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	var got token.Digest
	if err := got.UnmarshalText(text); err != nil || !got.Equal(want) {
		t.Errorf("round trip of %s: %v", text, err)
	}
	if !strings.HasPrefix(string(text), want.Short()) || len(want.Short()) != 8 {
		t.Errorf("short form %s is not the first eight digits of %s", want.Short(), text)
	}
	for _, bad := range []string{"", "00", strings.Repeat("g", 64), strings.Repeat("0", 66)} {
		if err := got.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("digest %q was accepted", bad)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "fgt_8200_", token.Mint(100).Reveal(), token.Mint(999_999_999).Reveal()} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tok, err := token.Parse(s)
		if err != nil {
			return
		}
		if tok.Reveal() != s || !form.MatchString(s) {
			t.Errorf("accepted a string of another form, guest %d", tok.VMID())
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	text := token.Mint(8200).Reveal()
	records := map[int][2]token.Digest{}
	for i := range 200 {
		records[8200+i] = [2]token.Digest{token.Mint(8200 + i).Digest(), token.Sum("")}
	}
	records[8200] = [2]token.Digest{token.Sum(text), {}}
	b.ReportAllocs()
	for b.Loop() {
		tok, err := token.Parse(text)
		if err != nil {
			b.Fatal(err)
		}
		d, r := tok.Digest(), records[tok.VMID()]
		if !d.Equal(r[0]) || d.Equal(r[1]) {
			b.Fatal("wrong answer")
		}
	}
}
