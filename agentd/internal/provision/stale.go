package provision

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/felhom/felhom-golden/agentd/internal/configmount"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/token"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/regular"
)

// placeholder replaces the token where two files are compared without it.
var placeholder = func() contract.Secret {
	s, err := contract.ParseSecret("placeholder")
	if err != nil {
		panic(err) // a constant
	}
	return s
}()

// encoded returns bootstrap.json of boot with a placeholder for the token, or
// an error that says why boot is not valid.
func encoded(boot contract.Bootstrap) ([]byte, error) {
	boot.LocalAPIToken = placeholder
	return boot.Encode()
}

// stale returns the keys in which the guest's bootstrap.json differs from boot, and the files beside it that
// differ: none if it is what would be written now. A file that is missing or cannot be read differs as a
// whole. What the guest's root may have written there can only lead to the file being written again.
func (p *Provisioner) stale(vmid int, boot contract.Bootstrap) ([]string, error) {
	want, err := encoded(boot)
	if err != nil {
		return nil, err
	}
	whole := []string{configmount.BootstrapFile}
	data, err := p.options.Mounts.Read(vmid, configmount.BootstrapFile, contract.MaxBootstrapBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, regular.ErrNotRegular), errors.Is(err, regular.ErrTooLarge):
		return whole, nil
	case err != nil:
		return nil, err
	}
	has, findings := contract.Parse(data)
	if findings.Err() != nil {
		return whole, nil
	}
	got, err := encoded(has)
	if err != nil {
		return whole, nil
	}
	keys, err := changedKeys(want, got)
	if err != nil {
		return nil, err
	}
	isValid, err := p.isValid(vmid, has.LocalAPIToken)
	if err != nil {
		return nil, err
	}
	if !isValid {
		return append(keys, "local_api_token"), nil
	}
	files, err := p.staleFiles(vmid, boot, has.LocalAPIToken)
	return append(keys, files...), err
}

// staleFiles returns the files for the guest's engine that are not what belongs
// to its bootstrap.json, whose token is tok. A command that was killed between
// the two leaves the previous token in hosts.toml, which ends with the first
// use of the new one.
func (p *Provisioner) staleFiles(vmid int, boot contract.Bootstrap, tok contract.Secret) ([]string, error) {
	if !boot.RegistryProxy {
		return nil, nil
	}
	parsed, err := token.Parse(tok.Reveal())
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range []struct {
		name string
		want []byte
	}{{contract.RegistryCertificateFile, p.options.Certificates}, {contract.RegistryHostsFile, hostsFile(boot.LocalAPIEndpoint, parsed)}} {
		has, err := p.options.Mounts.Read(vmid, f.name, int64(len(f.want)))
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, regular.ErrNotRegular), errors.Is(err, regular.ErrTooLarge):
			names = append(names, f.name)
		case err != nil:
			return nil, err
		case !bytes.Equal(has, f.want):
			names = append(names, f.name)
		}
	}
	return names, nil
}

// isValid reports whether the text is a token that guest vmid may use.
func (p *Provisioner) isValid(vmid int, text contract.Secret) (bool, error) {
	tok, err := token.Parse(text.Reveal())
	if err != nil || tok.VMID() != vmid {
		return false, nil
	}
	_, err = p.options.Store.Authenticate(tok)
	if errors.Is(err, guests.ErrUnknownToken) {
		return false, nil
	}
	return err == nil, err
}

// changedKeys returns the top-level keys of two JSON objects whose values differ.
func changedKeys(a, b []byte) ([]string, error) {
	var before, after map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(a, &before), json.Unmarshal(b, &after)); err != nil {
		return nil, fmt.Errorf("compare bootstrap.json: %w", err)
	}
	all := maps.Clone(before)
	maps.Copy(all, after)
	var keys []string
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if !bytes.Equal(before[key], after[key]) {
			keys = append(keys, key)
		}
	}
	return keys, nil
}
