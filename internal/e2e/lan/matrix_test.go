package lan_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// The attackers of the matrix, each with guest A's token: A itself, to compare
// with; a machine of the LAN, and guest B, as themselves and with A's address,
// A's MAC, and both. TestWhoReachesTheAPI has a subtest of each for each measure.
var attackers = []string{"A", "LAN", "LAN, A's IP", "LAN, A's MAC", "LAN, both", "B, A's IP", "B, A's MAC", "B, both", "B"}

// What an attacker gets.
const (
	ok   = "200"
	no   = "403"
	none = "-" // not even a connection
)

// measure is one row of the matrix of docs/security.md.
type measure struct {
	name    string
	isFixed bool   // the guests have fixed addresses
	more    string // in the configuration of the daemon
	isIPv6  bool   // over IPv6 too
	want    [9]string
}

var measures = []measure{
	{"listening on the bridge's address", true, "origin: observe\n", false, [9]string{ok, ok, ok, ok, ok, ok, ok, ok, ok}},
	{"rules, addresses by DHCP", false, "origin: off\nfirewall: apply\n", false, [9]string{ok, none, none, none, none, ok, none, none, ok}},
	{"rules, fixed addresses", true, "origin: off\nfirewall: apply\n", true, [9]string{ok, none, none, none, none, none, none, none, ok}},
	{"origin: enforce", false, "origin: enforce\n", true, [9]string{ok, no, no, no, no, no, no, no, no}},
	{"origin: enforce, and rules, fixed addresses", true, "origin: enforce\nfirewall: apply\n", false, [9]string{ok, none, none, none, none, none, none, none, no}},
}

// The page shows the matrix that is tested, and no other row.
func TestThePageShowsTheMatrix(t *testing.T) {
	var want []string
	for _, m := range measures {
		w := m.want
		want = append(want, fmt.Sprintf("| %s | %s | %s | %s | %s | %s |", m.name, w[0], w[1], strings.Join(w[2:5], " / "), strings.Join(w[5:8], " / "), w[8]))
	}
	got := table(t, "../../../docs/security.md", "| measure |")
	if !slices.Equal(got, want) {
		t.Errorf("docs/security.md has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// table returns the rows of the table of a page whose first line begins with head.
func table(t *testing.T, page, head string) (rows []string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, after, isThere := strings.Cut(string(text), "\n"+head)
	if !isThere {
		t.Fatalf("%s has no table that begins with %q", page, head)
	}
	for i, line := range strings.Split(after, "\n") {
		if i > 0 && !strings.HasPrefix(line, "|") {
			break
		}
		if i > 1 { // after the heads and their line
			rows = append(rows, line)
		}
	}
	return rows
}
