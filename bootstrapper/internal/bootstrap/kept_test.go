package bootstrap

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/bootstrapper/internal/settings"
)

// The settings that are put back have the token, the address and the pins of now:
// those of before may have ended.
func TestSettingsArePutBackWithWhatTheHostIsNow(t *testing.T) {
	dir := t.TempDir()
	m := &memory{path: filepath.Join(dir, "last-good.json")}
	of := func(v settings.Values) *goodSettings {
		return &goodSettings{file: filepath.Join(dir, SettingsFile), copy: filepath.Join(dir, "copy"), values: v, memory: m}
	}
	render := func(mode string, v settings.Values) string {
		return "mode: " + mode + "\ntoken: " + v.Token + "\nurl: " + v.Endpoint + "/storage\npins: [" + strings.Join(v.PinsSPKI, ", ") + "]\ncurl: " + v.PinnedPubkey + "\nhub: " + v.HubURL + "\n"
	}
	then := settings.Values{Token: "fgt_8200_before", Endpoint: "https://192.0.2.1:8443", PinsSPKI: []string{"AAAA+/aa=", "BBBB+/bb="}, PinnedPubkey: "sha256//AAAA+/aa=;sha256//BBBB+/bb=", HubURL: "https://hub.example"}
	now := settings.Values{Token: "fgt_8200_after", Endpoint: "https://192.0.2.99:8443", PinsSPKI: []string{"BBBB+/bb=", "CCCC+/cc="}, PinnedPubkey: "sha256//BBBB+/bb=;sha256//CCCC+/cc=", HubURL: "https://other.example"}
	put := func(text string, at time.Time) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, SettingsFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(dir, SettingsFile), at, at); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now().Add(-time.Hour).Truncate(time.Second)
	put(render("good", then), began)
	if of(then).isTrial() {
		t.Error("settings are on trial before any were kept")
	}
	if err := of(then).keep(); err != nil {
		t.Fatal(err)
	}
	copied, err := os.ReadFile(filepath.Join(dir, "copy"))
	if err != nil || strings.Contains(string(copied), then.Token) {
		t.Errorf("the copy holds the token, or %v", err)
	}
	if info, err := os.Stat(filepath.Join(dir, "copy")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy: %v, %v", info, err)
	}
	// Another token, and nothing else: what runs is what was ready.
	for _, v := range []settings.Values{then, now} {
		if of(v).isTrial() {
			t.Errorf("the settings of before are on trial, by values with %s", v.Token)
		}
		if replaced, err := of(v).restore(); err != nil || !replaced.IsZero() {
			t.Errorf("they were put back: %v, %v", replaced, err)
		}
	}
	tried := time.Now().Truncate(time.Second)
	put(render("bad", now), tried)
	if !of(now).isTrial() {
		t.Error("other settings are not on trial")
	}
	if replaced, err := of(now).restore(); err != nil || !replaced.Equal(tried) {
		t.Errorf("put back: %v, %v, want those of %v replaced", replaced, err, tried)
	}
	want := now
	want.HubURL = then.HubURL
	got, err := os.ReadFile(filepath.Join(dir, SettingsFile))
	if err != nil || string(got) != render("good", want) {
		t.Errorf("got\n%s%v, want\n%s", got, err, render("good", want))
	}
	info, err := os.Stat(filepath.Join(dir, SettingsFile))
	if err != nil || !info.ModTime().Equal(began) || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v, want the time %v: it does not count as new", info, err, began)
	}
	if of(now).isTrial() || recall(m.path).Settings != m.Settings {
		t.Error("what was put back is on trial")
	}
	// A controller without settings.
	var none *goodSettings
	if replaced, err := none.restore(); none.isTrial() || err != nil || !replaced.IsZero() || none.keep() != nil {
		t.Errorf("%v, %v", replaced, err)
	}
}

// A mount may have another number of pins than before, and settings that an older
// version wrote may have a token of before.
func TestSettingsArePutBackWithOtherPinsAndTokens(t *testing.T) {
	const a, b, c = "sha256//AAAA+/aa=", "sha256//BBBB+/bb=", "sha256//CCCC+/cc="
	values := func(token string, pins ...string) settings.Values {
		return settings.Values{Token: "fgt_8200_" + strings.Repeat(token, 49), Endpoint: "https://192.0.2.1:8443", PinsSPKI: pins, PinnedPubkey: strings.Join(pins, ";")}
	}
	render := func(v settings.Values, pins []string, curl string) string {
		return "token: " + v.Token + "\npins: [" + strings.Join(pins, ", ") + "]\ncurl: " + curl + "\n"
	}
	for name, row := range map[string]struct {
		had, has settings.Values
		pins     []string
		curl     string
	}{
		"one more pin":  {values("a", a), values("b", b, c), []string{b}, b},
		"one pin less":  {values("a", a, b), values("b", c), []string{c, c}, c},
		"other pins":    {values("a", a, b), values("b", b, c), []string{b, c}, b + ";" + c},
		"another token": {values("a", a), values("b", a), []string{a}, a},
	} {
		for _, isOld := range []bool{false, true} {
			dir := t.TempDir()
			of := func(v settings.Values) *goodSettings {
				return &goodSettings{file: filepath.Join(dir, SettingsFile), copy: filepath.Join(dir, "copy"), values: v, memory: &memory{path: filepath.Join(dir, "last-good.json")}}
			}
			keeps := row.had
			if isOld {
				keeps.Token = row.has.Token
			}
			if err := writePrivate(filepath.Join(dir, SettingsFile), []byte(render(row.had, row.had.PinsSPKI, row.had.PinnedPubkey)), time.Now()); err != nil {
				t.Fatal(err)
			}
			if err := of(keeps).keep(); err != nil {
				t.Fatal(err)
			}
			if err := writePrivate(filepath.Join(dir, SettingsFile), []byte("mode: bad\n"), time.Now()); err != nil {
				t.Fatal(err)
			}
			if _, err := of(row.has).restore(); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join(dir, SettingsFile))
			if want := render(row.has, row.pins, row.curl); err != nil || string(got) != want {
				t.Errorf("%s, kept with the token of now: %v: got\n%s%v, want\n%s", name, isOld, got, err, want)
			}
		}
	}
}
