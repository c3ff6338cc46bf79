package contract

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/felhom/felhom-golden/internal/pin"
)

// Encode returns b as the host writes it: keys in the order of the
// documentation, two blanks of indent, a line break at the end. It has the
// secrets in plain text. Encode reads the result back with [Parse]; an error
// names the values of b that are not valid.
func (b Bootstrap) Encode() ([]byte, error) {
	file, err := b.file()
	if err != nil {
		return nil, fmt.Errorf("encode bootstrap.json: %w", err)
	}
	data, err := encodeJSON(file)
	if err != nil {
		return nil, fmt.Errorf("encode bootstrap.json: %w", err)
	}
	_, findings := Parse(data)
	var errs []error
	for _, f := range findings.Errors() { // without positions, because the caller does not have the text
		errs = append(errs, fmt.Errorf("encode bootstrap.json: %s: %s", f.Path, f.Message))
	}
	if errs != nil {
		return nil, errors.Join(errs...)
	}
	return data, nil
}

func (b Bootstrap) file() (bootstrapFile, error) {
	if b.SchemaVersion == 0 {
		b.SchemaVersion = SchemaVersion
	}
	file := bootstrapFile{
		SchemaVersion:    b.SchemaVersion,
		HubURL:           b.HubURL,
		HostID:           b.HostID,
		GuestID:          b.GuestID,
		LocalAPIEndpoint: b.LocalAPIEndpoint.URL(),
		LocalAPIToken:    b.LocalAPIToken.Reveal(),
		RegistryMirror:   b.RegistryMirror,
		ControllerImage:  b.ControllerImage.String(),
		ManifestDigest:   b.ManifestDigest.String(),
		ConfigDigest:     b.ConfigDigest.String(),
	}
	if b.Profile != ProfileFelhom { // the default is left out: older golden images refuse the key
		file.Profile = string(b.Profile)
	}
	if b.RegistryProxy {
		file.RegistryAccess = registryProxy
	}
	if b.ReadyWait != 0 {
		file.ReadyWait = b.ReadyWait.String()
	}
	if err := file.setPins(b.LocalAPIPins); err != nil {
		return bootstrapFile{}, err
	}
	if r := b.Registry; r != nil {
		file.Registry = &registryFile{Host: r.Host, Username: r.Username, Token: r.Token.Reveal()}
	}
	if c := b.Container; c != nil {
		file.Container = &containerFile{
			Ports: c.Ports, Volumes: c.Volumes, Environment: c.Environment, ExtraHosts: c.ExtraHosts, Memory: c.Memory,
			Labels: c.Labels, Command: c.Command, Network: c.Network,
		}
	}
	return file, file.checkUTF8()
}

// setPins writes the pins under their keys. The file has two keys for each form.
func (f *bootstrapFile) setPins(set pin.Set) error {
	for _, p := range set {
		var slots []*string
		text := p.Base64()
		switch p.Form() {
		case pin.SPKI:
			slots = []*string{&f.LocalAPIPinSPKI, &f.LocalAPIPinSPKINext}
		case pin.Leaf:
			slots, text = []*string{&f.LocalAPIPinLeaf, &f.LocalAPIPinLeafNext}, p.String()
		default:
			return errors.New("an empty pin cannot be written")
		}
		free := slices.IndexFunc(slots, func(s *string) bool { return *s == "" })
		if free < 0 {
			return fmt.Errorf("there are more than %d pins over the %s; a current and a next one is all that the file holds", len(slots), p.Form())
		}
		*slots[free] = text
	}
	return nil
}

// checkUTF8 refuses what encoding/json would change silently. All other values
// are ASCII by their own rules.
func (f *bootstrapFile) checkUTF8() error {
	texts := []string{f.HubURL}
	if f.Registry != nil {
		texts = append(texts, f.Registry.Username)
	}
	if c := f.Container; c != nil {
		texts = append(slices.Concat(texts, c.Ports, c.Volumes, c.ExtraHosts, c.Command), c.Memory, c.Network)
		for _, pairs := range []map[string]string{c.Environment, c.Labels} {
			for name, value := range pairs {
				texts = append(texts, name, value)
			}
		}
	}
	if slices.ContainsFunc(texts, func(s string) bool { return !utf8.ValidString(s) }) {
		return errors.New("a value is not UTF-8")
	}
	return nil
}

func encodeJSON(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false) // people read these files
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}
