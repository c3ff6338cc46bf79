//go:build integration

package lan_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// The attackers of the matrix, each with guest A's token: A itself, to compare
// with; a machine of the LAN, and guest B, as themselves and with A's address,
// A's MAC, and both.
var attackers = []string{"A", "LAN", "LAN, A's IP", "LAN, A's MAC", "LAN, both", "B, A's IP", "B, A's MAC", "B, both", "B"}

// refused is what the API answers to who is not the guest: for some seconds after
// a move, that it cannot say.
var refused = []int{403, 503}

// TestWhoReachesTheAPI is the matrix of measures and attackers: 200 reached all,
// 0 did not even connect.
func TestWhoReachesTheAPI(t *testing.T) {
	binary(t)
	ok, none := []int{200}, []int{0}
	const enforce, rules = "origin: enforce\n", "firewall: apply\n"
	for _, row := range []struct {
		name    string
		isFixed bool
		more    string
		to      []string
		want    [9][]int // of attackers
	}{
		{"bound to the bridge's address", true, "origin: observe\n", []string{hostAddress}, [9][]int{ok, ok, ok, ok, ok, ok, ok, ok, ok}},
		{"rules of port, MAC and address", true, "origin: off\n" + rules, []string{hostAddress, hostAddr6}, [9][]int{ok, none, none, none, none, none, none, none, ok}},
		{"rules of port and MAC", false, "origin: off\n" + rules, []string{hostAddress}, [9][]int{ok, none, none, none, none, ok, none, none, ok}},
		{"origin", false, enforce, []string{hostAddress, hostAddr6}, [9][]int{ok, refused, refused, refused, refused, refused, refused, refused, {403}}},
		{"origin and rules", true, enforce + rules, []string{hostAddress}, [9][]int{ok, none, none, none, none, none, none, none, {403}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel() // the rows wait for timeouts
			n := newNetwork(t, row.isFixed, row.more)
			for _, to := range row.to {
				for i, attacker := range attackers {
					n.attack(t, attacker, to, row.want[i])
				}
			}
		})
	}
}

// attack lets an attacker use A's token.
func (n *network) attack(t *testing.T, attacker, to string, want []int) {
	t.Helper()
	at, own := n.a, asA
	switch {
	case strings.HasPrefix(attacker, "LAN"):
		at, own = n.lan, asLAN
	case strings.HasPrefix(attacker, "B"):
		at, own = n.b, asB
	}
	both := strings.HasSuffix(attacker, "both")
	hasIP, hasMAC := both || strings.HasSuffix(attacker, "A's IP"), both || strings.HasSuffix(attacker, "A's MAC")
	now := own.mixed(asA, hasIP, hasMAC)
	if at != n.a && (hasIP || hasMAC) {
		// The guest is silent: its attacker has the best chance.
		n.a.Down(t, "eth0")
	}
	if now != own {
		n.be(t, at, own, now)
	}
	source := now.ip
	if to == hostAddr6 {
		source = now.ip6
	}
	n.reach(t, at, source, to)
	limit := patience
	if slices.Equal(want, []int{0}) {
		limit = time.Second // the host answers the open port at once
	}
	status, body := n.ask(t, at, source, to, n.token("8200"), "/guest", limit)
	if slices.Equal(want, []int{200}) && status == http.StatusServiceUnavailable {
		// An attacker before had its MAC or address: the guest is asked to try again.
		n.until(t, "the guest is served", func() error {
			if status, body = n.ask(t, at, source, to, n.token("8200"), "/guest", limit); status == http.StatusServiceUnavailable {
				return errors.New(body)
			}
			return nil
		})
	}
	if !slices.Contains(want, status) || status != 200 && strings.Contains(body, "8200") {
		t.Errorf("%s to %s: %d %s, want %v", attacker, to, status, body, want)
	}
	if now != own {
		n.be(t, at, now, own)
	}
	if at != n.a && (hasIP || hasMAC) {
		n.a.Up(t, "eth0")
		n.be(t, n.a, asA, asA) // the kernel took its IPv6 addresses
		n.reach(t, n.a, asA.ip, hostAddress)
	}
}

// The daemon makes its rules again when another program removed them, follows
// its guests, and leaves them alone with the command.
func TestTheDaemonKeepsItsRules(t *testing.T) {
	binary(t)
	t.Parallel()
	n := newNetwork(t, true, "origin: off\nfirewall: apply\n")
	state := func() string {
		var out struct{ State string }
		if err := json.Unmarshal([]byte(n.command(t, "firewall", "show", "--json")), &out); err != nil {
			t.Fatal(err)
		}
		return out.State
	}
	is := func(want string) func() error {
		return func() error {
			if got := state(); got != want {
				return errors.New(got)
			}
			return nil
		}
	}
	n.until(t, "rules of all guests", is("current"))
	n.command(t, "guest", "remove", "--force", "8202")
	n.until(t, "rules without the removed guest", is("current"))
	if table := n.command(t, "firewall", "show"); strings.Contains(table, "8202") || !strings.Contains(table, `"veth8201i0" . bc:24:11:00:00:0b . 192.0.2.11,`) {
		t.Errorf("rules:\n%s", table)
	}
	n.command(t, "firewall", "remove")
	if got := state(); got != "absent" {
		t.Errorf("after remove: %s", got)
	}
	n.untilIn(t, 3*time.Minute, "rules that are made again", is("current"))
	if !strings.Contains(n.log(t), "another program changed the rules") {
		t.Error("the log does not say that the rules were gone")
	}
}
