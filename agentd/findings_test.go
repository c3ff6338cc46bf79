package main

import (
	"errors"
	"testing"
)

func TestFindingsNameTheGuestOnce(t *testing.T) {
	for about, want := range map[string]string{
		"guest 8200":                "guest 8200: look: not ready",
		"guests.yaml:3: guest 8200": "guests.yaml:3: guest 8200: look: not ready",
		"guests.yaml:3: guest 820":  "guests.yaml:3: guest 820: guest 8200: look: not ready",
		"":                          "guest 8200: look: not ready",
	} {
		var f findings
		f.add(about, errors.New("guest 8200: look: not ready"))
		if len(f) != 1 || f[0].Error() != want {
			t.Errorf("%q: got %v, want %s", about, f, want)
		}
	}
	var f findings
	f.add("guests.yaml:3: guest 8200", errors.New("ip: no route"))
	if want := "guests.yaml:3: guest 8200: ip: no route"; f[0].Error() != want {
		t.Errorf("got %v, want %s", f, want)
	}
}
