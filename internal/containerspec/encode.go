package containerspec

import (
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/felhom/felhom-golden/internal/contract"
)

// Encode returns c as the YAML that Parse reads: keys in the order of the
// documentation, without absent ones.
func Encode(c contract.Container) ([]byte, error) {
	data, err := yaml.Marshal(struct {
		Ports       *[]string          `yaml:"ports,omitempty"`
		Volumes     *[]string          `yaml:"volumes,omitempty"`
		Environment *map[string]string `yaml:"environment,omitempty"`
		ExtraHosts  *[]string          `yaml:"extra_hosts,omitempty"`
		Memory      string             `yaml:"memory,omitempty"`
		Labels      *map[string]string `yaml:"labels,omitempty"`
		Command     *[]string          `yaml:"command,omitempty"`
		Network     string             `yaml:"network,omitempty"`
	}{
		present(c.Ports), present(c.Volumes), presentMap(c.Environment), present(c.ExtraHosts), c.Memory,
		presentMap(c.Labels), present(c.Command), c.Network,
	})
	if err != nil {
		return nil, fmt.Errorf("encode the settings of the container: %w", err)
	}
	return data, nil
}

// present returns nil for what is absent; an empty list is not.
func present(list []string) *[]string {
	if list == nil {
		return nil
	}
	return &list
}

func presentMap(m map[string]string) *map[string]string {
	if m == nil {
		return nil
	}
	return &m
}
