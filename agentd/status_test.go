package main

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/internal/contract"
)

// The page says of a guest that keeps no token what guest list says: nothing.
func TestStatusPageKnowsTheProfile(t *testing.T) {
	dir := t.TempDir()
	earlier := func() time.Time { return time.Now().Add(-2 * time.Hour) }
	store, err := guests.Open(filepath.Join(dir, "guests"), dir, earlier)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }() // nothing is written after the tokens
	for range 2 {
		minted, err := store.Mint(t.Context(), 8200, 100000, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Confirm(t.Context(), minted); err != nil {
			t.Fatal(err)
		}
	}
	for profile, want := range map[contract.Profile]bool{contract.ProfilePlain: false, contract.ProfileFelhom: true} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/status", nil)
		r.Host = "localhost"
		w := httptest.NewRecorder()
		statusPage(config.Config{StateDir: dir, Profile: profile}, store).ServeHTTP(w, r)
		if got := strings.Contains(w.Body.String(), "it has not used its token"); w.Code != http.StatusOK || got != want {
			t.Errorf("profile %s: %d, says that the token is not used: %t, want %t", profile, w.Code, got, want)
		}
	}
}
