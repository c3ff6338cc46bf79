package provision

import (
	"errors"
	"maps"
	"slices"
	"strings"
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
	out.Container = hide(fromFile, secret)
	if problem != nil {
		out.Problem = problem.Error()
	}
	return out, nil
}

// hide returns c in which values are replaced that are in secret or look like a
// secret.
func hide(c contract.Container, secret map[string]string) contract.Container {
	looks := containerspec.SecretLooking(c)
	environment, labels := maps.Clone(c.Environment), maps.Clone(c.Labels)
	for name, value := range environment {
		if from, ok := secret[name]; ok && from == value || slices.Contains(looks, "environment."+name) || isOdd(name) {
			environment[name] = Hidden
		}
	}
	for name := range labels {
		if slices.Contains(looks, "labels."+name) || isOdd(name) {
			labels[name] = Hidden
		}
	}
	command := slices.Clone(c.Command)
	if slices.ContainsFunc(looks, func(path string) bool { return strings.HasPrefix(path, "command[") }) {
		command = []string{Hidden} // which argument is the secret's is not sure
	}
	c.Environment, c.Labels, c.Command = environment, labels, command
	return c
}

// isOdd reports whether SecretLooking cannot name the variable.
func isOdd(name string) bool {
	return len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool {
		return r != '_' && r != '-' && r != '.' && r != '/' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}
