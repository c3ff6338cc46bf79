package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"github.com/felhom/felhom-golden/internal/driver/run"
)

// acceptance is one row of the table that the channel was accepted by.
type acceptance struct {
	name, what string
	path       string
	pin, token string
	wantExit   int
	wantStatus int // 0: no answer
}

// curlPinMismatch is curl's exit status when --pinnedpubkey does not match.
const curlPinMismatch = 90

func rows(h *hostSide) []acceptance {
	wrong := sha256.Sum256([]byte("some other key"))
	wrongPin := "sha256//" + base64.StdEncoding.EncodeToString(wrong[:])
	own, others := h.secrets[vmid], h.secrets[other]
	return []acceptance{
		{"T1", "right pin, own token", "/storage", h.pin, own, 0, 200},
		{"T2", "right pin, no token", "/storage", h.pin, "", 0, 401},
		{"T3", "right pin, another guest's token", "/guests/" + vmid + "/storage", h.pin, others, 0, 403},
		{"T4", "wrong pin, valid token", "/storage", wrongPin, own, curlPinMismatch, 0},
	}
}

// table asks the daemon what the proof of concept asked it. The token goes to
// curl on its standard input: arguments are for everybody to read.
func (d *demo) table(ctx context.Context, h *hostSide) error {
	d.say("$ curl --insecure --pinnedpubkey PIN --config - %s/storage     (the token is in the config on stdin)\n", h.Endpoint)
	d.say("      %-3s %-34s %-22s %-10s %-10s", "", "case", "path", "want", "got")
	var first string
	for _, r := range rows(h) {
		exitCode, status, body, err := curl(ctx, h.Endpoint+r.path, r.pin, r.token)
		if err != nil {
			return err
		}
		want, got := outcome(r.wantExit, r.wantStatus), outcome(exitCode, status)
		d.check(want == got, "%-3s %-34s %-22s %-10s %-10s", r.name, r.what, r.path, want, got)
		if r.name == "T1" {
			first = body
		}
	}
	d.say("\nT1's answer:  %s", strings.TrimSpace(first))
	return nil
}

func outcome(exitCode, status int) string {
	if exitCode != 0 {
		return "curl " + strconv.Itoa(exitCode)
	}
	return strconv.Itoa(status)
}

func curl(ctx context.Context, url, pin, token string) (exitCode, status int, body string, err error) {
	config := ""
	if token != "" {
		config = fmt.Sprintf("header = \"Authorization: Bearer %s\"\n", token)
	}
	res, err := run.Run(ctx, run.Cmd{
		Path: "curl",
		Args: []string{
			"--silent", "--max-time", "10", "--insecure", "--pinnedpubkey", pin, "--config", "-",
			"--write-out", "\n%{http_code}", url,
		},
		Stdin: strings.NewReader(config),
	})
	if err != nil && (res.ExitCode <= 0 || ctx.Err() != nil) {
		return 0, 0, "", err // did not run; a status of its own is an outcome
	}
	out := string(res.Stdout)
	end := strings.LastIndexByte(out, '\n')
	if end < 0 {
		return 0, 0, "", fmt.Errorf("curl wrote %q, want a body and a status", out)
	}
	status, err = strconv.Atoi(out[end+1:])
	return res.ExitCode, status, out[:end], err
}
