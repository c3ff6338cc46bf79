package enter_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/golden/internal/enter"
	"github.com/felhom/felhom-golden/golden/internal/enter/entertest"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/leaktest"
)

func TestMain(m *testing.M) {
	if code, isChild := enter.MaybeChild(); isChild {
		os.Exit(code)
	}
	if root := os.Getenv("ENTER_TEST_HOLD"); root != "" { // the caller that gets killed
		_, _ = enter.Run(context.Background(), enter.Options{
			Root: root, Argv: []string{"sh", "-c", "echo up; exec sleep 600"}, Stdout: os.Stdout, Stderr: os.Stderr, Network: true,
		})
		os.Exit(1)
	}
	os.Exit(leaktest.Run(m))
}

// in runs a shell line inside root and returns its output.
func in(t *testing.T, opts enter.Options, line string) (string, int) {
	t.Helper()
	var out bytes.Buffer
	opts.Argv, opts.Stdout, opts.Stderr = []string{"sh", "-c", line}, &out, &out
	code, err := enter.Run(t.Context(), opts)
	if err != nil {
		t.Fatalf("run %q: %v\n%s", line, err, out.String())
	}
	return out.String(), code
}

func TestRunStatus(t *testing.T) {
	root := entertest.Root(t)
	for _, tt := range []struct {
		line string
		want int
	}{
		{"exit 0", 0}, {"exit 7", 7}, {"exit 255", 255}, {"kill -9 $$", 137}, {"no-such-program", 127},
	} {
		if _, code := in(t, enter.Options{Root: root}, tt.line); code != tt.want {
			t.Errorf("%s: code %d, want %d", tt.line, code, tt.want)
		}
	}
}

func TestRunRefuses(t *testing.T) {
	root := entertest.Root(t)
	noProc := entertest.Root(t)
	linked := entertest.Root(t)
	for _, err := range []error{
		os.Remove(filepath.Join(noProc, "proc")), os.Remove(filepath.Join(linked, "tmp")),
		os.Symlink("/etc", filepath.Join(linked, "tmp")),
		os.WriteFile(filepath.Join(root, "odd"), []byte("#!/no/such/interpreter\n"), 0o755),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		opts enter.Options
		want string
	}{
		{"no root", enter.Options{Root: root + "x", Argv: []string{"sh"}}, "no such file"},
		{"root is a file", enter.Options{Root: filepath.Join(root, "odd"), Argv: []string{"sh"}}, "not a directory"},
		{"root is this machine", enter.Options{Root: "/", Argv: []string{"sh"}}, "that is this machine"},
		{"no proc", enter.Options{Root: noProc, Argv: []string{"sh"}}, "want the directory /proc"},
		{"tmp is a link", enter.Options{Root: linked, Argv: []string{"sh"}}, "want the directory /tmp in it: not a directory"},
		{"no program", enter.Options{Root: root, Argv: []string{"nope"}}, "program nope: not in the root"},
		{"no path", enter.Options{Root: root, Argv: []string{"/no/pe"}}, "program /no/pe: not in the root"},
		{"no interpreter", enter.Options{Root: root, Argv: []string{"/odd"}}, "start /odd"},
		{"no directory", enter.Options{Root: root, Argv: []string{"sh"}, Dir: "/nope"}, "start directory /nope"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, err := enter.Run(t.Context(), tt.opts)
			if code != -1 || fault.Of(err) != fault.Invalid || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("code %d, class %v, error %v; want -1, refused, %q", code, fault.Of(err), err, tt.want)
			}
		})
	}
}

// Every word must arrive as it was, as argument and in the environment.
func TestQuoting(t *testing.T) {
	root := entertest.Root(t)
	words := []string{"a b", "  two  ", `"dq"`, "'sq'", "$HOME", "`id`", `back\slash`, "new\nline", "*", "-n", "", "ü€", "a=b;c|d&"}
	var env []string
	var want strings.Builder
	for i, w := range words {
		env = append(env, "W"+string(rune('A'+i))+"="+w)
		want.WriteString("[" + w + "]\n")
	}
	script := filepath.Join(t.TempDir(), "my script.sh")
	text := "#!/bin/sh\nprintf '[%s]\\n' \"$@\"\n"
	for i := range words {
		text += "printf '[%s]\\n' \"$W" + string(rune('A'+i)) + "\"\n"
	}
	if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	code, err := enter.Script(t.Context(), enter.Options{Root: root, Argv: words, Env: enter.MergeEnv(enter.BaseEnv(), env...), Stdout: &out, Stderr: &out}, script)
	if code != 0 || err != nil {
		t.Fatalf("code %d, error %v\n%s", code, err, out.String())
	}
	if diff := cmp.Diff(want.String()+want.String(), out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestScriptWithoutInterpreterLine(t *testing.T) {
	script := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(script, []byte("echo \"$0 $1\"; exit 3\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	code, err := enter.Script(t.Context(), enter.Options{Root: entertest.Root(t), Argv: []string{"x"}, Stdout: &out}, script)
	if code != 3 || err != nil || out.String() != "/run/felhom-golden/plain x\n" {
		t.Errorf("code %d, error %v, output %q", code, err, out.String())
	}
}

// What a program sees is a machine, and not this one; what it leaves in /run,
// /tmp and /dev is not in the root.
func TestMachine(t *testing.T) {
	root := entertest.Root(t, "cat", "touch", "ls", "uname", "mount", "sleep")
	if err := os.Symlink("/run/systemd/resolve/stub-resolv.conf", filepath.Join(root, "etc/resolv.conf")); err != nil {
		t.Fatal(err)
	}
	before := tree(t, root)
	machine, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, line, want string }{
		{"host name", "uname -n", "localhost\n"},
		{"domain name", "cat /proc/sys/kernel/domainname", "localdomain\n"},
		{"name in proc", "cat /proc/sys/kernel/hostname", "localhost\n"},
		{"process id 1 is this program", "echo $PPID", "1\n"},
		{"no service may start", "/usr/sbin/policy-rc.d; echo $?", "101\n"},
		{"name servers", "cat /etc/resolv.conf", string(machine)},
		{"tmp and run are new", "touch /tmp/x /run/x /dev/shm/x && ls /tmp /run", "/run:\nlock\nsystemd\nx\n\n/tmp:\nx\n"},
		{"devices", "cat /dev/null; echo x >/dev/stdout; echo x 2>&1 >/dev/full || echo full", "x\nfull\n"},
		{"sys is read-only", "touch /sys/x 2>/dev/null || echo no", "no\n"},
		{"sysctl is read-only", "(echo 1 >/proc/sys/kernel/sysrq) 2>/dev/null || echo no", "no\n"},
		{"umask", "umask", "0022\n"},
		{"directory", "pwd", "/\n"},
		{"nothing on the descriptors", "ls /proc/self/fd", "0\n1\n2\n3\n"},
		{"background ends too", "sleep 600 & echo go", "go\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, _ := in(t, enter.Options{Root: root, Network: true}, tt.line)
			got = strings.ReplaceAll(got, "sh: 1: echo: echo: I/O error\n", "")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	if diff := cmp.Diff(before, tree(t, root)); diff != "" {
		t.Errorf("left in the root, -before +after:\n%s", diff)
	}
	checkNoMount(t, root)
}

func TestNetwork(t *testing.T) {
	root := entertest.Root(t, "cat")
	without, _ := in(t, enter.Options{Root: root}, "cat /proc/net/dev")
	if got := strings.Count(without, ":"); got != 1 || !strings.Contains(without, "lo:") {
		t.Errorf("offline, interfaces:\n%s\nwant lo only", without)
	}
	routes, _ := in(t, enter.Options{Root: root}, "cat /proc/net/fib_trie")
	if !strings.Contains(routes, "127.0.0.1") {
		t.Errorf("local addresses: want 127.0.0.1, as loopback is up, got:\n%s", routes)
	}
	// A listener of this process is seen from inside exactly when the network is
	// the machine's; interfaces come and go with other tests.
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	entry := fmt.Sprintf("0100007F:%04X", l.Addr().(*net.TCPAddr).Port)
	for _, network := range []bool{false, true} {
		table, _ := in(t, enter.Options{Root: root, Network: network}, "cat /proc/net/tcp")
		if strings.Contains(table, entry) != network {
			t.Errorf("network %v, sockets:\n%s\nthe machine's listener %s is among them: %v", network, table, entry, !network)
		}
	}
}

func TestCancelEndsAndCleans(t *testing.T) {
	root := entertest.Root(t, "sleep")
	before := tree(t, root)
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	defer func() { _ = w.Close() }()
	go func() {
		_, _ = io.ReadFull(r, make([]byte, 3))
		cancel()
		_, _ = io.Copy(io.Discard, r)
	}()
	// A program that will not end by SIGTERM.
	code, err := enter.Run(ctx, enter.Options{Root: root, Argv: []string{"sh", "-c", "trap '' TERM; echo up; while :; do sleep 600; done"}, Stdout: w, Network: true})
	if code != -1 || fault.Of(err) != fault.Interrupted {
		t.Errorf("code %d, error %v; want -1, interrupted", code, err)
	}
	if diff := cmp.Diff(before, tree(t, root)); diff != "" {
		t.Errorf("left in the root, -before +after:\n%s", diff)
	}
}

// The caller is killed and cannot clean up: programs, mounts and placeholders
// go all the same.
func TestKilledCallerLeavesNothing(t *testing.T) {
	root := entertest.Root(t, "sleep")
	before := tree(t, root)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "ENTER_TEST_HOLD="+root)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	pid1 := children(t, cmd.Process.Pid)
	if len(pid1) != 1 {
		t.Fatalf("children of the caller: %v, want one", pid1)
	}
	fd, err := pidfd(pid1[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(root, "usr/sbin/policy-rc.d")); err != nil {
		t.Errorf("placeholder while it runs: %v", err) // or the check below shows nothing
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	waitPidfd(t, fd, 10*time.Second)
	if diff := cmp.Diff(before, tree(t, root)); diff != "" {
		t.Errorf("left in the root, -before +after:\n%s", diff)
	}
	checkNoMount(t, root)
}

// Pid 1 itself is killed: the kernel ends the rest, the caller cleans up.
func TestKilledPID1(t *testing.T) {
	root := entertest.Root(t, "sleep")
	before := tree(t, root)
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := enter.Run(t.Context(), enter.Options{Root: root, Argv: []string{"sh", "-c", "echo up; sleep 600"}, Stdout: w})
		_ = w.Close() // a program that did not start says nothing
		done <- err
	}()
	if _, err := io.ReadFull(r, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	pids := children(t, os.Getpid())
	if len(pids) != 1 {
		t.Fatalf("children: %v, want one", pids)
	}
	if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil || !strings.Contains(err.Error(), "ended early") {
		t.Errorf("error %v, want one that says pid 1 ended early", err)
	}
	if diff := cmp.Diff(before, tree(t, root)); diff != "" {
		t.Errorf("left in the root, -before +after:\n%s", diff)
	}
}

func TestFromCaller(t *testing.T) {
	got := enter.FromCaller([]string{"HOME=/home/me", "SITE=x", "LC_ALL=C", "PACKER_BUILD_NAME=b", "SSH_AUTH_SOCK=s", "FELHOM_GOLDEN_PASSWORD=p", "PKR_VAR_token=t", "GOPATH=g", "http_proxy=h"})
	want := []string{"SITE=x", "PACKER_BUILD_NAME=b", "http_proxy=h"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// tree lists a root: path, mode and size.
func tree(t *testing.T, root string) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		list = append(list, strings.Join([]string{strings.TrimPrefix(path, root), info.Mode().String()}, " "))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

func checkNoMount(t *testing.T, root string) {
	t.Helper()
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(errors.Join(err))
	}
	if strings.Contains(string(info), root) {
		t.Errorf("still mounted below %s:\n%s", root, info)
	}
}
