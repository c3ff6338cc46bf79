// Package acceptance has the acceptance table of the channel between guest and
// host, T1 to T4: call [Cases], then [Case.Ask], which uses curl as the first
// acceptance did. It imports nothing of the product.
package acceptance

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"github.com/felhom/felhom-golden/internal/driver/run"
)

// Case is one row of the table.
type Case struct {
	Name, What string
	Path       string
	Want       Answer
	pin, token string
}

// Answer is what curl got.
type Answer struct {
	Exit   int // of curl
	Status int // of HTTP; 0: no answer
}

// String is "200", or "curl 90" if there is no answer.
func (a Answer) String() string {
	if a.Exit != 0 {
		return "curl " + strconv.Itoa(a.Exit)
	}
	return strconv.Itoa(a.Status)
}

// pinMismatch is curl's exit status when --pinnedpubkey does not match.
const pinMismatch = 90

// Cases returns the table for guest vmid, whose token is own, on a host with
// that SPKI pin (sha256//…); others is the token of another guest.
func Cases(vmid int, pin, own, others string) []Case {
	wrong := sha256.Sum256([]byte("some other key"))
	wrongPin := "sha256//" + base64.StdEncoding.EncodeToString(wrong[:])
	return []Case{
		{"T1", "right pin, own token", "/storage", Answer{Status: 200}, pin, own},
		{"T2", "right pin, no token", "/storage", Answer{Status: 401}, pin, ""},
		{"T3", "right pin, another guest's token", fmt.Sprintf("/guests/%d/storage", vmid), Answer{Status: 403}, pin, others},
		{"T4", "wrong pin, valid token", "/storage", Answer{Exit: pinMismatch}, wrongPin, own},
	}
}

// Stolen returns a case for a host that enforces the origin of requests: a valid
// token that is used from elsewhere than from its guest.
func Stolen(name, what, pin, token string) Case {
	return Case{name, what, "/storage", Answer{Status: 403}, pin, token}
}

// Ask asks the host at endpoint. within changes the command line, for example
// to run it in a guest's network; nil changes nothing. The token goes to curl
// on its standard input: every user can read arguments.
func (c Case) Ask(ctx context.Context, endpoint string, within func(argv ...string) ([]string, error)) (got Answer, body string, err error) {
	config := ""
	if c.token != "" {
		config = fmt.Sprintf("header = \"Authorization: Bearer %s\"\n", c.token)
	}
	argv := []string{
		"curl", "--silent", "--max-time", "60", "--insecure", "--pinnedpubkey", c.pin, "--config", "-", "--write-out", "\n%{http_code}", endpoint + c.Path,
	}
	if within != nil {
		if argv, err = within(argv...); err != nil {
			return Answer{}, "", err
		}
	}
	res, err := run.Run(ctx, run.Cmd{Path: argv[0], Args: argv[1:], Stdin: strings.NewReader(config)})
	if err != nil && (res.ExitCode <= 0 || ctx.Err() != nil) {
		return Answer{}, "", err // it did not run; curl's own exit status is a result
	}
	out := string(res.Stdout)
	end := strings.LastIndexByte(out, '\n')
	if end < 0 {
		return Answer{}, "", fmt.Errorf("curl wrote %q, want a body and a status", out)
	}
	status, err := strconv.Atoi(out[end+1:])
	return Answer{Exit: res.ExitCode, Status: status}, out[:end], err
}
