package contract

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/internal/jsondoc"
	"github.com/felhom/felhom-golden/internal/pin"
)

// The keys of bootstrap.json, in the order of writing.
const (
	keySchemaVersion   = "schema_version"
	keyProfile         = "profile"
	keyHubURL          = "hub_url"
	keyHostID          = "host_id"
	keyGuestID         = "guest_id"
	keyEndpoint        = "local_api_endpoint"
	keyPinSPKI         = "local_api_pin_spki_sha256"
	keyPinSPKINext     = "local_api_pin_spki_sha256_next"
	keyPinLeaf         = "local_api_pin_leaf_sha256"
	keyPinLeafNext     = "local_api_pin_leaf_sha256_next"
	keyToken           = "local_api_token" //nolint:gosec // the name of a key
	keyRegistry        = "registry"
	keyRegistryAccess  = "registry_access"
	keyMirror          = "registry_mirror"
	keyImage           = "controller_image"
	keyManifestDigest  = "controller_image_manifest_digest"
	keyConfigDigest    = "controller_image_config_digest"
	keyReadyWait       = "ready_wait"
	keyContainer       = "container"
	keyRegistryHost    = "host"
	keyRegistryUser    = "username"
	keyRegistryToken   = "token"
	keyContainerPorts  = "ports"
	keyContainerVols   = "volumes"
	keyContainerEnv    = "environment"
	keyContainerHosts  = "extra_hosts"
	keyContainerMemory = "memory"
	keyContainerLabels = "labels"
	keyContainerCmd    = "command"
	keyContainerNet    = "network"
)

func bootstrapKeys() []string {
	return []string{
		keySchemaVersion, keyProfile, keyHubURL, keyHostID, keyGuestID, keyEndpoint, keyPinSPKI, keyPinSPKINext, keyPinLeaf, keyPinLeafNext,
		keyToken, keyRegistry, keyRegistryAccess, keyMirror, keyImage, keyManifestDigest, keyConfigDigest, keyReadyWait, keyContainer,
	}
}

func registryKeys() []string { return []string{keyRegistryHost, keyRegistryUser, keyRegistryToken} }

func containerKeys() []string {
	return []string{
		keyContainerPorts, keyContainerVols, keyContainerEnv, keyContainerHosts, keyContainerMemory,
		keyContainerLabels, keyContainerCmd, keyContainerNet,
	}
}

// Parse reads a bootstrap.json. The findings are all that is wrong with it, not
// the first; if one of them is an error ([jsondoc.Findings.Err]), the Bootstrap is
// the zero one. The order of checks is size, JSON, version, keys, each value,
// and what values say about each other.
func Parse(data []byte) (Bootstrap, jsondoc.Findings) {
	d := jsondoc.Read(data, format("file", MaxBootstrapBytes))
	b := parseBootstrap(d)
	findings := d.Findings()
	if findings.Err() != nil {
		b = Bootstrap{}
	}
	return b, findings
}

func parseBootstrap(d *jsondoc.Document) (b Bootstrap) {
	if otherVersion(d) {
		return b // its keys mean what that version says
	}
	o := d.Root(bootstrapKeys())
	if o == nil {
		return b
	}
	b.SchemaVersion = SchemaVersion
	o.Need(keyEndpoint, "it is the address of the agent's local API: https://HOST:PORT")
	o.Need(keyToken, "it is the guest's own token for the local API")
	o.Need(keyImage, "it names the controller's image: HOST/PATH:TAG")
	b.Profile = ProfileFelhom
	if p, there := jsondoc.Text(o, keyProfile, RuleProfile, ParseProfile); there {
		b.Profile = p
	}
	b.HubURL, _ = jsondoc.Text(o, keyHubURL, RuleHubURL, checked(checkHubURL))
	b.HostID, _ = jsondoc.Text(o, keyHostID, RuleHostID, checked(checkHostID))
	o.Get(keySchemaVersion, jsondoc.KindNumber) // only its type is left to check
	b.GuestID = int(o.IntIn(keyGuestID, RuleGuestID, MinGuestID, MaxGuestID))
	b.LocalAPIEndpoint, _ = jsondoc.Text(o, keyEndpoint, RuleEndpoint, ParseEndpoint)
	b.LocalAPIPins = pins(o)
	b.LocalAPIToken, _ = jsondoc.Text(o, keyToken, RuleToken, ParseSecret)
	b.Registry = registry(o)
	b.RegistryProxy, _ = jsondoc.Text(o, keyRegistryAccess, RuleRegistryAccess, parseRegistryAccess)
	b.RegistryMirror, _ = jsondoc.Text(o, keyMirror, RuleRegistryHost, checked(checkRegistryHost))
	b.ControllerImage, _ = jsondoc.Text(o, keyImage, RuleImage, ParseImageRef)
	b.ManifestDigest, _ = jsondoc.Text(o, keyManifestDigest, RuleDigest, ParseDigest)
	b.ConfigDigest, _ = jsondoc.Text(o, keyConfigDigest, RuleDigest, ParseDigest)
	b.ReadyWait, _ = jsondoc.Text(o, keyReadyWait, RuleReadyWait, ParseReadyWait)
	b.Container = container(o)
	crossCheck(o, b)
	return b
}

// The range of ready_wait.
const (
	MinReadyWait = time.Second
	MaxReadyWait = 24 * time.Hour
)

// ParseReadyWait reads the value of ready_wait: a time such as 90s or 15m.
func ParseReadyWait(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || strings.ContainsAny(s, "+-.") || d < MinReadyWait || d > MaxReadyWait || d%time.Second != 0 {
		return 0, fmt.Errorf("write a time from %s to 24h in whole seconds, such as 90s or 15m", MinReadyWait)
	}
	return d, nil
}

// otherVersion reports a schema version that this program does not read.
func otherVersion(d *jsondoc.Document) bool {
	if d.Value() == nil {
		return false
	}
	for _, m := range d.Value().Members {
		if m.Key.Text != keySchemaVersion || m.Value.Kind != jsondoc.KindNumber {
			continue
		}
		if m.Value.Text != fmt.Sprint(SchemaVersion) {
			d.Errorf(RuleVersion, m.Value, keySchemaVersion,
				"found version %.20s, but this program reads version %d only, so nothing else was checked; have the host write version %d, or update the golden image", m.Value.Text, SchemaVersion, SchemaVersion)
			return true
		}
		return false
	}
	return false
}

// checked makes a parser of a check.
func checked(check func(string) error) func(string) (string, error) {
	return func(s string) (string, error) { return s, check(s) }
}

func checkHostID(s string) error {
	switch {
	case s == "":
		return errors.New("the host's name is empty")
	case len(s) > 253:
		return fmt.Errorf("the host's name is %d characters long; at most 253 are accepted", len(s))
	}
	for i := range len(s) {
		if !isAlnum(s[i]) && (i == 0 || !strings.ContainsRune("._-", rune(s[i]))) {
			return fmt.Errorf("byte %d is not accepted: letters and digits, and after the first also dots, hyphens and underscores", i+1)
		}
	}
	return nil
}

// pins reads the four pin keys, SPKI before leaf, current before next.
func pins(o *jsondoc.Object) pin.Set {
	var set pin.Set
	anyKey := false
	for _, form := range []struct {
		current, next string
		parse         func(string) (pin.Pin, error)
	}{{keyPinSPKI, keyPinSPKINext, pin.ParseSPKI}, {keyPinLeaf, keyPinLeafNext, pin.ParseLeaf}} {
		hasCurrent := o.Has(form.current)
		hasNext := o.Has(form.next)
		anyKey = anyKey || hasCurrent || hasNext
		if current, ok := jsondoc.Text(o, form.current, RulePin, form.parse); ok {
			set = append(set, current)
		}
		next, ok := jsondoc.Text(o, form.next, RulePin, form.parse)
		switch {
		case !ok:
			continue
		case slices.Contains(set, next):
			o.Warnf(RulePinRepeated, o.At(form.next), form.next, "this is %q again; the next pin is of the key that the host will change to", form.current)
			continue
		case !hasCurrent:
			o.Warnf(RulePinNextOnly, o.At(form.next), form.next, "there is no %q beside it; it is used as the current pin", form.current)
		}
		set = append(set, next)
	}
	if !anyKey && !o.IsCut() {
		o.Errorf(RulePinMissing, o.At(keyPinSPKI), keyPinSPKI, "there is no pin, so the local API cannot be trusted; write %q, or %q, as \"felhom-agentd pin\" prints it", keyPinSPKI, keyPinLeaf)
	}
	return set
}

func registry(o *jsondoc.Object) *Registry {
	reg := o.Member(keyRegistry, registryKeys())
	if reg == nil {
		return nil
	}
	for _, key := range registryKeys() {
		reg.Need(key, "a credential is host, username and token, or leave out registry as a whole")
	}
	out := &Registry{}
	out.Host, _ = jsondoc.Text(reg, keyRegistryHost, RuleRegistryHost, checked(checkRegistryHost))
	out.Username, _ = jsondoc.Text(reg, keyRegistryUser, RuleRegistryUser, checked(checkUsername))
	out.Token, _ = jsondoc.Text(reg, keyRegistryToken, RuleToken, ParseSecret)
	return out
}

// checkUsername refuses what HTTP basic authentication cannot carry.
func checkUsername(s string) error {
	switch {
	case s == "":
		return errors.New("the user name is empty")
	case len(s) > 255:
		return fmt.Errorf("the user name is %d bytes long; at most 255 are accepted", len(s))
	case strings.Contains(s, ":"):
		return errors.New(`a user name with ":" cannot be told from the password after it; use another user`)
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }); i >= 0 {
		return fmt.Errorf("the user name has a blank or control character at byte %d; remove it", i+1)
	}
	return nil
}

// registryProxy is the one value of registry_access.
const registryProxy = "proxy"

func parseRegistryAccess(s string) (isProxy bool, err error) {
	if s != registryProxy {
		return false, fmt.Errorf("write %q, or leave the key out", registryProxy)
	}
	return true, nil
}

// crossCheck compares values with each other; those that were refused are zero
// and not compared.
func crossCheck(o *jsondoc.Object, b Bootstrap) {
	if b.ControllerImage.IsZero() {
		return
	}
	host := b.ControllerImage.Host()
	if b.RegistryProxy && (b.Registry != nil || b.RegistryMirror != "") {
		o.Warnf(RuleRegistryUse, o.At(keyRegistryAccess), keyRegistryAccess,
			"the image is pulled through the host, so %s and %s are not used", keyRegistry, keyMirror)
	} else if b.Registry != nil && b.Registry.Host != "" && b.Registry.Host != host && b.Registry.Host != b.RegistryMirror {
		o.Warnf(RuleRegistryUse, o.At(keyRegistry), keyRegistry+"."+keyRegistryHost,
			"the credential is for %s, but the image comes from %s, so it is not used for it", b.Registry.Host, host)
	}
	if in := b.ControllerImage.Digest(); !in.IsZero() && !b.ManifestDigest.IsZero() && in != b.ManifestDigest {
		o.Errorf(RuleDigestClash, o.At(keyManifestDigest), keyManifestDigest,
			"found %s, but %s says %s; leave out one of the two, or correct the stale one", b.ManifestDigest, keyImage, in)
	}
}
