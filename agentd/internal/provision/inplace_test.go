package provision_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/driver"
)

// unsynced is mounts whose writes replace the file and then fail, as they do
// when the sync of the directory fails.
type unsynced struct{ provision.Mounts }

func (u unsynced) Put(vmid int, root driver.IDs, name string, data []byte) error {
	if err := u.Mounts.Put(vmid, root, name, data); err != nil {
		return err
	}
	return fmt.Errorf("config mount of guest %d: %w: %w", vmid, atomicfile.ErrInPlace, errBroken)
}

// stuck is unsynced mounts from which nothing can be removed either.
type stuck struct{ unsynced }

func (stuck) Remove(int) error             { return errBroken }
func (stuck) RemoveFile(int, string) error { return errBroken }

// A write of the mount that fails after the rename leaves the new token in the
// mount: whatever is undone, the token in the mount is a valid one.
func TestWriteThatFailsAfterTheRename(t *testing.T) {
	provisionJob := func(t *testing.T, r *rig) error {
		j := job()
		j.Image = "registry.example/controller:v2"
		_, err := r.Apply(t.Context(), j)
		return err
	}
	register := func(t *testing.T, r *rig) error {
		_, err := provision.New(r.Options).Register(t.Context(), vmid)
		return err
	}
	for _, c := range []struct {
		name    string
		before  func(*testing.T, *rig)
		work    func(*testing.T, *rig) error
		mounts  func(provision.Mounts) provision.Mounts
		isEmpty bool // nothing is left
	}{
		{name: "guest add", work: register, isEmpty: true},
		{name: "guest add of a known guest", before: func(t *testing.T, r *rig) { r.add(t) }, work: register},
		{name: "guest add, nothing removable", work: register, mounts: func(m provision.Mounts) provision.Mounts { return stuck{unsynced{m}} }},
		{name: "provision", work: provisionJob, isEmpty: true},
		{name: "provision of a known guest", before: func(t *testing.T, r *rig) { r.add(t) }, work: provisionJob},
		{name: "update", before: func(t *testing.T, r *rig) { r.apply(t, job(), provision.Provisioned) }, work: provisionJob},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			if c.before != nil {
				c.before(t, r)
			}
			whole := r.Mounts
			r.Mounts = unsynced{whole}
			if c.mounts != nil {
				r.Mounts = c.mounts(whole)
			}
			if err := c.work(t, r); !errors.Is(err, errBroken) {
				t.Fatalf("error %v, want the cause in it", err)
			}
			r.Mounts = whole
			if c.isEmpty {
				if d := cmp.Diff([]string(nil), r.left(t)); d != "" {
					t.Errorf("left behind (-want +got):\n%s", d)
				}
				return
			}
			tok, _ := r.inMount(t)
			r.isValid(t, tok)
			no(t, register(t, r)) // and the next command succeeds
			tok, _ = r.inMount(t)
			r.isValid(t, tok)
		})
	}
}
