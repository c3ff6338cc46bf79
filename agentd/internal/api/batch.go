package api

import (
	"net"
	"sync"
)

// batch is a connection below TLS, which writes each record of at most 16 KiB
// with a call of the system of its own. While it is held, it collects records and
// writes them with one.
type batch struct {
	net.Conn

	mu     sync.Mutex // an alert may be written while records are collected
	isHeld bool
	held   []byte // from batches while it is held
	failed error  // of the last write of collected records; the stream has a gap since
}

const (
	// oneRecord is the largest content of a record.
	oneRecord = 16 << 10
	// batchBytes has room for what the registry proxy writes at once, with what TLS
	// adds to its records.
	batchBytes = 4*oneRecord + 1<<10
)

var batches = sync.Pool{New: func() any { b := make([]byte, 0, batchBytes); return &b }}

// NetConn returns the connection below.
func (b *batch) NetConn() net.Conn { return b.Conn }

// Write implements [net.Conn].
func (b *batch) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.failed != nil:
		return 0, b.failed
	case !b.isHeld:
		return b.Conn.Write(p)
	case len(b.held)+len(p) > cap(b.held):
		if err := b.flush(); err != nil {
			return 0, err
		}
		if len(p) > cap(b.held) {
			return b.Conn.Write(p)
		}
	}
	b.held = append(b.held, p...)
	return len(p), nil
}

// flush writes what was collected. b.mu is held.
func (b *batch) flush() error {
	if len(b.held) > 0 && b.failed == nil {
		_, b.failed = b.Conn.Write(b.held)
	}
	b.held = b.held[:0]
	return b.failed
}

// collect calls write and writes what it wrote with as few calls as possible.
func (b *batch) collect(write func() (int, error)) (int, error) {
	buffer, _ := batches.Get().(*[]byte)
	defer batches.Put(buffer)
	b.mu.Lock()
	b.isHeld, b.held = true, (*buffer)[:0]
	b.mu.Unlock()
	n, err := write()
	b.mu.Lock()
	defer b.mu.Unlock()
	if failed := b.flush(); err == nil && failed != nil {
		n, err = 0, failed
	}
	b.isHeld, b.held = false, nil
	return n, err
}
