package provision

import (
	"errors"
	"maps"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/internal/containerspec"
	"github.com/felhom/felhom-golden/internal/contract"
)

// Hidden stands for a value that is not shown.
const Hidden = "(hidden)"

// Settings are what a guest gets for its workload, without anything secret.
type Settings struct {
	Image     string             `json:"image"`
	IsAsked   bool               `json:"image_was_asked_for"` // false: it is the configuration's
	Profile   contract.Profile   `json:"profile"`
	ReadyWait time.Duration      `json:"-"`
	Wait      string             `json:"ready_wait,omitempty"`
	Container contract.Container `json:"-"`
	// Repositories are the guest's own, beside those of all guests.
	Repositories []string `json:"repositories,omitempty"`
	Problem      string   `json:"problem,omitempty"` // why the settings are not complete
}

// Settings returns what guest vmid would get now. Values of env_file, and those
// that look like a secret, are replaced by [Hidden].
func (p *Provisioner) Settings(cfg config.Config, vmid int) (Settings, error) {
	record, err := p.options.Store.Get(vmid)
	if err != nil {
		return Settings{}, err
	}
	asked, problem := p.askedBefore(record)
	cfg = cfg.WithImage(asked.Image)
	out := Settings{Image: cfg.ControllerImage, IsAsked: asked.Image != "", Profile: cfg.Profile, ReadyWait: cfg.ReadyWait, Repositories: asked.Repositories}
	if asked.Profile != "" {
		out.Profile = asked.Profile
	}
	if asked.ReadyWait != 0 {
		out.ReadyWait = asked.ReadyWait
	}
	if out.ReadyWait != 0 {
		out.Wait = out.ReadyWait.String()
	}
	secret := map[string]string{}
	if cfg.EnvFile != "" {
		env, err := ReadEnvFile(cfg.EnvFile)
		problem = errors.Join(problem, err)
		maps.Copy(secret, env)
		cfg.EnvFile = ""
	}
	fromFile := containerspec.Merge(&contract.Container{Environment: secret}, cfg.Container, &contract.Container{Environment: asked.Secrets}, asked.Container)
	maps.Copy(secret, asked.Secrets)
	out.Container = containerspec.Redact(fromFile, secret, Hidden)
	if problem != nil {
		out.Problem = problem.Error()
	}
	return out, nil
}
