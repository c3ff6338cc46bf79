package sshd

import (
	"context"
	"errors"
	"io"
	"os"
	"path"
	"strings"
	"sync"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/felhom/felhom-golden/golden/internal/enter"
)

// maxEnv bounds the variables that a client may set in a session.
const maxEnv = 256

// session serves one channel: variables, then one program, shell or subsystem.
func (s *Server) session(ctx context.Context, ch ssh.Channel, reqs <-chan *ssh.Request) {
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer func() {
		cancel() // the client closed the channel: its program ends
		work.Wait()
	}()
	var env []string
	started := false
	for req := range reqs {
		ok := false
		var do func() int
		switch req.Type {
		case "env":
			var kv struct{ Name, Value string }
			if ok = !started && len(env) < maxEnv && ssh.Unmarshal(req.Payload, &kv) == nil && kv.Name != "" && !strings.ContainsAny(kv.Name, "=\x00"); ok {
				env = append(env, kv.Name+"="+kv.Value)
			}
		case "shell":
			do = func() int { return s.program(ctx, ch, env, "/bin/sh") }
		case "exec":
			var cmd struct{ Line string }
			if ssh.Unmarshal(req.Payload, &cmd) != nil {
				break
			}
			do = func() int { return s.program(ctx, ch, env, "/bin/sh", "-c", cmd.Line) }
			if isSFTP(cmd.Line) {
				do = func() int { return s.sftp(ctx, ch) }
			}
		case "subsystem":
			var sub struct{ Name string }
			if ssh.Unmarshal(req.Payload, &sub) == nil && sub.Name == "sftp" {
				do = func() int { return s.sftp(ctx, ch) }
			}
		}
		ok = ok || (do != nil && !started)
		if req.WantReply {
			_ = req.Reply(ok, nil) // a dead connection ends the loop by itself
		}
		if do == nil || started {
			continue
		}
		started = true
		work.Go(func() {
			code := 1
			if err := s.staged(ctx); err != nil {
				say(ch.Stderr(), "no session: %v", err)
			} else {
				code = do()
			}
			// The client may be gone; no one else needs the error.
			_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(code)}))
			_ = ch.Close()
		})
	}
}

// isSFTP reports whether a command line starts an SFTP server: Ansible's and
// Packer's proxies name OpenSSH's by its path.
func isSFTP(line string) bool {
	words := strings.Fields(line)
	return len(words) > 0 && path.Base(words[0]) == "sftp-server"
}

// program runs one inside the root and returns the status for the client.
func (s *Server) program(ctx context.Context, ch ssh.Channel, env []string, argv ...string) int {
	// A pipe of our own: reading the channel must not outlast the program.
	r, w, err := os.Pipe()
	if err != nil {
		say(ch.Stderr(), "%v", err)
		return 1
	}
	go func() {
		_, _ = io.Copy(w, ch) // ends with the channel, or when the program closed its input
		_ = w.Close()
	}()
	base := s.Env
	if base == nil {
		base = enter.BaseEnv()
	}
	code, err := enter.Run(ctx, enter.Options{
		Root: s.Root, Argv: argv, Env: enter.MergeEnv(base, env...), Dir: "/root",
		Stdin: r, Stdout: ch, Stderr: ch.Stderr(), Network: s.Network, SharedTmp: true,
	})
	_ = r.Close()
	if err != nil {
		say(ch.Stderr(), "%v", err)
		return 1
	}
	return code
}

func (s *Server) sftp(ctx context.Context, ch ssh.Channel) int {
	root, err := os.OpenRoot(s.Root)
	if err != nil {
		say(ch.Stderr(), "%v", err)
		return 1
	}
	defer func() { _ = root.Close() }() // a directory's descriptor: nothing is lost
	h := &files{root: root}
	srv := sftp.NewRequestServer(ch, sftp.Handlers{FileGet: h, FilePut: h, FileCmd: h, FileList: h}, sftp.WithStartDirectory("/root"))
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(); err != nil && !errors.Is(err, io.EOF) {
		say(ch.Stderr(), "sftp: %v", err)
		return 1
	}
	return 0
}
