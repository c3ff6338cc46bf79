package provision

import (
	"cmp"
	"maps"
	"slices"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/internal/containerspec"
	"github.com/felhom/felhom-golden/internal/contract"
)

// askedBefore returns what was asked for the guest of the record before.
func (p *Provisioner) askedBefore(r guests.Record) (Asked, error) {
	asked := Asked{Image: r.ControllerImage}
	if r.Asked == nil {
		return asked, nil
	}
	asked.Profile, asked.ReadyWait = r.Asked.Profile, r.Asked.ReadyWait
	asked.Container, asked.Repositories = (*contract.Container)(r.Asked.Container), r.Asked.Repositories
	secrets, err := p.options.Store.Secrets(r.Asked.Secrets)
	asked.Secrets = secrets
	return asked, err
}

// over returns before, overridden by what the job asks for.
func (j Job) over(before Asked) Asked {
	out := Asked{
		Image: cmp.Or(j.Image, before.Image), Profile: cmp.Or(j.Profile, before.Profile), ReadyWait: cmp.Or(j.ReadyWait, before.ReadyWait),
		Container: before.Container, Secrets: before.Secrets, Repositories: before.Repositories,
	}
	if j.Repositories != nil {
		out.Repositories = slices.Clip(j.Repositories)
		if len(out.Repositories) == 0 {
			out.Repositories = nil // as a record without any is read
		}
	}
	switch {
	case j.Container == nil && j.Secrets == nil:
		return out
	case j.IsWhole:
		out.Container, out.Secrets = j.Container, j.Secrets
		return out
	}
	out.Secrets = maps.Clone(before.Secrets)
	if j.Container != nil {
		c := containerspec.Merge(before.Container, j.Container)
		out.Container = &c
		for name := range j.Container.Environment {
			delete(out.Secrets, name) // it is not secret any more
		}
	}
	if j.Secrets != nil {
		if out.Secrets == nil {
			out.Secrets = map[string]string{}
		}
		maps.Copy(out.Secrets, j.Secrets)
		out.Container = without(out.Container, j)
	}
	return out
}

// without returns c without the variables that secrets replace.
func without(c *contract.Container, j Job) *contract.Container {
	if c == nil {
		return nil
	}
	out := *c
	out.Environment = maps.Clone(c.Environment)
	for name := range j.Secrets {
		if j.Container == nil || !has(j.Container.Environment, name) {
			delete(out.Environment, name)
		}
	}
	return &out
}

func has(m map[string]string, name string) bool {
	_, ok := m[name]
	return ok
}

// keep returns asked as the record keeps it. It writes the secrets to a
// separate file, which the record names.
func (p *Provisioner) keep(vmid int, asked Asked) (*guests.Asked, error) {
	if asked.Profile == "" && asked.ReadyWait == 0 && containerspec.IsZero(asked.Container) && len(asked.Secrets) == 0 && len(asked.Repositories) == 0 {
		return nil, nil
	}
	out := &guests.Asked{
		Profile: asked.Profile, ReadyWait: asked.ReadyWait, Container: (*guests.Container)(asked.Container), Repositories: asked.Repositories,
	}
	if len(asked.Secrets) == 0 {
		return out, nil
	}
	var err error
	out.Variables = slices.Sorted(maps.Keys(asked.Secrets))
	out.Secrets, err = p.options.Store.PutSecrets(vmid, asked.Secrets)
	return out, err
}
