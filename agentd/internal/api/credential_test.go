package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/agentd/internal/api"
)

// noAnswerHasASession: no answer has a token, or anything to make one
// from, so there is none that a program in a guest could get over the network,
// whoever asks. Tokens come by the mount alone, which containers do not have.
func noAnswerHasASession(t *testing.T) {
	b := newBed(t, 8200, 8201)
	var cookies, answers int
	look := func(what string, got answer) {
		t.Helper()
		answers++
		text := got.body + fmt.Sprint(got.header)
		for _, tok := range b.tokens {
			if strings.Contains(text, tok.Reveal()) || strings.Contains(text, tok.Reveal()[len("fgt_8200_"):]) {
				t.Errorf("%s: the answer has a token", what)
			}
		}
		if strings.Contains(text, "fgt_") {
			t.Errorf("%s: %s", what, text)
		}
		if got.header.Get("Set-Cookie") != "" {
			cookies++
		}
	}
	for _, route := range b.Routes() {
		for _, method := range []string{route.Method, http.MethodGet, http.MethodPost, http.MethodPut} {
			for _, bearer := range []string{b.tokens[8200].Reveal(), b.tokens[8201].Reveal(), "", b.tokens[8200].Reveal() + "x"} {
				look(method+" "+route.Path, b.ask(method, pathOf(route, 8200), bearer, bodyOf(route)))
			}
		}
	}
	for _, path := range []string{"/session", "/token", "/v2/token", "/guests/8200/token", "/bootstrap.json"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			got := b.ask(method, path, b.tokens[8200].Reveal(), "")
			if got.status != http.StatusNotFound {
				t.Errorf("%s %s: %d", method, path, got.status)
			}
			look(method+" "+path, got)
		}
	}
	for _, r := range b.Routes() {
		if r.Right != api.AnyGuest && r.Right != api.OwnGuest && r.Right != api.OwnImages {
			t.Errorf("%s %s has another right", r.Method, r.Path)
		}
	}
	if cookies > 0 || answers < 40 {
		t.Errorf("%d cookies in %d answers", cookies, answers)
	}
}
