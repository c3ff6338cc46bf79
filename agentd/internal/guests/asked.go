package guests

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/contract"
)

// Asked is what a spec or flags set for one guest in place of the
// configuration. It stays until it is set again.
type Asked struct {
	Profile   contract.Profile `json:"profile,omitempty"`
	ReadyWait time.Duration    `json:"ready_wait,omitempty"` // nanoseconds
	Container *Container       `json:"container,omitempty"`
	// Repositories are references that the guest may pull through the registry
	// proxy beside those that all may.
	Repositories []string `json:"repositories,omitempty"`
	// Secrets names the file with the variables of env_file, and Variables
	// their names; both are empty if there are none.
	Secrets   string   `json:"secrets,omitempty"`
	Variables []string `json:"secret_variables,omitempty"`
}

// Container is a [contract.Container] as a record keeps it.
type Container struct {
	Ports       []string          `json:"ports,omitzero"`
	Volumes     []string          `json:"volumes,omitzero"`
	Environment map[string]string `json:"environment,omitzero"`
	ExtraHosts  []string          `json:"extra_hosts,omitzero"`
	Memory      string            `json:"memory,omitempty"`
	Labels      map[string]string `json:"labels,omitzero"`
	Command     []string          `json:"command,omitzero"`
	Network     string            `json:"network,omitempty"`
}

const (
	secretsSuffix   = ".secrets"
	maxSecretsBytes = 1 << 20
)

// PutSecrets writes variables of guest vmid to a new file of mode 0600 and
// returns its name, for [Asked.Secrets]. The file is removed by
// [Store.SweepSecrets] unless a record names it.
func (s *Store) PutSecrets(vmid int, variables map[string]string) (name string, err error) {
	data, err := json.Marshal(variables)
	if err != nil {
		return "", fmt.Errorf("secrets of guest %d: %w", vmid, err)
	}
	if len(data) >= maxSecretsBytes { // it could not be read again
		return "", fmt.Errorf("secrets of guest %d: %d bytes exceed the limit of %d", vmid, len(data), maxSecretsBytes)
	}
	// Locked, because other nodes of a cluster sweep the directory as well.
	unlock, err := s.locked(context.Background())
	if err != nil {
		return "", fmt.Errorf("secrets of guest %d: %w", vmid, err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	name = secretsPrefix(vmid) + rand.Text()[:12] + secretsSuffix
	if err := atomicfile.Write(s.records.root(), name, append(data, '\n'), atomicfile.Attr{Mode: 0o600}); err != nil {
		return "", fmt.Errorf("secrets of guest %d: %w", vmid, ReadOnly(err))
	}
	return name, nil
}

// Secrets returns the variables in the file of that name; nil if name is "".
func (s *Store) Secrets(name string) (map[string]string, error) {
	if name == "" {
		return nil, nil
	}
	if !fs.ValidPath(name) || strings.Contains(name, "/") || !strings.HasSuffix(name, secretsSuffix) {
		return nil, fmt.Errorf("guest store: %q is not the name of a file with secrets", name)
	}
	data, err := readBounded(s.records.root(), name, maxSecretsBytes)
	if err != nil {
		return nil, fmt.Errorf("guest store: secrets: %w", err)
	}
	variables := map[string]string{}
	if err := json.Unmarshal(data, &variables); err != nil {
		return nil, fmt.Errorf("guest store: %s is not a file with secrets", name) // the cause could quote one
	}
	return variables, nil
}

// SweepSecrets removes the files with secrets of guest vmid that its record does
// not name. The caller must exclude other changes of that guest meanwhile.
func (s *Store) SweepSecrets(vmid int) error {
	keep := ""
	switch r, err := s.Get(vmid); {
	case errors.Is(err, ErrNotFound):
	case err != nil:
		return err
	case r.Asked != nil:
		keep = r.Asked.Secrets
	}
	entries, err := fs.ReadDir(s.records.root().FS(), ".")
	if err != nil {
		return fmt.Errorf("guest store: %w", err)
	}
	var all []error
	for _, entry := range entries {
		name := entry.Name()
		of := cmp.Or(atomicfile.Target(name), name)
		if name == keep || !strings.HasPrefix(of, secretsPrefix(vmid)) || !strings.HasSuffix(of, secretsSuffix) {
			continue
		}
		if err := atomicfile.Remove(s.records.root(), name); err != nil {
			all = append(all, fmt.Errorf("guest store: %w", ReadOnly(err)))
		}
	}
	return errors.Join(all...)
}

func secretsPrefix(vmid int) string { return strconv.Itoa(vmid) + "-" }
