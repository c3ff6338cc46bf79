package api_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/contract"
)

// A blob is passed on as a registry sent it, also if a part of it has the form of an
// answer of net/http itself. Those get the form of all others, later on the same
// connection too.
func TestABodyIsNotTakenForAnAnswer(t *testing.T) {
	const plain = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request"
	parts := []string{"blob", "HTTP/1.1 417 \r\n", plain, "HTTP/1.1 417 Expectation Failed\r\nConnection: close\r\n\r\n"}
	want := ""
	for _, part := range parts {
		want += part
	}
	addr := secured(t, func(string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(want)))
			for i, part := range parts {
				if _, err := io.WriteString(w, part); err != nil {
					t.Error(err)
				}
				if i == len(parts)-1 {
					return // net/http writes the last part
				}
				if err := http.NewResponseController(w).Flush(); err != nil {
					t.Error(err)
				}
			}
		})
	})
	conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(conn)
	exchange := func(header string) (status int, body []byte) {
		t.Helper()
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: "+addr+"\r\n"+header+"\r\n"); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err = io.ReadAll(res.Body)
		if err != nil {
			t.Errorf("%d, %q: %v", res.StatusCode, body, err)
		}
		_ = res.Body.Close() // it was read
		return res.StatusCode, body
	}
	for range 2 {
		if status, body := exchange(""); status != http.StatusOK || string(body) != want {
			t.Errorf("%d, %q, want %q", status, body, want)
		}
	}
	status, body := exchange("Expect: wonders\r\n")
	var problem contract.Problem
	if err := json.Unmarshal(body, &problem); err != nil || status != http.StatusExpectationFailed || problem.Error != "expectation-failed" {
		t.Errorf("%d, %q, %v, want 417 in JSON", status, body, err)
	}
}
