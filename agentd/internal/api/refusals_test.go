package api_test

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/agentd/internal/api"
	"github.com/felhom/felhom-golden/agentd/internal/identity"
	"github.com/felhom/felhom-golden/agentd/internal/origin"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/pin"
)

func sortRefusals(all []api.Refusal) []api.Refusal {
	slices.SortFunc(all, func(a, b api.Refusal) int {
		return cmp.Or(cmp.Compare(a.Status, b.Status), cmp.Compare(a.Error, b.Error))
	})
	return slices.Compact(all)
}

// documentedRefusals returns the refusals of openapi.yaml, by status.
func documentedRefusals(t *testing.T, doc, responses map[string]any) (all []api.Refusal) {
	t.Helper()
	named := doc["components"].(map[string]any)["responses"].(map[string]any)
	for status, response := range responses {
		code, err := strconv.Atoi(status)
		if err != nil {
			t.Fatalf("response %q, want a status each", status)
		}
		if code < 400 {
			continue
		}
		ref := response.(map[string]any)["$ref"].(string)
		schema := named[strings.TrimPrefix(ref, "#/components/responses/")].(map[string]any)["content"].(map[string]any)["application/json"].(map[string]any)["schema"].(map[string]any)
		for _, name := range schema["properties"].(map[string]any)["error"].(map[string]any)["enum"].([]any) {
			all = append(all, api.Refusal{Status: code, Error: name.(string)})
		}
	}
	return all
}

// Every operation of openapi.yaml has the refusals that its row of the route
// table can have; together they are all.
func TestOpenAPIHasEveryRefusal(t *testing.T) {
	doc := openAPI(t)
	all := documentedRefusals(t, doc, doc["x-other-requests"].(map[string]any)["responses"].(map[string]any))
	for _, r := range newBed(t).Routes() {
		operation := doc["paths"].(map[string]any)[r.Path].(map[string]any)[strings.ToLower(r.Method)].(map[string]any)
		got := documentedRefusals(t, doc, operation["responses"].(map[string]any))
		all = append(all, got...)
		for status, want := range map[int]bool{
			400: true, 401: true, 403: true, 404: false, 405: false, 413: r.MaxBody > 0, 415: r.MaxBody > 0, 417: true, 421: true,
			422: r.MaxBody > 0, 429: true, 431: true, 500: true, 501: true, 503: true, 505: true,
		} {
			if has := slices.ContainsFunc(got, func(g api.Refusal) bool { return g.Status == status }); has != want {
				t.Errorf("%s %s documents %d: %v, want %v", r.Method, r.Path, status, has, want)
			}
		}
	}
	if d := gocmp.Diff(sortRefusals(api.Refusals()), sortRefusals(all)); d != "" {
		t.Errorf("refusals of the code -, of openapi.yaml +:\n%s", d)
	}
}

func TestThePageHasEveryRefusal(t *testing.T) {
	page, err := os.ReadFile("../../../docs/local-api.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []api.Refusal
	for _, row := range regexp.MustCompile("(?m)^\\| ([0-9]{3}) \\| `([a-z-]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		status, _ := strconv.Atoi(row[1]) // three digits
		rows = append(rows, api.Refusal{Status: status, Error: row[2]})
	}
	if d := gocmp.Diff(sortRefusals(api.Refusals()), sortRefusals(rows)); d != "" {
		t.Errorf("refusals of the code -, of local-api.md +:\n%s", d)
	}
}

// faultyStorage panics, or has an error.
type faultyStorage struct{}

func (faultyStorage) Storage(_ context.Context, vmid int) ([]driver.Usage, error) {
	return nil, errors.New("no figures")
}

// panicking is a store whose reports panic.
type panicking struct{ api.Guests }

func (panicking) AddReport(context.Context, int, contract.Report) (bool, error) { panic("a mistake") }

// secured serves handler as the daemon does, and returns its address.
func secured(t *testing.T, handler func(hostPort string) http.Handler) string {
	t.Helper()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	id, err := identity.Files{Keys: root, Certificates: root}.Load(nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	complaints := log.New(io.Discard, "", 0)
	server := api.HTTP(handler(l.Addr().String()), complaints)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(api.TLS(l, pin.ServerTLS(id.Current), complaints)) }()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// The real server gives every refusal of the table, each as openapi.yaml has it
// for that path.
func TestTheServerGivesEveryRefusal(t *testing.T) {
	b := newBed(t, 8200)
	var addr string
	start := time.Now()
	now := func() time.Time { return start } // no allowance comes back, however slow the machine is
	serve := func(store api.Guests, reports int, checker api.Origin) func(string) http.Handler {
		return func(hostPort string) http.Handler {
			return api.New(api.Options{
				Origin: checker, EnforceOrigin: true,
				Guests: store, Storage: faultyStorage{}, HostID: "demo", Version: "v1", Hosts: []string{hostPort},
				ReportsPerMinute: reports, Now: now, Event: func(api.Event) {},
			})
		}
	}
	addr = secured(t, serve(b.store, 1, nil))
	faulty := secured(t, serve(panicking{b.store}, 1, nil))
	foreign := secured(t, serve(b.store, 1, foreign{origin.OtherPort}))
	good := "Authorization: Bearer " + b.tokens[8200].Reveal() + "\r\n"
	post := "Content-Type: application/json\r\nContent-Length: "
	doc := openAPI(t)
	schema := schemaOf(t, doc, "Problem")
	other := doc["x-other-requests"].(map[string]any)["responses"].(map[string]any)
	report := reportBody("run-1", 1)
	var given []api.Refusal
	for _, c := range []struct {
		line, rest string // {host} stands for the Host header
		want       int
		isPlain    bool
		isFaulty   bool
		isForeign  bool
	}{
		{line: "GET /guest HTTP/1.1", rest: "", want: 400},
		{line: "GET /guest HTTP/1.1", rest: "{host}", want: 400, isPlain: true},
		{line: "GET /guest HTTP/1.1", rest: "{host}Via: 1.1 proxy\r\n", want: 400},
		{line: "POST /reports HTTP/1.1", rest: "{host}" + good + "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", want: 400},
		{line: "GET /guest HTTP/1.1", rest: "{host}", want: 401},
		{line: "GET /guests/8201/storage HTTP/1.1", rest: "{host}" + good, want: 403},
		{line: "GET /storage HTTP/1.1", rest: "{host}" + good, want: 403, isForeign: true},
		{line: "GET /none HTTP/1.1", rest: "{host}" + good, want: 404},
		{line: "DELETE /guest HTTP/1.1", rest: "{host}" + good, want: 405},
		{line: "POST /reports HTTP/1.1", rest: "{host}" + good + post + "20000\r\n\r\n" + strings.Repeat(" ", 20000), want: 413},
		{line: "POST /reports HTTP/1.1", rest: "{host}" + good + "Content-Length: 2\r\n\r\n{}", want: 415},
		{line: "GET /storage HTTP/1.1", rest: "{host}Expect: wonders\r\n", want: 417},
		{line: "GET /storage HTTP/1.1", rest: "Host: other\r\n", want: 421},
		{line: "POST /reports HTTP/1.1", rest: "{host}" + good + post + "2\r\n\r\n{}", want: 422},
		{line: "POST /reports HTTP/1.1", rest: "{host}" + good + post + strconv.Itoa(len(report)) + "\r\n\r\n" + report, want: 429},
		{line: "GET /storage HTTP/1.1", rest: "{host}a: " + strings.Repeat("x", 9<<10) + "\r\n", want: 431},
		{line: "POST /reports HTTP/1.1", rest: "{host}" + good + post + strconv.Itoa(len(report)) + "\r\n\r\n" + report, want: 500, isFaulty: true},
		{line: "POST /reports HTTP/1.1", rest: "{host}Transfer-Encoding: gzip\r\n", want: 501},
		{line: "GET /storage HTTP/1.1", rest: "{host}" + good, want: 503},
		{line: "GET /guest HTTP/3.0", rest: "{host}", want: 505},
		{line: "GET /guest HTTP/1.1", rest: "{host}", want: 429}, // after more wrong tokens
	} {
		name := fmt.Sprint(c.line, " ", c.want, len(given))
		if c.want == 429 && !strings.HasPrefix(c.line, "POST") {
			for range 20 {
				exchange(t, addr, "GET /guest HTTP/1.1\r\nHost: "+addr+"\r\n\r\n", false)
			}
		}
		at := addr
		if c.isFaulty {
			at = faulty
		}
		if c.isForeign {
			at = foreign
		}
		rest := strings.ReplaceAll(c.rest, "{host}", "Host: "+at+"\r\n")
		if !strings.Contains(rest, "\r\n\r\n") {
			rest += "\r\n"
		}
		status, body := exchange(t, at, c.line+"\r\n"+rest, c.isPlain)
		var problem contract.Problem
		if err := json.Unmarshal(body, &problem); err != nil || status != c.want {
			t.Errorf("%s: %d %q, %v", name, status, body, err)
			continue
		}
		assertValid(t, schema, string(body))
		got := api.Refusal{Status: status, Error: problem.Error}
		given = append(given, got)
		responses := other
		method, path, _ := strings.Cut(strings.TrimSuffix(c.line, " HTTP/1.1"), " ")
		path = strings.ReplaceAll(strings.TrimSuffix(path, " HTTP/3.0"), "8201", "{vmid}")
		if item, ok := doc["paths"].(map[string]any)[path].(map[string]any); ok && item[strings.ToLower(method)] != nil {
			responses = item[strings.ToLower(method)].(map[string]any)["responses"].(map[string]any)
		}
		if !slices.Contains(documentedRefusals(t, doc, responses), got) {
			t.Errorf("%s: openapi.yaml has no %d %q there", name, got.Status, got.Error)
		}
	}
	if d := gocmp.Diff(sortRefusals(api.Refusals()), sortRefusals(given)); d != "" {
		t.Errorf("refusals of the code -, given +:\n%s", d)
	}
}

// exchange sends a request and returns the answer.
func exchange(t *testing.T, addr, request string, isPlain bool) (status int, body []byte) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if !isPlain {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err = io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, body
}
