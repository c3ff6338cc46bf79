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

// answers are what each word of the matrix stands for. For some seconds after a
// move, the API answers that it cannot say who asks; guest B as itself has not moved.
func answers(want, attacker string) []int {
	switch {
	case want == none:
		return []int{0}
	case want == ok:
		return []int{http.StatusOK}
	case attacker == "B":
		return []int{http.StatusForbidden}
	}
	return []int{http.StatusForbidden, http.StatusServiceUnavailable}
}

// TestWhoReachesTheAPI is the matrix of measures and attackers.
func TestWhoReachesTheAPI(t *testing.T) {
	binary(t)
	for _, m := range measures {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel() // the rows wait for timeouts
			n := newNetwork(t, m.isFixed, m.more)
			to := []string{hostAddress}
			if m.isIPv6 {
				to = append(to, hostAddr6)
			}
			for i, attacker := range attackers {
				t.Run(attacker, func(t *testing.T) {
					for _, address := range to {
						n.attack(t, attacker, address, answers(m.want[i], attacker))
					}
				})
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
