// Package sshd serves SSH into a staged root, so that image tools (Packer's ssh
// communicator, Ansible) provision it as if it were a machine. Call [Listen],
// then [Server.Serve]. A session runs inside the root through package enter;
// SFTP is served from this process and cannot leave the root, so that the image
// needs neither sshd nor sftp-server.
//
// It is not a general server: one user, one password that lives as long as the
// build, a new host key each time, loopback only, no forwarding, no
// terminal.
package sshd

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// maxConns is how many clients that showed the password may be connected at once.
const maxConns = 32

// ErrNotStaged is what a Staged function returns when no root will come.
var ErrNotStaged = errors.New("staging failed")

// Server serves one root. Its fields are set before [Server.Serve] and not
// changed after.
type Server struct {
	Root     string
	Password [sha256.Size]byte // SHA-256 of the password; the user's name is not looked at
	Env      []string          // of each session; nil: package enter's base
	Network  bool              // sessions reach this machine's network

	// Staged blocks until the root can be used. An error ends each session
	// with that message and status 1. It is called once; nil: ready at once.
	Staged func(context.Context) error

	once  sync.Once
	ready error
	wait  chan struct{}
}

// Listen opens the port on the loopback address; port 0 takes a free one.
func Listen(ctx context.Context, port int) (*net.TCPListener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, fmt.Errorf("listen for sessions: %w", err)
	}
	return l.(*net.TCPListener), nil
}

// Serve accepts connections until ctx is done, then ends all sessions and what
// runs in them, and returns nil. It closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) (err error) {
	config, err := s.config()
	if err != nil {
		return errors.Join(err, l.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { _ = l.Close() }) // ends Accept
	var group sync.WaitGroup
	defer func() {
		cancel()
		stop()
		group.Wait()
		if cerr := l.Close(); cerr != nil && !errors.Is(cerr, net.ErrClosed) {
			err = errors.Join(err, cerr)
		}
	}()
	s.wait = make(chan struct{})
	group.Go(func() {
		defer close(s.wait)
		if s.Staged != nil {
			s.ready = s.Staged(ctx)
		}
	})
	waiting := &waitingRoom{}
	slots := make(chan struct{}, maxConns)
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("accept session: %w", err)
		}
		client := waiting.add(conn)
		group.Go(func() { s.connection(ctx, client, waiting, slots, config) })
	}
}

func (s *Server) config() (*ssh.ServerConfig, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make host key: %w", err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return nil, fmt.Errorf("make host key: %w", err)
	}
	config := &ssh.ServerConfig{
		MaxAuthTries: 6, // Ansible and OpenSSH try keys first
		PasswordCallback: func(_ ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
			sum := sha256.Sum256(password)
			if subtle.ConstantTimeCompare(sum[:], s.Password[:]) != 1 {
				return nil, errors.New("wrong password")
			}
			return nil, nil
		},
	}
	config.AddHostKey(signer)
	return config, nil
}

// connection serves one client to its end.
func (s *Server) connection(ctx context.Context, conn *unknownClient, waiting *waitingRoom, slots chan struct{}, config *ssh.ServerConfig) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	_ = conn.SetDeadline(time.Now().Add(handshakeLimit)) // a failure shows at the next read
	sc, channels, requests, err := ssh.NewServerConn(conn, config)
	waiting.remove(conn)
	if err != nil {
		_ = conn.Close()
		return // the client was told why
	}
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	default:
		_ = sc.Close() // one too many; the client sees it end
		go ssh.DiscardRequests(requests)
		for nc := range channels {
			_ = nc.Reject(ssh.ResourceShortage, "too many connections")
		}
		return
	}
	_ = conn.SetDeadline(time.Time{})
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel() // before Wait: a gone client's programs end
	defer func() { _ = sc.Close() }()
	group.Go(func() { ssh.DiscardRequests(requests) })
	for nc := range channels {
		if nc.ChannelType() != "session" {
			_ = nc.Reject(ssh.UnknownChannelType, "only sessions are served here")
			continue
		}
		ch, reqs, err := nc.Accept()
		if err != nil {
			return
		}
		group.Go(func() { s.session(ctx, ch, reqs) })
	}
}

// staged waits for the root.
func (s *Server) staged(ctx context.Context) error {
	select {
	case <-s.wait:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if s.ready == nil {
		s.once.Do(func() {
			if info, err := os.Stat(filepath.Join(s.Root, "etc")); err != nil || !info.IsDir() {
				s.ready = fmt.Errorf("%s holds no root file system", s.Root)
			}
		})
	}
	return s.ready
}

func say(w io.Writer, format string, args ...any) {
	fmt.Fprintf(w, "felhom-golden: "+format+"\r\n", args...)
}
