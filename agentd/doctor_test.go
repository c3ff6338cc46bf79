package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/internal/checks"
	"github.com/felhom/felhom-golden/internal/command/commandtest"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/filelock"
)

// doctor runs the command and returns its report, and what it printed.
func (b *bed) doctor(t *testing.T, args ...string) (code int, report checks.Report, text string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(t.Context(), append([]string{program, "--config", b.config, "doctor", "--json"}, args...), &stdout, &stderr)
	if err := json.Unmarshal(stdout.Bytes(), &report); err != nil {
		t.Fatalf("doctor exits with %d: %v\n%s%s", code, err, stdout.String(), stderr.String())
	}
	return code, report, stdout.String() + stderr.String()
}

// rowSaying returns the first row of the check with that reason, or else its first.
func rowSaying(t *testing.T, report checks.Report, check, reason string) checks.Row {
	t.Helper()
	for _, row := range report.Rows {
		if row.Check == check && strings.Contains(row.Reason, reason) {
			return row
		}
	}
	return rowOf(t, report, check)
}

// rowOf returns what a check found first, which is its worst.
func rowOf(t *testing.T, r checks.Report, name string) checks.Row {
	t.Helper()
	for _, row := range r.Rows {
		if row.Check == name {
			return row
		}
	}
	t.Fatalf("no check %s in %+v", name, r)
	return checks.Row{}
}

var hostCheckNames = []string{
	"configuration", "address", "daemon", "pins", "store", "mounts", "id-ranges", "bridge", "firewall", "origin", "exposure", "clock", "registry", "hypervisor",
	"golden", "guests", "audit",
}

func replaceIn(t *testing.T, file, old, text string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(data, []byte(old)) {
		t.Fatalf("%s has no %q:\n%s", file, old, data)
	}
	if err := os.WriteFile(file, bytes.Replace(data, []byte(old), []byte(text), 1), 0o600); err != nil {
		t.Fatal(err)
	}
}

func appendTo(t *testing.T, file, text string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(data, text...), 0o600); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A host on which all is well: no check fails, though a test's daemon is on the
// loopback and has no bridge.
func TestDoctorOnAHostThatIsWell(t *testing.T) {
	b := startDaemon(t)
	boot := b.add(t, "8200")
	code, report, text := b.doctor(t)
	if code != 0 || report.Result != checks.Warning {
		t.Errorf("exit code %d, result %s:\n%s", code, report.Result, text)
	}
	var names []string
	for _, row := range report.Rows {
		names = append(names, row.Check)
		if row.Result != checks.OK && row.Check != "address" && row.Check != "bridge" && row.Check != "clock" && row.Check != "firewall" && row.Check != "origin" {
			t.Errorf("%+v", row)
		}
		if row.Result != checks.OK && row.Remedy == "" {
			t.Errorf("%s has no remedy: %+v", row.Check, row)
		}
	}
	if fmt.Sprint(names) != fmt.Sprint(hostCheckNames) {
		t.Errorf("checks %v, want %v", names, hostCheckNames)
	}
	assertNoSecret(t, text, boot)
	if table := b.command(t, "doctor"); !strings.Contains(table, "ok       pins") || strings.Contains(table, boot.LocalAPIToken.Reveal()) {
		t.Errorf("the table:\n%s", table)
	}
}

func assertNoSecret(t *testing.T, text string, boot contract.Bootstrap) {
	t.Helper()
	if strings.Contains(text, boot.LocalAPIToken.Reveal()) || strings.Contains(text, "PRIVATE KEY") {
		t.Errorf("a secret is printed:\n%s", text)
	}
}

// Each fault is made for real, on a host with a daemon and a guest.
func TestDoctorFindsFaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		fault  func(t *testing.T, b *bed)
		check  string
		result checks.Result
		reason string
		code   int
	}{
		{"config that others can write", func(t *testing.T, b *bed) { must(t, os.Chmod(b.config, 0o666)) }, "configuration", checks.Failed, "mode 0666", 3},
		{"config of another user", func(t *testing.T, b *bed) { must(t, os.Chown(b.config, 1, -1)) }, "configuration", checks.Failed, "belongs to user 1", 3},
		{"config with a mistake", func(t *testing.T, b *bed) { appendTo(t, b.config, "walk: 1\n") }, "configuration", checks.Failed, "walk", 3},
		{"credential that all can read", func(t *testing.T, b *bed) {
			must(t, os.WriteFile(b.dir+"/tok", []byte("s3cret"), 0o644), os.Chmod(b.dir+"/tok", 0o644))
			appendTo(t, b.config, "registry: {host: \"127.0.0.1:1\", username: u, token_file: "+b.dir+"/tok}\n")
		}, "configuration", checks.Failed, "0644", 3},
		{"address of another host", func(t *testing.T, b *bed) {
			replaceIn(t, b.config, strings.TrimPrefix(b.url, "https://"), "192.0.2.1:8443")
		}, "address", checks.Failed, "no such address", 3},
		{"daemon that listens elsewhere", func(t *testing.T, b *bed) {
			replaceIn(t, b.config, strings.TrimPrefix(b.url, "https://"), "127.0.0.1:1")
		}, "daemon", checks.Failed, "it listens on", 3},
		{"no daemon", func(t *testing.T, b *bed) { replaceIn(t, b.config, "health.sock", "nothing.sock") }, "daemon", checks.Failed, "does not serve", 5},
		{"health socket that all can open", func(t *testing.T, b *bed) { must(t, os.Chmod(b.dir+"/health.sock", 0o666)) }, "daemon", checks.Failed, "0666", 3},
		{"another key in the files than in the daemon", func(t *testing.T, b *bed) {
			b.holdKeys(t)
			data, err := os.ReadFile(b.dir + "/state/tls/next.crt")
			must(t, err, os.WriteFile(b.dir+"/state/tls/current.crt", data, 0o644))
		}, "pins", checks.Failed, "does not match the pin", 4},
		{"nothing at the port", func(t *testing.T, b *bed) {
			replaceIn(t, b.config, strings.TrimPrefix(b.url, "https://"), "127.0.0.1:1")
		}, "pins", checks.Failed, "no handshake with 127.0.0.1:1", 3},
		{"guest with another host's pin", func(t *testing.T, b *bed) {
			b.swapPin(t, "local_api_pin_spki_sha256")
		}, "pins", checks.Failed, "guest 8200 pins another certificate", 4},
		{"guest without the next pin", func(t *testing.T, b *bed) {
			b.swapPin(t, "local_api_pin_spki_sha256_next")
		}, "pins", checks.Warning, "does not pin the next key", 0},
		{"guest with another address", func(t *testing.T, b *bed) {
			replaceIn(t, b.dir+"/mounts/8200/bootstrap.json", b.url, "https://192.0.2.1:8443")
		}, "pins", checks.Failed, "another address", 3},
		{"bootstrap.json of a guest that is root", func(t *testing.T, b *bed) {
			must(t, os.WriteFile(b.dir+"/mounts/8200/bootstrap.json", []byte("{"), 0o640))
		}, "pins", checks.Failed, "not valid", 3},
		{"damaged record", func(t *testing.T, b *bed) {
			must(t, os.WriteFile(b.dir+"/state/guests/8200.json", []byte("{"), 0o600))
		}, "store", checks.Failed, "8200.json", 3},
		{"private key that others read", func(t *testing.T, b *bed) { must(t, os.Chmod(b.dir+"/state/tls/next.key", 0o640)) }, "store", checks.Failed, "0640", 3},
		{"store that others write", func(t *testing.T, b *bed) { must(t, os.Chmod(b.dir+"/state/guests", 0o777)) }, "store", checks.Failed, "0777", 3},
		{"mount that all can read", func(t *testing.T, b *bed) { must(t, os.Chmod(b.dir+"/mounts/8200", 0o755)) }, "mounts", checks.Failed, "every user of this host", 3},
		{"mount of the guest", func(t *testing.T, b *bed) { must(t, os.Chown(b.dir+"/mounts/8200", 100000, 100000)) }, "mounts", checks.Failed, "belongs to user 100000", 3},
		{"file of the host's root alone", func(t *testing.T, b *bed) {
			must(t, os.Chown(b.dir+"/mounts/8200/bootstrap.json", 0, 0))
		}, "mounts", checks.Failed, "belongs to 0:0, want 0:100000", 3},
		{"token that all can read", func(t *testing.T, b *bed) {
			must(t, os.Chmod(b.dir+"/mounts/8200/bootstrap.json", 0o644))
		}, "mounts", checks.Failed, "mode 0644", 3},
		{"link in place of the file", func(t *testing.T, b *bed) {
			must(t, os.Remove(b.dir+"/mounts/8200/bootstrap.json"), os.Symlink("/etc/shadow", b.dir+"/mounts/8200/bootstrap.json"))
		}, "mounts", checks.Failed, "want a regular file", 3},
		{"no mount", func(t *testing.T, b *bed) { must(t, os.RemoveAll(b.dir+"/mounts/8200")) }, "mounts", checks.Failed, "does not exist", 3},
		{"mount of nothing", func(t *testing.T, b *bed) { must(t, os.Mkdir(b.dir+"/mounts/9999", 0o700)) }, "mounts", checks.Warning, "belongs to no guest", 0},
		{"no bridge", func(t *testing.T, b *bed) { appendTo(t, b.config, "hypervisor: lxc\nbridge: felhom-none\n") }, "bridge", checks.Failed, "felhom-none", 5},
		{"interface that does not exist", func(t *testing.T, b *bed) { appendTo(t, b.config, "hypervisor: lxc\nbridge: lo0\n") }, "bridge", checks.Failed, "lo0", 5},
		{"no rules", func(*testing.T, *bed) {}, "firewall", checks.Warning, "no rules", 0},
		{"registry that is down", func(t *testing.T, b *bed) {
			must(t, os.WriteFile(b.dir+"/tok", []byte("s3cret"), 0o600))
			appendTo(t, b.config, "registry: {host: \"127.0.0.1:1\", username: u, token_file: "+b.dir+"/tok}\n")
		}, "registry", checks.Failed, "127.0.0.1:1", 5},
		{"guests where guests cannot be", func(t *testing.T, b *bed) {
			must(t, os.Mkdir(b.dir+"/closed", 0o700))
			appendTo(t, b.config, "hypervisor: lxc\nlxc: {path: "+b.dir+"/closed}\n")
		}, "hypervisor", checks.Failed, "closed has mode", 3},
		{"no golden image", func(t *testing.T, b *bed) {
			appendTo(t, b.config, "provision: {golden: "+b.dir+"/none.tar.zst}\n")
		}, "golden", checks.Failed, "none.tar.zst", 3},
		{"old golden image", func(t *testing.T, b *bed) {
			name := b.dir + "/vzdump-lxc-9100-2020_01_01-00_00_00.tar.zst"
			must(t, os.WriteFile(name, nil, 0o600))
			appendTo(t, b.config, "provision: {golden: "+name+"}\n")
		}, "golden", checks.Warning, "days old", 0},
		{"guest that never reported", func(t *testing.T, b *bed) { b.addedLongAgo(t) }, "guests", checks.Failed, "has not reported", 5},
		{"guest that reports a failure", func(t *testing.T, b *bed) {
			boot := b.mounted(t, "8200")
			body := `{"run":"r","sequence":1,"time":"2026-03-01T12:00:03Z","step":"run","state":"failed","message":"no \u001b[31mway","class":"not-ready","exit_code":5}`
			if code, answer := b.do(t, client(t, boot), "POST", "/reports", boot.LocalAPIToken.Reveal(), body); code != 204 {
				t.Fatalf("%d %s", code, answer)
			}
		}, "guests", checks.Warning, "guest 8200 reports a failure", 0},
		{"audit log that was changed", func(t *testing.T, b *bed) {
			replaceIn(t, b.dir+"/state/audit/audit.log", `"guest":8200`, `"guest":8201`)
		}, "audit", checks.Failed, "", 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := startDaemonProcess(t)
			boot := b.add(t, "8200")
			c.fault(t, b)
			code, report, text := b.doctor(t, "--timeout", "60s")
			row := rowSaying(t, report, c.check, c.reason)
			if row.Result != c.result || !strings.Contains(row.Reason, c.reason) || row.Remedy == "" && c.name != "guest that reports a failure" {
				t.Errorf("row %+v, want %s and %q", row, c.result, c.reason)
			}
			if code != c.code {
				t.Errorf("exit code %d, want %d:\n%s", code, c.code, text)
			}
			if strings.Contains(text, "s3cret") || strings.Contains(text, "\x1b") {
				t.Errorf("a secret, or an escape of a guest:\n%s", text)
			}
			assertNoSecret(t, text, boot)
			if c.name == "no rules" {
				commandtest.WantQuoted(t, "..", "### 5. More than the guests reach the local API", row.Reason)
			}
		})
	}
}

// holdKeys keeps the daemon from looking at its keys and certificates: it would soon write
// what it shows. That is over when release is called, and at the latest when the test ends.
func (b *bed) holdKeys(t *testing.T) (release func() error) {
	t.Helper()
	unlock, err := filelock.Wait(t.Context(), filepath.Join(b.dir, "state/tls.lock"))
	must(t, err)
	release = sync.OnceValue(unlock)
	t.Cleanup(func() {
		if err := release(); err != nil {
			t.Error(err)
		}
	})
	return release
}

// swapPin replaces one pin of guest 8200.
func (b *bed) swapPin(t *testing.T, key string) {
	t.Helper()
	file := b.dir + "/mounts/8200/bootstrap.json"
	data, err := os.ReadFile(file)
	must(t, err)
	_, rest, found := strings.Cut(string(data), `"`+key+`": "`)
	if !found {
		t.Fatalf("no %s in %s", key, file)
	}
	old, _, _ := strings.Cut(rest, `"`)
	replaceIn(t, file, old, "uSSmg6cuEJj9CF7hiBdQ5OEJKOs0NszXJXjRNBwq8DM=")
}

// addedLongAgo makes guest 8200 one that was added an hour ago.
func (b *bed) addedLongAgo(t *testing.T) {
	t.Helper()
	file := filepath.Join(b.dir, "state/guests/8200.json")
	var record map[string]any
	data, err := os.ReadFile(file)
	must(t, err, json.Unmarshal(data, &record))
	record["added"] = time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	data, err = json.Marshal(record)
	must(t, err, os.WriteFile(file, data, 0o600))
}

// Nothing was set up yet: doctor says so, and makes nothing.
func TestDoctorBeforeTheFirstStart(t *testing.T) {
	b := newBed(t)
	code, report, text := b.doctor(t)
	if code != 5 || rowOf(t, report, "daemon").Result != checks.Failed || rowOf(t, report, "store").Result != checks.Warning || rowOf(t, report, "pins").Result != checks.Unknown {
		t.Errorf("exit code %d:\n%s", code, text)
	}
	entries, err := os.ReadDir(b.dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("%v, %v: want agentd.yaml alone", entries, err)
	}
}

// A registry that takes the connection and never answers costs its own row.
func TestDoctorWithACheckThatHangs(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = silent.Close() })
	b := startDaemon(t)
	must(t, os.WriteFile(b.dir+"/tok", []byte("s3cret"), 0o600))
	appendTo(t, b.config, "registry: {host: \""+silent.Addr().String()+"\", username: u, token_file: "+b.dir+"/tok}\n")
	code, report, text := b.doctor(t, "--timeout", "2s")
	if code != 5 || rowOf(t, report, "registry").Result == checks.OK {
		t.Errorf("exit code %d:\n%s", code, text)
	}
	for _, name := range hostCheckNames {
		rowOf(t, report, name)
	}
	if row := rowOf(t, report, "pins"); row.Result != checks.OK {
		t.Errorf("pins: %+v", row)
	}
}

// Only a store that nodes share has guests of other nodes.
func TestElsewhereIsOfASharedStore(t *testing.T) {
	for _, c := range []struct {
		hypervisor, store string
		want              bool
	}{
		{config.HypervisorPCT, "/etc/pve/priv/felhom/guests", true},
		{"", "/etc/pve/priv/felhom/guests", true},
		{config.HypervisorPCT, "/var/lib/felhom-agentd/guests", false},
		{config.HypervisorPCT, "/etc/pve2/guests", false},
		{config.HypervisorLXC, "/etc/pve/priv/felhom/guests", false},
	} {
		if got := elsewhereOf(config.Config{Hypervisor: c.hypervisor, StoreDir: c.store}) != nil; got != c.want {
			t.Errorf("%q, %s: got %t, want %t", c.hypervisor, c.store, got, c.want)
		}
	}
}
