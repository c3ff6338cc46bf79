package listener

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
)

// Set is the listeners of a server whose addresses change while it runs. Call
// [NewSet], then [Set.Start] or [Set.Follow].
type Set struct {
	start func(net.Listener) // serves from it in the background

	mu     sync.Mutex
	open   map[netip.AddrPort]net.Listener
	closed map[net.Listener]bool // by Follow: the end of their server counts as no error
}

// NewSet returns an empty set. serve serves from one listener until that is
// closed; the set calls it in a goroutine that spawn starts, which gets its
// error.
func NewSet(spawn func(func() error), serve func(net.Listener) error) *Set {
	s := &Set{open: map[netip.AddrPort]net.Listener{}, closed: map[net.Listener]bool{}}
	s.start = func(l net.Listener) {
		spawn(func() error {
			err := serve(l)
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.closed[l] {
				delete(s.closed, l)
				return nil
			}
			return err
		})
	}
	return s
}

// Start serves from sockets, which [Bind] returned for addrs.
func (s *Set) Start(addrs []netip.AddrPort, sockets []net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, l := range sockets {
		s.open[addrs[i]] = l
		s.start(l)
	}
}

// Follow serves from exactly addrs: it binds those that are new, and closes the
// others once all new ones are bound. Connections under way stay. After an error
// the set is as it was.
func (s *Set) Follow(ctx context.Context, addrs []netip.AddrPort) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var fresh []netip.AddrPort
	for _, a := range addrs {
		if s.open[a] == nil {
			fresh = append(fresh, a)
		}
	}
	sockets, err := Bind(ctx, fresh)
	if err != nil {
		return err
	}
	for i, l := range sockets {
		s.open[fresh[i]] = l
		s.start(l)
	}
	var all []error
	for a, l := range s.open {
		if slices.Contains(addrs, a) {
			continue
		}
		delete(s.open, a)
		s.closed[l] = true
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}
