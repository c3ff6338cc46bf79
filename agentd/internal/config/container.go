package config

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/shlex"

	"github.com/felhom/felhom-golden/internal/containerspec"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/strictyaml"
)

// Asked is what a guest's specification or its flags set for its workload. Zero
// values are not set.
type Asked struct {
	Image     string // of the controller
	Profile   contract.Profile
	ReadyWait time.Duration
	Container *contract.Container
	EnvFile   string // absolute path of a file with variables that may be secret
	// Repositories are references that the guest may pull through the proxy beside
	// those of all; nil: not asked for.
	Repositories []string
}

func profile(into *contract.Profile) func(strictyaml.Value) {
	return parsed(func(s string) error {
		p, err := contract.ParseProfile(s)
		if err == nil {
			*into = p
		}
		return err
	})
}

func readyWait(into *time.Duration) func(strictyaml.Value) {
	return parsed(func(s string) (err error) { *into, err = contract.ParseReadyWait(s); return err })
}

func container(into **contract.Container) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		c := containerspec.Decode(v)
		*into = &c
	}
}

// ContainerFlags are the flags of one guest's container, as they were given.
type ContainerFlags struct {
	Env, Labels, Publish, Volumes []string
	Memory, Command               string
}

// Container returns the settings of the flags, nil if there are none. The error
// joins all mistakes, each with its flag.
func (f ContainerFlags) Container() (*contract.Container, error) {
	var all []error
	pairs := func(what, flag string, list []string) map[string]string {
		if len(list) == 0 {
			return nil
		}
		m := map[string]string{}
		for _, text := range list {
			name, value, err := containerspec.ParsePair(what, text)
			if err != nil {
				all = append(all, fmt.Errorf("--%s: %w", flag, err))
				continue
			}
			m[name] = value
		}
		return m
	}
	c := contract.Container{
		Environment: pairs("variable", "env", f.Env), Labels: pairs("label", "label", f.Labels),
		Ports: f.Publish, Volumes: f.Volumes, Memory: f.Memory,
	}
	if f.Command != "" {
		words, err := shlex.Split(f.Command)
		if err != nil || len(words) == 0 {
			all = append(all, errors.New("--command: want words as in a shell, such as 'serve --verbose'; a quote is not closed"))
		}
		c.Command = words
	}
	flags := map[string]string{"ports": "publish", "volumes": "volume", "memory": "memory", "command": "command", "labels": "label", "environment": "env"}
	for _, p := range containerspec.Check(c) {
		key := firstKey(p.Path)
		all = append(all, fmt.Errorf("--%s: %s", flags[key], p.Message))
	}
	if err := errors.Join(all...); err != nil || containerspec.IsZero(&c) {
		return nil, err
	}
	return &c, nil
}

// firstKey returns the first key of a path such as ports[0].
func firstKey(path string) string {
	if i := strings.IndexAny(path, ".["); i >= 0 {
		return path[:i]
	}
	return path
}
