package provision_test

import (
	"context"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/agentd/internal/token"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/pin"
)

func renewal(t *testing.T, endpoint string, keys ...byte) provision.Renewal {
	t.Helper()
	what := provision.Renewal{Host: provision.Host{Endpoint: endpoint}, Certificates: []byte("certificates\n")}
	for _, key := range keys {
		sum := slices.Repeat([]byte{key}, 32)
		var p pin.Pin
		if err := p.UnmarshalText([]byte("sha256//" + base64Of(sum))); err != nil {
			t.Fatal(err)
		}
		what.Host.Pins = append(what.Host.Pins, p)
	}
	return what
}

func isDue(overlap time.Duration) func(guests.Record, contract.Profile) (bool, time.Duration) {
	return func(guests.Record, contract.Profile) (bool, time.Duration) { return true, overlap }
}

// What the host says of itself is renewed, and nothing else: neither the token
// nor what the configuration says by now of image and settings.
func TestRenew(t *testing.T) {
	r := newRig(t)
	tok := r.add(t)
	before := r.mounted(t)
	r.Bootstrap = func(int, provision.Asked) (contract.Bootstrap, error) {
		t.Error("the configuration was asked")
		return contract.Bootstrap{}, errors.New("asked")
	}
	p := provision.New(r.Options)
	what := renewal(t, "https://192.0.2.99:8443", 1, 2)
	for i := range 2 {
		got, err := p.Renew(t.Context(), vmid, what)
		if err != nil || got.IsWritten != (i == 0) || got.HasToken {
			t.Fatalf("renewal %d: %+v, %v", i, got, err)
		}
	}
	after := r.mounted(t)
	if after.LocalAPIEndpoint.URL() != what.Host.Endpoint || !slices.Equal(after.LocalAPIPins, what.Host.Pins) {
		t.Errorf("the mount says %s %v", after.LocalAPIEndpoint.URL(), after.LocalAPIPins)
	}
	if after.LocalAPIToken.Reveal() != tok.Reveal() || after.ControllerImage.String() != before.ControllerImage.String() || after.HubURL != before.HubURL {
		t.Error("more than the host's part has changed")
	}
	r.isValid(t, tok)
	what.Token = isDue(time.Hour)
	if got, err := p.Renew(t.Context(), vmid, what); err != nil || !got.HasToken {
		t.Fatalf("with a token: %+v, %v", got, err)
	}
	fresh, _ := r.inMount(t)
	if fresh.Reveal() == tok.Reveal() {
		t.Error("the token is the same")
	}
	r.isValid(t, tok) // until the new one is used
	r.isValid(t, fresh)
	if err := r.store.MarkUsed(t.Context(), fresh); err != nil {
		t.Fatal(err)
	}
	r.isReplaced(t, tok)
}

func TestRenewRefuses(t *testing.T) {
	what := func(t *testing.T) provision.Renewal {
		w := renewal(t, "https://192.0.2.99:8443", 1, 2)
		w.Token = isDue(time.Hour)
		return w
	}
	t.Run("unknown guest", func(t *testing.T) {
		r := newRig(t)
		if _, err := provision.New(r.Options).Renew(t.Context(), vmid, what(t)); !errors.Is(err, provision.ErrNoMount) {
			t.Errorf("error %v, want ErrNoMount", err)
		}
		if left := r.left(t); len(left) > 0 {
			t.Errorf("left %v", left)
		}
	})
	t.Run("no mount", func(t *testing.T) {
		r := newRig(t)
		tok := r.add(t)
		if err := os.RemoveAll(r.Mounts.Path(vmid)); err != nil {
			t.Fatal(err)
		}
		if _, err := provision.New(r.Options).Renew(t.Context(), vmid, what(t)); !errors.Is(err, provision.ErrNoMount) {
			t.Errorf("error %v, want ErrNoMount", err)
		}
		r.isValid(t, tok)
		if _, err := os.Lstat(r.Mounts.Path(vmid)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the mount was made: %v", err)
		}
	})
	for name, text := range map[string]string{"damaged": "{", "of another guest": "", "a directory": "dir"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			tok := r.add(t)
			file := filepath.Join(r.Mounts.Path(vmid), "bootstrap.json")
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			switch text {
			case "dir":
				err = errors.Join(os.Remove(file), os.Mkdir(file, 0o700))
			case "":
				err = os.WriteFile(file, []byte(replaceToken(string(data), tok.Reveal(), tokenOf(8299))), 0o600)
			default:
				err = os.WriteFile(file, []byte(text), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := provision.New(r.Options).Renew(t.Context(), vmid, what(t)); fault.Of(err) != fault.NotReady || fault.HintOf(err) == "" {
				t.Errorf("error %v, want NotReady with a hint", err)
			}
			record, err := r.store.Get(vmid)
			if err != nil || len(record.Pending) > 0 || record.Previous != nil {
				t.Errorf("a token was minted: %+v, %v", record, err)
			}
		})
	}
	t.Run("revoked", func(t *testing.T) {
		r := newRig(t)
		r.add(t)
		if _, err := r.store.Revoke(t.Context(), vmid); err != nil {
			t.Fatal(err)
		}
		if got, err := provision.New(r.Options).Renew(t.Context(), vmid, what(t)); err != nil || got.HasToken || !got.IsWritten {
			t.Errorf("%+v, %v, want the host's part alone renewed", got, err)
		}
		if record, err := r.store.Get(vmid); err != nil || !record.IsRevoked() {
			t.Errorf("it is not revoked any more: %v", err)
		}
	})
}

// Killed at any call of the store, a renewal leaves a valid token in the mount,
// and the same renewal again leads to the same.
func TestRenewKilled(t *testing.T) {
	for _, method := range []string{"Mint", "Update"} {
		t.Run(method, func(t *testing.T) {
			r := newRig(t)
			old := r.add(t)
			r.faults.fail[method] = context.Canceled
			what := renewal(t, "https://192.0.2.99:8443", 1, 2)
			what.Token = isDue(time.Hour)
			p := provision.New(r.Options)
			if _, err := p.Renew(t.Context(), vmid, what); err == nil {
				t.Fatal("it succeeded")
			}
			r.isValid(t, old)
			inMount, _ := r.inMount(t)
			r.isValid(t, inMount)
			r.faults.fail[method] = nil
			if got, err := p.Renew(t.Context(), vmid, what); err != nil || !got.HasToken {
				t.Fatalf("again: %+v, %v", got, err)
			}
			r.isValid(t, old)
			inMount, _ = r.inMount(t)
			r.isValid(t, inMount)
		})
	}
}

func base64Of(sum []byte) string { return base64.StdEncoding.EncodeToString(sum) }

func tokenOf(vmid int) string { return token.Mint(vmid).Reveal() }

func replaceToken(text, old, with string) string { return strings.Replace(text, old, with, 1) }
