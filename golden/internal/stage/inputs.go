package stage

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/regular"
)

// inputSums are the digests of the files of this machine that the base depends on.
type inputSums struct {
	self    string  // this program: a new one builds again
	keys    []Input // keyrings
	files   []string
	scripts bool // the base has a second layer: of scripts or authorities
}

// keyHint returns what to do about a keyring that cannot be read.
func (p *Plan) keyHint(file string) string {
	key := "apt.sources[].key"
	switch {
	case file == debianKeyring:
		return "install debian-archive-keyring, or name the keyring with apt.keyring in the recipe"
	case p.Recipe.Apt.Keyring != "" && file == p.Recipe.Local(p.Recipe.Apt.Keyring):
		key = "apt.keyring"
	}
	return "look at " + key + " in the recipe: relative paths start at the recipe's directory"
}

// OwnDigest names this program by the SHA-256 of its bytes, which it reads once:
// another program may build, or find, other things.
var OwnDigest = sync.OnceValues(func() (string, error) {
	sum, err := regular.Sum("/proc/self/exe", sha256.New())
	if err != nil {
		return "", fmt.Errorf("hash this program: %w", err)
	}
	return sum, nil
})

// resolveInputs hashes the files that the base depends on. Its error names
// every one that cannot be read.
func (p *Plan) resolveInputs() (in inputSums, err error) {
	if in.self, err = OwnDigest(); err != nil {
		return in, err
	}
	var errs error
	for _, s := range p.Sources {
		sum, err := regular.Sum(s.SignedBy, sha256.New())
		if err != nil {
			errs = errors.Join(errs, fault.WrapHint(fault.Invalid, fmt.Errorf("read keyring of %s: %w", s.URI, err), p.keyHint(s.SignedBy)))
		}
		in.keys = append(in.keys, Input{Path: s.SignedBy, SHA256: sum})
	}
	for _, s := range p.Recipe.Apt.Guest {
		if s.Key == "" {
			continue
		}
		if _, err := regular.Sum(p.Recipe.Local(s.Key), sha256.New()); err != nil {
			errs = errors.Join(errs, fault.WrapHint(fault.Invalid, fmt.Errorf("read key of %s: %w", s.URI, err), "look at apt.guest[].key in the recipe: relative paths start at the recipe's directory"))
		}
	}
	files, err := Files(&p.Recipe)
	errs = errors.Join(errs, err)
	authorities, err := trusted(files)
	errs = errors.Join(errs, err)
	in.scripts = len(p.Recipe.Scripts) > 0 || authorities
	for _, s := range p.Recipe.Scripts {
		sum, err := regular.Sum(p.Recipe.Local(s.Path), sha256.New())
		if err != nil {
			errs = errors.Join(errs, fault.WrapHint(fault.Invalid, fmt.Errorf("read script: %w", err), "look at scripts[].path in the recipe: relative paths start at the recipe's directory"))
		}
		p.Inputs = append(p.Inputs, Input{Path: s.Path, SHA256: sum})
	}
	if !in.scripts {
		return in, errs
	}
	for _, f := range files {
		sum, err := Sum(f)
		errs = errors.Join(errs, err)
		in.files = append(in.files, sum)
	}
	return in, errs
}

// resolveKeys hashes everything that the two layers depend on.
func (p *Plan) resolveKeys(sealSpec string, in inputSums) (err error) {
	r := p.Recipe
	const form = 2 // of how apt is asked
	p.stateKey, err = keyOf(form, r.Suite, r.Arch, p.Sources, p.Releases, p.Tools, in.keys, r.Apt.Snapshot)
	if err != nil {
		return err
	}
	p.choiceKey, err = keyOf(form, r.Suite, r.Arch, p.Sources, p.Releases, p.Packages, p.Tools, in.keys, r.Apt.Snapshot)
	if err != nil {
		return err
	}
	p.packagesKey, err = keyOf(in.self, sealSpec, p.Engine, r.Suite, r.Arch, r.Apt.Components, p.Sources, p.Releases, p.Packages, p.Tools, in.keys, r.Units.Disable, p.Epoch.Unix())
	if err != nil || !in.scripts {
		return err
	}
	p.scriptsKey, err = keyOf(p.packagesKey, r.Scripts, p.Inputs, in.files, p.Guest)
	return err
}

// BaseKey names the finished base: equal keys, equal bases.
func (p *Plan) BaseKey() string { return cmp.Or(p.scriptsKey, p.packagesKey) }

// keyOf hashes the JSON of its arguments, which is unambiguous and has sorted keys.
func keyOf(parts ...any) (string, error) {
	data, err := json.Marshal(parts)
	if err != nil {
		return "", fmt.Errorf("hash inputs: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}
