//go:build integration

package firewall_test

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/agentd/internal/firewall"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/e2e/lan"
)

// nft runs the program of Debian's nftables in a namespace.
func nft(t *testing.T, n *lan.Namespace, input string, args ...string) string {
	t.Helper()
	var out []byte
	err := n.Do(func() (err error) {
		cmd := exec.CommandContext(t.Context(), "nft", args...)
		cmd.Stdin = strings.NewReader(input)
		out, err = cmd.CombinedOutput()
		return err
	})
	if err != nil {
		t.Fatalf("nft %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func apply(t *testing.T, n *lan.Namespace, p firewall.Plan) {
	t.Helper()
	if err := n.Do(func() error { return firewall.Apply(p) }); err != nil {
		t.Fatal(err)
	}
}

func wantState(t *testing.T, n *lan.Namespace, p firewall.Plan, want firewall.State, why string) {
	t.Helper()
	err := n.Do(func() error {
		got, what, err := firewall.Look(p)
		if got != want || err != nil || (what != "") != (want == firewall.Differs) {
			return errors.Join(err, fmt.Errorf("%s: state %q (%s), want %q", why, got, what, want))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func guest(vmid int) firewall.Guest {
	return firewall.Guest{VMID: vmid, Interfaces: []driver.Interface{
		nic(fmt.Sprintf("BC:24:11:00:%02X:%02X", vmid/256, vmid%256), "", "2001:db8::10/64", fmt.Sprintf("veth%di0", vmid), fmt.Sprintf("fwpr%dp0", vmid)),
	}}
}

// Each way in which the table can be lost or changed shows, and is undone by
// Apply; other tables stay as they are.
func TestTableIsKept(t *testing.T) {
	n := lan.NewNamespace(t)
	const others = "table bridge filter {\n\tchain input {\n\t\ttype filter hook input priority filter; policy accept;\n\t\ttcp dport 22 accept\n\t}\n}\n" +
		"table inet felhom_agentd {\n}\n"
	nft(t, n, others, "-f", "-")
	before := nft(t, n, "", "list", "ruleset")
	p := plan(t, addresses("192.0.2.1:8443", "[2001:db8::1]:8443"), guest(8200), guest(8201))
	wantState(t, n, p, firewall.Absent, "nothing was applied")
	for range 2 {
		apply(t, n, p)
		wantState(t, n, p, firewall.Current, "applied")
	}
	for why, change := range map[string]string{
		"a set is empty":          "flush set bridge felhom_agentd guests4",
		"an entry more":           `add element bridge felhom_agentd guests6 { "eno1" . 02:00:00:00:00:01 . ::/0 }`,
		"an entry less":           `delete element bridge felhom_agentd guests4 { "veth8200i0" . bc:24:11:00:20:08 . 0.0.0.0/0 }`,
		"no rules":                "flush chain bridge felhom_agentd input",
		"a rule before the rules": "insert rule bridge felhom_agentd input accept",
		"a rule more":             "add rule bridge felhom_agentd input accept",
		"another table":           "delete table bridge felhom_agentd\nadd table bridge felhom_agentd",
		"a policy":                "delete table bridge felhom_agentd\nadd table bridge felhom_agentd\nadd chain bridge felhom_agentd input { type filter hook input priority 7; }",
		"a rule replaced":         "replace rule bridge felhom_agentd input handle HANDLE accept comment \"COMMENT\"",
	} {
		if strings.Contains(change, "HANDLE") {
			list := nft(t, n, "", "-a", "list", "chain", "bridge", "felhom_agentd", "input")
			handle := regexp.MustCompile(`dport.*# handle ([0-9]+)`).FindStringSubmatch(list)
			if handle == nil {
				t.Fatalf("no rule in\n%s", list)
			}
			_, text, _ := strings.Cut(p.Text(), "comment \"")
			comment, _, _ := strings.Cut(text, "\"")
			change = strings.NewReplacer("HANDLE", handle[1], "COMMENT", comment).Replace(change)
		}
		nft(t, n, change, "-f", "-")
		wantState(t, n, p, firewall.Differs, why)
		apply(t, n, p)
		wantState(t, n, p, firewall.Current, "after "+why)
	}
	wantState(t, n, plan(t, addresses("192.0.2.1:8443", "[2001:db8::1]:8443"), guest(8200)), firewall.Differs, "a guest less")
	wantState(t, n, plan(t, addresses("192.0.2.2:8443", "[2001:db8::1]:8443"), guest(8200), guest(8201)), firewall.Differs, "another address")
	for range 2 {
		if err := n.Do(firewall.Remove); err != nil {
			t.Fatal(err)
		}
		if after := nft(t, n, "", "list", "ruleset"); after != before {
			t.Errorf("remove leaves something, or takes something else away. Before:\n%safter:\n%s", before, after)
		}
	}
}

// The text that is shown is the table that is applied.
func TestTextIsTheTable(t *testing.T) {
	n := lan.NewNamespace(t)
	p := plan(t, addresses("192.0.2.1:8443", "[2001:db8::1]:8443"), guest(8200), guest(8201))
	apply(t, n, p)
	applied := nft(t, n, "", "list", "table", "bridge", "felhom_agentd")
	if err := n.Do(firewall.Remove); err != nil {
		t.Fatal(err)
	}
	nft(t, n, p.Text(), "-f", "-")
	if loaded := nft(t, n, "", "list", "table", "bridge", "felhom_agentd"); loaded != applied {
		t.Errorf("from the text:\n%sapplied:\n%s", loaded, applied)
	}
}

// As many guests as a host can have.
func TestThousandGuests(t *testing.T) {
	n := lan.NewNamespace(t)
	var guests []firewall.Guest
	for vmid := range 1000 {
		guests = append(guests, guest(8000+vmid))
	}
	p := plan(t, addresses("192.0.2.1:8443"), guests...)
	apply(t, n, p)
	wantState(t, n, p, firewall.Current, "applied")
}
