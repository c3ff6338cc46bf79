package origin

import (
	"fmt"
	"net"
	"net/netip"
	"time"
)

// hardware is a MAC; the zero value stands for none.
type hardware [6]byte

func (m hardware) String() string { return net.HardwareAddr(m[:]).String() }

// neighbor is an address on an interface: the same address on another one is
// another machine.
type neighbor struct {
	link int
	addr netip.Addr // without a zone
}

// station is a MAC in the table of a bridge.
type station struct {
	bridge, vlan int
	mac          hardware
}

// place is where the kernel's tables say that an address is.
type place struct {
	neighbor
	station
	port                 int // index of the interface
	bridgeName, portName string
}

func (p place) isComplete() bool { return p.port != 0 }

func (p place) String() string {
	text := fmt.Sprintf("port %s of %s, MAC %s", p.portName, p.bridgeName, p.mac)
	if p.vlan != 0 {
		text += fmt.Sprintf(", VLAN %d", p.vlan)
	}
	return text
}

// change is what the kernel reports of its tables: an address has another MAC, a
// station another port, or anything may have changed.
type change struct {
	neighbor neighbor // if its link is not 0: its MAC is mac now, zero for none
	mac      hardware
	station  station // else, if its bridge is not 0: its port is port now, 0 for none
	port     int
}

// concerns reports whether the change means that the place is, or may be, another one.
func (c change) concerns(at place) bool {
	switch {
	case c.neighbor.link != 0:
		return c.neighbor == at.neighbor && c.mac != at.mac
	case c.station.bridge != 0:
		return c.station == at.station && c.port != at.port
	}
	return true
}

// found is the result of a look.
type found struct {
	vmid     int
	at       place
	mismatch *Mismatch // nil: it is the guest
	until    time.Time
	changes  uint64 // none of those before concerns it
}

// sighting is where an address or a station was proven to be a guest's.
type sighting[V comparable] struct {
	value V
	at    time.Time
	moved time.Time // when another value was seen last; zero: never
}

// memory is what is remembered of earlier looks and changes. Its size is bounded,
// whatever guests send. It is not safe for concurrent use.
type memory struct {
	cache map[netip.Addr]found
	macs  sightings[neighbor, hardware]
	ports sightings[station, int]

	changes uint64 // how many there were
	last    [maxChanges]change
}

// maxChanges is how many changes during one look are distinguished.
const maxChanges = 256

func newMemory() *memory {
	return &memory{cache: map[netip.Addr]found{}, macs: newSightings[neighbor, hardware](), ports: newSightings[station, int]()}
}

// cached returns what was found for source, if it is of that guest and still true.
func (m *memory) cached(source netip.Addr, vmid int, now time.Time) (f found, ok bool) {
	f, ok = m.cache[source]
	if !ok || f.vmid != vmid || !now.Before(f.until) {
		return f, false
	}
	if f.changes != m.changes {
		if isConcerned, _ := m.since(f.changes, f.at); isConcerned {
			delete(m.cache, source)
			return f, false
		}
		f.changes = m.changes
		m.cache[source] = f
	}
	return f, true
}

// keep remembers what was found. Only what is proven is a sighting: otherwise
// others could fill the memory.
func (m *memory) keep(source netip.Addr, f found, now time.Time) {
	f.changes, f.until = m.changes, now.Add(cacheTime)
	if f.mismatch != nil {
		f.until = now.Add(refusalTime)
	}
	if len(m.cache) >= maxCached {
		clear(m.cache)
	}
	m.cache[source] = f
	if f.mismatch == nil {
		m.macs.see(f.at.neighbor, f.at.mac, now)
		m.ports.see(f.at.station, f.at.port, now)
	}
}

// apply notes a change, in a time that does not depend on how much is remembered.
func (m *memory) apply(c change, now time.Time) {
	m.last[m.changes%maxChanges] = c
	m.changes++
	switch {
	case c.neighbor.link != 0:
		m.macs.move(c.neighbor, c.mac, now)
	case c.station.bridge != 0:
		m.ports.move(c.station, c.port, now)
	}
}

// since reports whether one of the changes after number start concerns what
// was found, and whether all of these are known.
func (m *memory) since(start uint64, at place) (isConcerned, isKnown bool) {
	if m.changes-start > maxChanges {
		return true, false
	}
	for n := start; n < m.changes; n++ {
		if m.last[n%maxChanges].concerns(at) {
			return true, true
		}
	}
	return false, true
}

// hasMoved reports whether address or station of what was found were elsewhere a
// short time ago.
func (m *memory) hasMoved(at place, now time.Time) bool {
	address := m.macs.wasElsewhere(at.neighbor, at.mac, now)
	return m.ports.wasElsewhere(at.station, at.port, now) || address
}

// sightings are at most maxPlaces of them. Those that are known stay known when
// there is no room for more.
type sightings[K, V comparable] struct {
	all    map[K]sighting[V]
	pruned time.Time // it takes long, and who causes it may be hostile
}

func newSightings[K, V comparable]() sightings[K, V] {
	return sightings[K, V]{all: map[K]sighting[V]{}}
}

func (s *sightings[K, V]) see(key K, value V, now time.Time) {
	one, ok := s.all[key]
	if !ok && len(s.all) >= maxPlaces {
		s.prune(now)
		if len(s.all) >= maxPlaces {
			return
		}
	}
	one.value, one.at = value, now
	s.all[key] = one
}

func (s *sightings[K, V]) prune(now time.Time) {
	if now.Sub(s.pruned) < time.Second {
		return
	}
	s.pruned = now
	for key, old := range s.all {
		if now.Sub(old.at) > placeTime && now.Sub(old.moved) > holdTime {
			delete(s.all, key)
		}
	}
}

// move records that the value of key has changed; the zero value means none.
func (s *sightings[K, V]) move(key K, value V, now time.Time) {
	one, ok := s.all[key]
	if !ok || one.value == value {
		return
	}
	var none V
	if value == none {
		if now.Sub(one.moved) > holdTime { // a guest that stopped, or an entry that aged
			delete(s.all, key)
		} // otherwise the earlier place stays remembered
		return
	}
	if now.Sub(one.at) <= placeTime || now.Sub(one.moved) <= holdTime {
		one.moved = now
	}
	one.value = value
	s.all[key] = one
}

// wasElsewhere notes and reports a move: the kernel's own message of it may be lost.
func (s *sightings[K, V]) wasElsewhere(key K, value V, now time.Time) bool {
	s.move(key, value, now)
	one, ok := s.all[key]
	return ok && !one.moved.IsZero() && now.Sub(one.moved) <= holdTime
}
