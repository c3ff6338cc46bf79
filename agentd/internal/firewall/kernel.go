package firewall

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// State is how the kernel's table compares with a plan.
type State string

// The states.
const (
	Absent  State = "absent"
	Differs State = "differs"
	Current State = "current"
)

// maxName is the length of an interface's name, without its NUL.
const maxName = unix.IFNAMSIZ - 1

// priority is that of "filter" in the family bridge.
const priority = nftables.ChainPriority(-200)

// Where a rule loads what it looks up, as the kernel numbers it: two registers of
// 16 bytes, and the last 8 bytes of the second as those of 4 bytes.
const (
	registerPort    = unix.NFT_REG_1
	registerMAC     = unix.NFT_REG_2
	registerAddress = unix.NFT_REG32_06
	registerScratch = registerPort // for what is compared before
)

// messageBuffer is enough for maxEntries.
const messageBuffer = 32 << 20

func connect() (*nftables.Conn, error) {
	// A change is one message, however many guests there are.
	c, err := nftables.New(nftables.WithSockOptions(func(conn *netlink.Conn) error {
		return errors.Join(conn.SetWriteBuffer(messageBuffer), conn.SetReadBuffer(messageBuffer))
	}))
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	return c, nil
}

func table() *nftables.Table {
	return &nftables.Table{Name: Table, Family: nftables.TableFamilyBridge}
}

// Apply makes the table that of the plan, whatever it was, in one step: at no
// time is it missing. The caller needs CAP_NET_ADMIN.
func Apply(p Plan) error {
	c, err := connect()
	if err != nil {
		return err
	}
	t := c.AddTable(table()) // so that there is one to delete
	c.DelTable(t)
	t = c.AddTable(table())
	set4, err := addSet(c, t, set4Name, nftables.TypeIPAddr, p.entries(false))
	if err != nil {
		return err
	}
	set6, err := addSet(c, t, set6Name, nftables.TypeIP6Addr, p.entries(true))
	if err != nil {
		return err
	}
	accept, prio := nftables.ChainPolicyAccept, priority
	chain := c.AddChain(&nftables.Chain{
		Name: chainName, Table: t, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookInput, Priority: &prio, Policy: &accept,
	})
	mark := userdata.AppendString(nil, userdata.TypeComment, p.comment())
	for _, a := range p.Listen {
		set := set4
		if a.Addr().Is6() {
			set = set6
		}
		c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: drop(a, set), UserData: mark})
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("nftables: replace table bridge %s: %w", Table, err)
	}
	return nil
}

func addSet(c *nftables.Conn, t *nftables.Table, name string, address nftables.SetDatatype, entries []Entry) (*nftables.Set, error) {
	kind, err := nftables.ConcatSetType(nftables.TypeIFName, nftables.TypeEtherAddr, address)
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	set := &nftables.Set{Table: t, Name: name, KeyType: kind, Interval: true, Concatenation: true}
	if err := c.AddSet(set, nil); err != nil {
		return nil, fmt.Errorf("nftables: set %s: %w", name, err)
	}
	// Elements in portions: one message holds 64 KiB.
	for part := range slices.Chunk(entries, 200) {
		elements, err := elementsOf(part)
		if err != nil {
			return nil, err
		}
		if err := c.SetAddElements(set, elements); err != nil {
			return nil, fmt.Errorf("nftables: set %s: %w", name, err)
		}
	}
	return set, nil
}

func elementsOf(entries []Entry) ([]nftables.SetElement, error) {
	var out []nftables.SetElement
	for _, e := range entries {
		mac, err := net.ParseMAC(e.MAC)
		if err != nil {
			return nil, fmt.Errorf("nftables: guest %d: %w", e.Guest, err)
		}
		head := make([]byte, unix.IFNAMSIZ+8)
		copy(head, e.Port)
		copy(head[unix.IFNAMSIZ:], mac)
		first := e.Addresses.Masked().Addr().AsSlice()
		last := slices.Clone(first)
		for bit := e.Addresses.Bits(); bit < 8*len(last); bit++ {
			last[bit/8] |= 0x80 >> (bit % 8)
		}
		out = append(out, nftables.SetElement{Key: slices.Concat(head, first), KeyEnd: slices.Concat(head, last)})
	}
	return out, nil
}

// drop returns the rule of one address of the local API.
func drop(a netip.AddrPort, set *nftables.Set) []expr.Any {
	protocol, source, target, length := uint16(unix.ETH_P_IP), uint32(12), uint32(16), uint32(4)
	if a.Addr().Is6() {
		protocol, source, target, length = unix.ETH_P_IPV6, 8, 24, 16
	}
	is := func(value []byte) expr.Any {
		return &expr.Cmp{Op: expr.CmpOpEq, Register: registerScratch, Data: value}
	}
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: registerScratch},
		is(binaryutil.BigEndian.PutUint16(protocol)),
		&expr.Payload{DestRegister: registerScratch, Base: expr.PayloadBaseNetworkHeader, Offset: target, Len: length},
		is(a.Addr().AsSlice()),
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: registerScratch},
		is([]byte{unix.IPPROTO_TCP}),
		&expr.Payload{DestRegister: registerScratch, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		is(binaryutil.BigEndian.PutUint16(a.Port())),
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: registerPort},
		&expr.Payload{DestRegister: registerMAC, Base: expr.PayloadBaseLLHeader, Offset: 6, Len: 6},
		&expr.Payload{DestRegister: registerAddress, Base: expr.PayloadBaseNetworkHeader, Offset: source, Len: length},
		&expr.Lookup{SourceRegister: registerPort, SetName: set.Name, SetID: set.ID, Invert: true},
		&expr.Counter{},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}
}

// Remove removes the table. Without one it does nothing.
func Remove() error {
	c, err := connect()
	if err != nil {
		return err
	}
	t := c.AddTable(table())
	c.DelTable(t)
	if err := c.Flush(); err != nil {
		return fmt.Errorf("nftables: remove table bridge %s: %w", Table, err)
	}
	return nil
}

// Look compares the kernel's table with a plan. what says in what they differ.
// The caller needs CAP_NET_ADMIN.
func Look(p Plan) (state State, what string, err error) {
	c, err := connect()
	if err != nil {
		return "", "", err
	}
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyBridge)
	if err != nil {
		return "", "", fmt.Errorf("nftables: %w", err)
	}
	if !slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == Table }) {
		return Absent, "", nil
	}
	var differences []string
	for _, part := range []func(*nftables.Conn, Plan) (string, error){lookChain, lookRules, lookSet(set4Name, false), lookSet(set6Name, true)} {
		difference, err := part(c, p)
		// What was removed since the list was read is a difference.
		if errors.Is(err, unix.ENOENT) {
			difference, err = "a part of it is missing", nil
		}
		if err != nil {
			return "", "", fmt.Errorf("nftables: %w", err)
		}
		if difference != "" && !slices.Contains(differences, difference) {
			differences = append(differences, difference)
		}
	}
	if len(differences) > 0 {
		return Differs, strings.Join(differences, ", "), nil
	}
	return Current, "", nil
}

func lookChain(c *nftables.Conn, _ Plan) (string, error) {
	all, err := c.ListChainsOfTableFamily(nftables.TableFamilyBridge)
	if err != nil {
		return "", err
	}
	for _, chain := range all {
		if chain.Table.Name == Table && chain.Name == chainName && chain.Type == nftables.ChainTypeFilter &&
			isPointTo(chain.Hooknum, *nftables.ChainHookInput) && isPointTo(chain.Priority, priority) && isPointTo(chain.Policy, nftables.ChainPolicyAccept) {
			return "", nil
		}
	}
	return "chain " + chainName, nil
}

func isPointTo[T comparable](p *T, want T) bool { return p != nil && *p == want }

func lookRules(c *nftables.Conn, p Plan) (string, error) {
	rules, err := c.GetRules(table(), &nftables.Chain{Name: chainName})
	if err != nil {
		return "", err
	}
	mark := userdata.AppendString(nil, userdata.TypeComment, p.comment())
	if len(rules) != len(p.Listen) {
		return fmt.Sprintf("%d rules, want %d", len(rules), len(p.Listen)), nil
	}
	for i, r := range rules {
		if !bytes.Equal(r.UserData, mark) || !isDrop(r.Exprs, p.Listen[i]) {
			return "the rules", nil
		}
	}
	return "", nil
}

// isDrop reports whether the expressions are those of drop, but for the numbers
// that the kernel gives and counts.
func isDrop(got []expr.Any, a netip.AddrPort) bool {
	name := set4Name
	if a.Addr().Is6() {
		name = set6Name
	}
	want := drop(a, &nftables.Set{Name: name})
	return slices.EqualFunc(got, want, func(g, w expr.Any) bool {
		switch g := g.(type) {
		case *expr.Counter:
			_, ok := w.(*expr.Counter)
			return ok
		case *expr.Lookup:
			l, ok := w.(*expr.Lookup)
			return ok && g.SetName == l.SetName && g.Invert == l.Invert && g.SourceRegister == l.SourceRegister
		}
		x, err := expr.Marshal(unix.NFPROTO_BRIDGE, g)
		y, wantErr := expr.Marshal(unix.NFPROTO_BRIDGE, w)
		return err == nil && wantErr == nil && bytes.Equal(x, y)
	})
}

func lookSet(name string, is6 bool) func(*nftables.Conn, Plan) (string, error) {
	return func(c *nftables.Conn, p Plan) (string, error) {
		set, err := c.GetSetByName(table(), name)
		if err != nil {
			return "", err
		}
		got, err := c.GetSetElements(set)
		if err != nil {
			return "", err
		}
		want, err := elementsOf(p.entries(is6))
		if err != nil {
			return "", err
		}
		key := func(e nftables.SetElement) string {
			end := e.KeyEnd
			if len(end) == 0 {
				end = e.Key
			}
			return string(e.Key) + string(end)
		}
		have := map[string]bool{}
		for _, e := range got {
			have[key(e)] = true
		}
		missing := 0
		for _, e := range want {
			if !have[key(e)] {
				missing++
			}
		}
		if missing > 0 || len(have) != len(want) {
			return fmt.Sprintf("set %s has %d entries, %d of %d are right", name, len(have), len(want)-missing, len(want)), nil
		}
		return "", nil
	}
}
