package provision_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/fault"
)

func newProxyRig(t *testing.T) *rig {
	t.Helper()
	r := newRig(t)
	r.Certificates = []byte("certificates\n")
	r.Bootstrap = func(vmid int, asked provision.Asked) (contract.Bootstrap, error) {
		boot, err := bootstrap(vmid, asked)
		boot.RegistryProxy = true
		return boot, err
	}
	return r
}

func (r *rig) file(name string) string { return filepath.Join(r.Mounts.Path(vmid), name) }

// The engine's own files are written again where they are not what they must
// be: a command can be killed between bootstrap.json and them.
func TestFilesOfTheRegistryProxyConverge(t *testing.T) {
	for name, spoil := range map[string]func(r *rig) error{
		"old token": func(r *rig) error {
			return os.WriteFile(r.file(contract.RegistryHostsFile), []byte("of the token before\n"), 0o640)
		},
		"no hosts file":   func(r *rig) error { return os.Remove(r.file(contract.RegistryHostsFile)) },
		"no certificate":  func(r *rig) error { return os.Remove(r.file(contract.RegistryCertificateFile)) },
		"new certificate": func(r *rig) error { r.Certificates = []byte("other certificates\n"); return nil },
		"a file of another": func(r *rig) error {
			return os.Symlink("/etc/passwd", r.file("x")) // no reason to write
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newProxyRig(t)
			r.apply(t, job(), provision.Provisioned)
			r.apply(t, job(), provision.Unchanged)
			if err := spoil(r); err != nil {
				t.Fatal(err)
			}
			want := provision.Updated
			if name == "a file of another" {
				want = provision.Unchanged
			}
			r.apply(t, job(), want)
			tok, _ := r.inMount(t)
			hosts, err := os.ReadFile(r.file(contract.RegistryHostsFile))
			if err != nil || !strings.Contains(string(hosts), tok.Reveal()) {
				t.Errorf("hosts.toml does not have the token of bootstrap.json: %v", err)
			}
			if data, err := os.ReadFile(r.file(contract.RegistryCertificateFile)); err != nil || string(data) != string(r.Certificates) {
				t.Errorf("%q, %v", data, err)
			}
			r.apply(t, job(), provision.Unchanged)
		})
	}
}

// What has taken a guest over must not get a new token because a specification
// is applied once more.
func TestProvisionDoesNotUndoARevocation(t *testing.T) {
	r := newRig(t)
	r.apply(t, job(), provision.Provisioned)
	p := provision.New(r.Options)
	if _, err := p.Revoke(t.Context(), vmid); err != nil {
		t.Fatal(err)
	}
	before, _ := r.inMount(t)
	if _, err := r.Apply(t.Context(), job()); fault.Of(err) != fault.Invalid || !strings.Contains(fault.HintOf(err), "guest rotate") {
		t.Errorf("%v (%s), want a refusal with a hint", err, fault.HintOf(err))
	}
	if record, err := r.store.Get(vmid); err != nil || !record.IsRevoked() {
		t.Errorf("%+v, %v", record, err)
	}
	if after, _ := r.inMount(t); after.Reveal() != before.Reveal() {
		t.Error("the mount has another token")
	}
	if _, err := p.Rotate(t.Context(), vmid); err != nil {
		t.Fatal(err)
	}
	r.apply(t, job(), provision.Unchanged)
}
