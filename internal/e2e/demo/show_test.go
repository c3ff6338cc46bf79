package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRedactShowsByAllowList(t *testing.T) {
	const text = `{
  "hub_url": "https://hub.example",
  "guest_id": 8200,
  "local_api_token": "geheim-1",
  "registry": {
    "host": "r.example",
    "username": "puller",
    "token": "geheim-2"
  },
  "added_later": "geheim-3",
  "numeric_later": 12345
}
`
	const want = `{
  "hub_url": "https://hub.example",
  "guest_id": 8200,
  "local_api_token": (hidden, 8 characters),
  "registry": {
    "host": "r.example",
    "username": "puller",
    "token": (hidden, 8 characters)
  },
  "added_later": (hidden, 8 characters),
  "numeric_later": (hidden, 5 characters)
}`
	got := redact(text)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("redacted (-want +got):\n%s", diff)
	}
	if strings.Contains(got, "geheim") {
		t.Error("a secret is shown")
	}
}

func TestCheckCountsAndCollects(t *testing.T) {
	var out strings.Builder
	d := &demo{stdout: &out}
	d.check(true, "one is %d", 1)
	d.check(false, "two is %d", 3)
	if d.checks != 2 || join(d.failed) != "two is 3" {
		t.Errorf("%d checks, failed %q", d.checks, d.failed)
	}
	if want := "  OK    one is 1\n  FAIL  two is 3\n"; out.String() != want {
		t.Errorf("printed %q, want %q", out.String(), want)
	}
}
