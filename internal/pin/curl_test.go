package pin_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/pin"
)

// The exit codes of curl in the table.
const (
	curlOK          = 0
	curlTLSConnect  = 35
	curlUnverified  = 60
	curlPinMismatch = 90
)

// Every row of the table of curl's behaviour, with the real curl: what Set
// prints must be what curl accepts, and what ParseSPKI refuses must be what
// curl refuses.
func TestCurlAgainstServer(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Fatal("curl is missing; install it: the pins of this package are made for it")
	}
	const ownToken, otherToken = "guest-8200-token", "guest-8201-token"
	// The key is chosen so that its pin has a character that the url-safe
	// alphabet changes: otherwise that row would be the right pin.
	var cert tls.Certificate
	for own := ""; !strings.ContainsAny(own, "+/"); own = pin.SPKIOf(cert.Leaf).Base64() {
		cert = selfSigned(t, newKey(t))
	}
	other := selfSigned(t, newKey(t))
	right, wrong := pin.SPKIOf(cert.Leaf), pin.SPKIOf(other.Leaf)
	srv := startServer(t, pin.ServerTLS(cert), func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("Authorization") {
		case "Bearer " + ownToken:
		case "Bearer " + otherToken:
			w.WriteHeader(http.StatusForbidden)
		default:
			w.WriteHeader(http.StatusUnauthorized)
		}
	})

	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	spkiDER, err := x509.MarshalPKIXPublicKey(cert.Leaf.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	derFile := write("key.der", spkiDER)
	pemFile := write("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spkiDER}))
	leafFile := write("leaf.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}))

	curlForm := pin.Set{right}.Curl()
	hash := right.Base64()
	sum := sha256.Sum256(spkiDER)
	urlSafe := strings.NewReplacer("+", "-", "/", "_").Replace(hash)

	insecure := []string{"--insecure"}
	tests := []struct {
		name     string
		pins     string // --pinnedpubkey
		token    string
		options  []string
		wantExit int
		wantHTTP string
		refused  bool // ParseSPKI must refuse this text as well
	}{
		{name: "T1 right pin, own token", pins: curlForm, token: ownToken, options: insecure, wantHTTP: "200"},
		{name: "T2 right pin, no token", pins: curlForm, options: insecure, wantHTTP: "401"},
		{name: "T3 right pin, other guest's token", pins: curlForm, token: otherToken, options: insecure, wantHTTP: "403"},
		{name: "T4 wrong pin, own token", pins: pin.Set{wrong}.Curl(), token: ownToken, options: insecure, wantExit: curlPinMismatch},
		{name: "two pins, second matches", pins: pin.Set{wrong, right}.Curl(), token: ownToken, options: insecure, wantHTTP: "200"},
		{name: "two pins, first matches", pins: pin.Set{right, pin.LeafOf(cert.Leaf), wrong}.Curl(), token: ownToken, options: insecure, wantHTTP: "200"},
		{name: "pem file", pins: pemFile, token: ownToken, options: insecure, wantHTTP: "200"},
		{name: "der file", pins: derFile, token: ownToken, options: insecure, wantHTTP: "200"},
		{name: "no padding", pins: strings.TrimRight(curlForm, "="), token: ownToken, options: insecure, wantExit: curlPinMismatch, refused: true},
		{name: "hex", pins: "sha256//" + hex.EncodeToString(sum[:]), token: ownToken, options: insecure, wantExit: curlPinMismatch, refused: true},
		{name: "url-safe alphabet", pins: "sha256//" + urlSafe, token: ownToken, options: insecure, wantExit: curlPinMismatch, refused: true},
		{name: "blank after prefix", pins: "sha256// " + hash, token: ownToken, options: insecure, wantExit: curlPinMismatch, refused: true},
		{name: "one slash", pins: "sha256/" + hash, token: ownToken, options: insecure, wantExit: curlPinMismatch, refused: true},
		{name: "upper-case scheme", pins: "SHA256//" + hash, token: ownToken, options: insecure, wantExit: curlPinMismatch, refused: true},
		{name: "trailing semicolon", pins: curlForm + ";", token: ownToken, options: insecure, wantExit: curlPinMismatch, refused: true},
		{name: "empty string", pins: "", token: ownToken, options: insecure, wantExit: curlPinMismatch, refused: true},
		{name: "prefix alone", pins: "sha256//", token: ownToken, options: insecure, wantExit: curlPinMismatch, refused: true},
		{name: "missing file", pins: filepath.Join(dir, "missing.pem"), token: ownToken, options: insecure, wantExit: curlPinMismatch, refused: true},
		{name: "self-signed and verified", pins: curlForm, token: ownToken, wantExit: curlUnverified},
		{name: "verified against the leaf", pins: curlForm, token: ownToken, options: []string{"--cacert", leafFile}, wantHTTP: "200"},
		{name: "client of TLS 1.2", pins: curlForm, token: ownToken, options: []string{"--insecure", "--tls-max", "1.2"}, wantExit: curlTLSConnect},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := srv.requests.Load()
			args := append([]string{
				"--disable", "--silent", "--noproxy", "*", "--max-time", "10", "--output", os.DevNull, "--write-out", "%{http_code}",
				"--config", "-", "--pinnedpubkey", tt.pins,
			}, tt.options...)
			exit, out := runCurl(t, curl, append(args, srv.URL), tt.token)
			if tt.wantHTTP == "" {
				tt.wantHTTP = "000"
			}
			if exit != tt.wantExit || out != tt.wantHTTP {
				t.Errorf("got exit %d and status %s, want %d and %s", exit, out, tt.wantExit, tt.wantHTTP)
			}
			if sent := srv.requests.Load() != before; sent != (tt.wantExit == curlOK) {
				t.Errorf("request sent: %v; want one exactly when curl exits 0", sent)
			}
			if tt.refused {
				if p, err := pin.ParseSPKI(tt.pins); err == nil {
					t.Errorf("ParseSPKI took for %v what curl refuses", p)
				}
			}
		})
	}
}

// runCurl keeps the token out of the arguments, as every script should.
func runCurl(t *testing.T, curl string, args []string, token string) (exit int, stdout string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, curl, args...)
	if token != "" {
		cmd.Stdin = strings.NewReader("header = \"Authorization: Bearer " + token + "\"\n")
	}
	var out bytes.Buffer
	cmd.Stdout = &out
	err := cmd.Run()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		return failed.ExitCode(), out.String()
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0, out.String()
}
