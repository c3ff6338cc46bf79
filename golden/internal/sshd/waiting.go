package sshd

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// handshakeLimit is how long a client has to authenticate, and maxWaiting how
// many clients that did not yet may be connected at once: all users of this
// machine can connect.
const (
	handshakeLimit = 30 * time.Second
	maxWaiting     = 256
)

// waitingRoom holds the connections that have not authenticated. When it is full
// a new one takes the place of the one that said least: a real client sends its
// version at once, so silent connections cannot keep it out.
type waitingRoom struct {
	mu      sync.Mutex
	clients []*unknownClient // oldest first
}

// unknownClient is a connection that counts what its client sent.
type unknownClient struct {
	net.Conn
	received atomic.Int64
}

// Read counts what it reads.
func (s *unknownClient) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	s.received.Add(int64(n))
	return n, err
}

// add takes conn in, and closes another one if the room is full.
func (w *waitingRoom) add(conn net.Conn) *unknownClient {
	client := &unknownClient{Conn: conn}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.clients) >= maxWaiting {
		least := 0
		for i, c := range w.clients {
			if c.received.Load() < w.clients[least].received.Load() {
				least = i
			}
		}
		_ = w.clients[least].Close() // its handshake ends with this
		w.clients = append(w.clients[:least], w.clients[least+1:]...)
	}
	w.clients = append(w.clients, client)
	return client
}

// remove lets client out, whether it is in or not.
func (w *waitingRoom) remove(client *unknownClient) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, c := range w.clients {
		if c == client {
			w.clients = append(w.clients[:i], w.clients[i+1:]...)
			return
		}
	}
}
