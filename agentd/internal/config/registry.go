package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/docker/go-units"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/strictyaml"
)

// The values of registry_access: how guests get their images.
const (
	// RegistryProxy: through felhom-agentd, with the guest's own token.
	RegistryProxy = "proxy"
	// RegistryCredential: with the host's credential, which is in each mount.
	RegistryCredential = "credential"
	// RegistryNone: from the registry, without a credential.
	RegistryNone = "none"
)

// Registry is a registry and the host's credential for it. The secret stays in
// its file until it is used.
type Registry struct {
	Host       string
	Username   string   // "" where the registry wants none
	TokenFile  string   // of the secret; "" if Credential is set or none is needed
	Credential string   // name of a credential of the daemon's systemd unit
	CAFile     string   // authorities of the registry; "": the system's
	TokenHosts []string // that may be its token server, beside Host
	BlobHosts  []string // that its blobs may be redirected to at any address
}

// Cache is the cache of blobs.
type Cache struct {
	Dir  string
	Size int64 // bytes
}

// Repository is what guests may pull beside their controller's image.
type Repository struct {
	Host, Path, Tag string
	Digest          contract.Digest
}

// minCache is less than one layer of most images.
const minCache = 64 << 20

// withRegistries adds the keys about registries to those of the top level.
func (c *Config) withRegistries(fields map[string]field) map[string]field {
	fields["registry_access"] = field{Take: word(&c.RegistryAccess, RegistryProxy, RegistryCredential, RegistryNone)}
	fields["registry"] = field{Take: func(v strictyaml.Value) {
		c.Registry = &Registry{}
		c.Registry.take(v)
	}}
	fields["registries"] = field{Take: func(v strictyaml.Value) {
		v.Items(func(_ int, item strictyaml.Value) {
			r := Registry{}
			r.take(item)
			c.Registries = append(c.Registries, r)
		})
	}}
	fields["repositories"] = field{Take: func(v strictyaml.Value) {
		takeRepositories(v, func(r Repository) { c.Repositories = append(c.Repositories, r) })
	}}
	fields["cache"] = field{Take: func(v strictyaml.Value) {
		c.Cache = &Cache{}
		v.Fields(map[string]field{
			"dir": {Required: true, Take: text(&c.Cache.Dir, checkPath)},
			"size": {Required: true, Take: parsed(func(s string) (err error) {
				c.Cache.Size, err = units.RAMInBytes(s)
				if err != nil || c.Cache.Size < minCache {
					return fmt.Errorf("want a size like 20GiB, at least 64MiB, got %q", s)
				}
				return nil
			})},
		})
	}}
	return fields
}

func (r *Registry) take(v strictyaml.Value) {
	hosts := func(into *[]string) func(strictyaml.Value) {
		return func(v strictyaml.Value) {
			v.Items(func(_ int, item strictyaml.Value) {
				var host string
				if text(&host, checkRegistryHost)(item); host != "" {
					*into = append(*into, host)
				}
			})
		}
	}
	v.Fields(map[string]field{
		"host":        {Required: true, Take: text(&r.Host, checkRegistryHost)},
		"username":    {Take: text(&r.Username, checkVisible)},
		"token_file":  {Take: text(&r.TokenFile, checkPath)},
		"credential":  {Take: text(&r.Credential, checkCredentialName)},
		"ca_file":     {Take: text(&r.CAFile, checkPath)},
		"token_hosts": {Take: hosts(&r.TokenHosts)},
		"blob_hosts":  {Take: hosts(&r.BlobHosts)},
	})
}

var credentialForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,254}$`)

func checkCredentialName(s string) error {
	if !credentialForm.MatchString(s) {
		return fmt.Errorf("want the name of a credential of the unit (LoadCredential=), got %q", s)
	}
	return nil
}

func takeRepositories(v strictyaml.Value, take func(Repository)) {
	v.Items(func(_ int, item strictyaml.Value) {
		parsed(func(s string) error {
			r, err := ParseRepository(s)
			if err == nil {
				take(r)
			}
			return err
		})(item)
	})
}

// String returns r as ParseRepository reads it.
func (r Repository) String() string {
	text := r.Host + "/" + r.Path
	if r.Tag != "" {
		text += ":" + r.Tag
	}
	if !r.Digest.IsZero() {
		text += "@" + r.Digest.String()
	}
	return text
}

// ParseRepository reads HOST/PATH, which is a whole repository, or a reference
// to an image.
func ParseRepository(s string) (Repository, error) {
	name := s
	isWhole := !strings.Contains(s, "@") && !strings.Contains(s[strings.LastIndexByte(s, '/')+1:], ":")
	if isWhole {
		name = s + ":any"
	}
	ref, err := contract.ParseImageRef(name)
	if err != nil {
		return Repository{}, fmt.Errorf("%w, got %q", err, s)
	}
	r := Repository{Host: ref.Host(), Path: ref.Path(), Tag: ref.Tag(), Digest: ref.Digest()}
	if isWhole {
		r.Tag = ""
	}
	return r, nil
}

// HasSecret reports whether the host has a credential for the registry.
func (r Registry) HasSecret() bool { return r.TokenFile != "" || r.Credential != "" }

// AllRegistries returns registry and registries.
func (c Config) AllRegistries() []Registry {
	var out []Registry
	if c.Registry != nil {
		out = append(out, *c.Registry)
	}
	return append(out, c.Registries...)
}

// checkRegistries finds mistakes that concern several keys, and sets the
// default of registry_access.
func (c *Config) checkRegistries(doc *strictyaml.Document) {
	seen := map[string]bool{}
	at := func(i int) string {
		if c.Registry != nil {
			i--
		}
		if i < 0 {
			return "registry"
		}
		return strictyaml.Index("registries", i)
	}
	for i, r := range c.AllRegistries() {
		r.check(doc, at(i), i == 0 && c.Registry != nil)
		if r.Host != "" && seen[r.Host] {
			doc.Add(at(i), "%s is given twice", r.Host)
		}
		seen[r.Host] = true
	}
	switch {
	case c.RegistryAccess == RegistryCredential && (c.Registry == nil || !c.Registry.HasSecret()):
		doc.Add("registry_access", "credential needs registry with username and token_file")
	case c.RegistryAccess == RegistryCredential && len(c.Registries) > 0:
		doc.Add("registries", "guests can have the credential of one registry; use registry_access: proxy")
	case c.RegistryAccess != "":
	case c.RegistryMirror != "" && c.Registry != nil && len(c.Registries) == 0:
		c.RegistryAccess = RegistryCredential // the behaviour of versions without a proxy
	case slices.ContainsFunc(c.AllRegistries(), Registry.HasSecret):
		c.RegistryAccess = RegistryProxy
	default:
		c.RegistryAccess = RegistryNone
	}
	if c.RegistryAccess == RegistryProxy && c.RegistryMirror != "" {
		doc.Add("registry_mirror", "with registry_access: proxy guests pull through this host; leave it out")
	}
	if c.RegistryAccess != RegistryProxy && c.Cache != nil {
		doc.Add("cache", "only registry_access: proxy uses it")
	}
	if c.RegistryAccess != RegistryProxy && len(c.Repositories) > 0 {
		doc.Add("repositories", "only registry_access: proxy uses it")
	}
}

// check finds the missing parts of a credential. wantsOne is set for a registry
// that has no purpose without one.
func (r Registry) check(doc *strictyaml.Document, path string, wantsOne bool) {
	if r.TokenFile != "" && r.Credential != "" {
		doc.Add(path, "has both token_file and credential; want one of them")
	}
	_, isFile := doc.At(strictyaml.Join(path, "token_file"))
	_, isUnits := doc.At(strictyaml.Join(path, "credential"))
	if !isFile && !isUnits && (wantsOne || r.Username != "") {
		doc.Add(strictyaml.Join(path, "token_file"), "is missing")
	}
	if r.Username == "" && (wantsOne || r.HasSecret()) {
		doc.Add(strictyaml.Join(path, "username"), "is missing")
	}
}
