package origin

import (
	"net/netip"
	"testing"
	"time"
)

var (
	addrA    = netip.MustParseAddr("192.0.2.10")
	stationA = station{bridge: 1, mac: hardware{0xbc, 0x24, 0x11, 0, 0, 0x0a}}
	nearA    = neighbor{1, addrA}
	placeA   = place{neighbor: nearA, station: stationA, port: 5, bridgeName: "vmbr0", portName: "veth8200i0"}
	thiefMAC = hardware{2, 0, 0, 0, 0, 1}
)

// What is kept ends with each change that concerns it, and with no other.
func TestChangesThatEndWhatIsKept(t *testing.T) {
	other := neighbor{1, netip.MustParseAddr("192.0.2.11")}
	for _, c := range []struct {
		name   string
		change change
		want   bool // it is still kept
	}{
		{"another MAC", change{neighbor: nearA, mac: thiefMAC}, false},
		{"no MAC", change{neighbor: nearA}, false},
		{"the same MAC", change{neighbor: nearA, mac: placeA.mac}, true},
		{"another port", change{station: stationA, port: 9}, false},
		{"no port", change{station: stationA}, false},
		{"the same port", change{station: stationA, port: 5}, true},
		{"the port in another VLAN", change{station: station{1, 7, placeA.mac}, port: 9}, true},
		{"the port of another bridge", change{station: station{2, 0, placeA.mac}, port: 9}, true},
		{"another address", change{neighbor: other, mac: thiefMAC}, true},
		{"the address on another interface", change{neighbor: neighbor{2, addrA}, mac: thiefMAC}, true},
		{"another station", change{station: station{1, 0, thiefMAC}, port: 9}, true},
		{"a link, or lost messages", change{}, false},
	} {
		m, now := newMemory(), time.Now()
		m.keep(addrA, found{vmid: 8200, at: placeA}, now)
		m.apply(c.change, now)
		if _, ok := m.cached(addrA, 8200, now); ok != c.want {
			t.Errorf("%s: kept %v, want %v", c.name, ok, c.want)
		}
		if _, ok := m.cached(addrA, 8201, now); ok {
			t.Errorf("%s: kept for another guest", c.name)
		}
		if _, ok := m.cached(addrA, 8200, now.Add(cacheTime)); ok {
			t.Errorf("%s: kept for ever", c.name)
		}
	}
}

// More changes than are told apart count as a change of everything.
func TestFloodOfChangesEndsWhatIsKept(t *testing.T) {
	m, now := newMemory(), time.Now()
	m.keep(addrA, found{vmid: 8200, at: placeA}, now)
	start := m.changes
	for n := range maxChanges + 1 {
		m.apply(change{station: station{1, n, thiefMAC}, port: 9}, now)
	}
	if isConcerned, isKnown := m.since(start, placeA); !isConcerned || isKnown {
		t.Errorf("a look during the flood: concerned %v, known %v", isConcerned, isKnown)
	}
	if _, ok := m.cached(addrA, 8200, now); ok {
		t.Error("kept")
	}
}

// An address or a station that moves is not believed for a time, on neither
// side, whether the kernel's message was read or lost.
func TestMovesAreRemembered(t *testing.T) {
	elsewhere := placeA
	elsewhere.port = 9
	otherMAC := placeA
	otherMAC.mac = thiefMAC
	for _, c := range []struct {
		name    string
		changes []change
		look    place
		want    bool
	}{
		{"nothing", nil, placeA, false},
		{"there and back", []change{{station: stationA, port: 9}, {station: stationA, port: 5}}, placeA, true},
		{"there", []change{{station: stationA, port: 9}}, elsewhere, true},
		{"there, the message was lost", nil, elsewhere, true},
		{"there, and the entry removed", []change{{station: stationA, port: 9}, {station: stationA}}, placeA, true},
		{"the guest was started again", []change{{station: stationA}, {station: stationA, port: 9}}, elsewhere, false},
		{"the address on another interface", []change{{neighbor: neighbor{2, addrA}, mac: thiefMAC}}, placeA, false},
		{"the address there and back", []change{{neighbor: nearA, mac: thiefMAC}, {neighbor: nearA, mac: placeA.mac}}, placeA, true},
		{"the address, the message was lost", nil, otherMAC, true},
	} {
		m, now := newMemory(), time.Now()
		m.keep(addrA, found{vmid: 8200, at: placeA}, now)
		for _, change := range c.changes {
			m.apply(change, now)
		}
		if got := m.hasMoved(c.look, now); got != c.want {
			t.Errorf("%s: moved %v, want %v", c.name, got, c.want)
		}
		if m.hasMoved(c.look, now.Add(holdTime+time.Second)) {
			t.Errorf("%s: not believed for ever", c.name)
		}
	}
}

// Who can send from many addresses takes no more memory, and does not make the
// places of others unknown.
func TestMemoryIsBounded(t *testing.T) {
	m, now := newMemory(), time.Now()
	m.keep(addrA, found{vmid: 8200, at: placeA}, now)
	addr := netip.MustParseAddr("2001:db8::1")
	for n := range 3 * maxPlaces {
		addr = addr.Next()
		at := placeA
		at.vlan, at.addr = 1+n, addr
		m.keep(addr, found{vmid: 8201, at: at}, now)
	}
	if len(m.cache) > maxCached || len(m.macs.all) > maxPlaces || len(m.ports.all) > maxPlaces {
		t.Errorf("%d kept, %d addresses, %d stations", len(m.cache), len(m.macs.all), len(m.ports.all))
	}
	elsewhere := placeA
	elsewhere.port = 9
	if !m.hasMoved(elsewhere, now) {
		t.Error("the place of the first guest is unknown")
	}
	at := placeA
	at.addr, at.vlan = addr.Next(), 4*maxPlaces
	m.keep(at.addr, found{vmid: 8201, at: at}, now.Add(2*placeTime))
	if len(m.macs.all) > 2 {
		t.Errorf("%d addresses after a time, want the old ones removed", len(m.macs.all))
	}
}
