package contract

import (
	"slices"
	"strings"

	"github.com/felhom/felhom-golden/internal/jsondoc"
)

// Rule names what a finding is about.
type Rule = jsondoc.Rule

// The rules of these documents, beside those of every document in package
// jsondoc. The names of all are part of the contract; docs/contract.md explains
// each of them.
const (
	RuleVersion        Rule = "version" // a schema version that this program does not read
	RuleProfile        Rule = "profile" // a word that is not a profile
	RuleHubURL         Rule = "hub-url"
	RuleHostID         Rule = "host-id"
	RuleGuestID        Rule = "guest-id"
	RuleEndpoint       Rule = "endpoint"
	RulePin            Rule = "pin"           // a pin in a wrong form
	RulePinMissing     Rule = "pin-missing"   // no pin at all
	RulePinRepeated    Rule = "pin-repeated"  // current and next pin are the same
	RulePinNextOnly    Rule = "pin-next-only" // a next pin without a current one of its form
	RuleToken          Rule = "token"
	RuleRegistryHost   Rule = "registry-host" // also of the mirror
	RuleRegistryUser   Rule = "registry-user"
	RuleRegistryUse    Rule = "registry-use"    // a credential for a registry that the image does not come from
	RuleRegistryAccess Rule = "registry-access" // a word that is not one of its values
	RuleImage          Rule = "image"
	RuleDigest         Rule = "digest"
	RuleDigestClash    Rule = "digest-clash" // two different manifest digests
	RuleReadyWait      Rule = "ready-wait"   // not a time, or out of range
	RuleContainer      Rule = "container"    // an override that no container could be made from
	RuleReport         Rule = "report"       // a field of a report
	RulePreload        Rule = "preload"      // a field of the index of preloaded images
)

// tokenPrefix begins the tokens that felhom-agentd mints.
const tokenPrefix = "fgt_"

// format describes the documents of this package; name is the one in messages.
func format(name string, maxBytes int) jsondoc.Format {
	return jsondoc.Format{
		Name: name, MaxBytes: maxBytes, SecretPrefix: tokenPrefix, Public: isPublic,
		Keys: slices.Concat(bootstrapKeys(), registryKeys(), containerKeys()),
	}
}

// publicPaths are the places whose values may be shown.
func publicPaths() []string {
	return []string{
		keySchemaVersion, keyProfile, keyHubURL, keyHostID, keyGuestID, keyEndpoint,
		keyPinSPKI, keyPinSPKINext, keyPinLeaf, keyPinLeafNext,
		keyRegistryAccess, keyMirror, keyImage, keyManifestDigest, keyConfigDigest, keyReadyWait,
		keyRegistry + "." + keyRegistryHost, keyRegistry + "." + keyRegistryUser,
		keyContainer + "." + keyContainerPorts, keyContainer + "." + keyContainerVols,
		keyContainer + "." + keyContainerHosts, keyContainer + "." + keyContainerMemory, keyContainer + "." + keyContainerNet,
	}
}

// isPublic reports whether the value at path may be shown.
func isPublic(path, value string) bool {
	switch path {
	case keyHubURL, keyEndpoint, keyMirror, keyRegistry + "." + keyRegistryHost:
		return !strings.ContainsAny(value, "@?") // a password or key in a URL
	case keyRegistry + "." + keyRegistryUser:
		return !strings.Contains(value, ":") // user and password in one
	}
	return slices.Contains(publicPaths(), path)
}
