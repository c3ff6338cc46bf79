// Package contract has the formats that cross the border between host and
// guest: bootstrap.json, which the host writes into a guest's config mount, and
// the messages of the local API; and the index of the images that are baked
// into a golden image. It parses and prints them and says what is wrong with
// them; it opens no file and no connection. [Parse] reads a bootstrap.json, and
// package jsondoc reads the JSON of all of them.
//
// The formats are specified in docs/contract.md and docs/local-api.md.
package contract

import (
	"time"

	"github.com/felhom/felhom-golden/internal/pin"
)

// MaxBootstrapBytes is the largest bootstrap.json that Parse accepts. The file
// that the host writes is about 1 KiB.
const MaxBootstrapBytes = 64 << 10

// SchemaVersion is the version of bootstrap.json that this package writes, and
// the only one it reads; a file without one is of version 1.
const SchemaVersion = 1

// The range of VMIDs in PVE.
const (
	MinGuestID = 100
	MaxGuestID = 999999999
)

// Bootstrap is a valid bootstrap.json. Values come from Parse or are built by
// the host; a value from Parse is valid.
type Bootstrap struct {
	SchemaVersion    int           // schema_version, optional; 1 if absent
	Profile          Profile       // profile; ProfileFelhom if absent
	HubURL           string        // hub_url, https; optional: "" if absent
	HostID           string        // host_id, optional: "" where absent
	GuestID          int           // guest_id, optional: 0 where absent
	LocalAPIEndpoint Endpoint      // local_api_endpoint: https, host and port, nothing else
	LocalAPIPins     pin.Set       // the four local_api_pin_* keys, SPKI before leaf, current before next; never empty
	LocalAPIToken    Secret        // local_api_token, opaque
	Registry         *Registry     // registry, nil if absent
	RegistryProxy    bool          // registry_access is proxy: pull through the host, with LocalAPIToken
	RegistryMirror   string        // registry_mirror, optional: host[:port] to pull from in place of the image's own
	ControllerImage  ImageRef      // controller_image
	ManifestDigest   Digest        // controller_image_manifest_digest, optional
	ConfigDigest     Digest        // controller_image_config_digest, optional
	ReadyWait        time.Duration // ready_wait, optional: how long the controller may take to become ready; 0 if absent
	Container        *Container    // container, optional
}

// Registry is the credential for pulling the controller's image: all of it or none.
type Registry struct {
	Host     string // host or host:port, as in the image reference
	Username string
	Token    Secret
}

// Profile selects what a container gets by default.
type Profile string

// The profiles.
const (
	// ProfileFelhom gives it the engine's socket, the settings directory with
	// controller.yaml, the config mount, and the ports 8080 and 8081.
	ProfileFelhom Profile = "felhom"
	// ProfilePlain gives it nothing. The ports that the image exposes are published.
	ProfilePlain Profile = "plain"
)

// Profiles returns all profiles, the default one first.
func Profiles() []Profile { return []Profile{ProfileFelhom, ProfilePlain} }

// Container changes how the controller's container is made. Strings are in
// Docker's short syntax; package containerspec merges and checks them. A list or
// text that is present replaces the one below it, variables and labels do so one
// by one. Nil means absent, an empty list is present.
type Container struct {
	Ports       []string          // ports, "8080:8080/tcp"
	Volumes     []string          // volumes, "/host:/container:ro"
	Environment map[string]string // environment
	ExtraHosts  []string          // extra_hosts, "name:address"
	Memory      string            // memory, "512m"
	Labels      map[string]string // labels
	Command     []string          // command, in place of the image's own; empty: the image's own
	Network     string            // network, "bridge", "host", "none" or the name of one
}

// bootstrapFile is bootstrap.json as it is written, with the order of its keys,
// which are those that Parse knows. It has secrets in plain text, so it never
// leaves Encode.
type bootstrapFile struct {
	SchemaVersion       int            `json:"schema_version"`
	Profile             string         `json:"profile,omitempty"`
	HubURL              string         `json:"hub_url,omitempty"`
	HostID              string         `json:"host_id,omitempty"`
	GuestID             int            `json:"guest_id,omitempty"`
	LocalAPIEndpoint    string         `json:"local_api_endpoint"`
	LocalAPIPinSPKI     string         `json:"local_api_pin_spki_sha256,omitempty"`
	LocalAPIPinSPKINext string         `json:"local_api_pin_spki_sha256_next,omitempty"`
	LocalAPIPinLeaf     string         `json:"local_api_pin_leaf_sha256,omitempty"`
	LocalAPIPinLeafNext string         `json:"local_api_pin_leaf_sha256_next,omitempty"`
	LocalAPIToken       string         `json:"local_api_token"`
	Registry            *registryFile  `json:"registry,omitempty"`
	RegistryAccess      string         `json:"registry_access,omitempty"`
	RegistryMirror      string         `json:"registry_mirror,omitempty"`
	ControllerImage     string         `json:"controller_image"`
	ManifestDigest      string         `json:"controller_image_manifest_digest,omitempty"`
	ConfigDigest        string         `json:"controller_image_config_digest,omitempty"`
	ReadyWait           string         `json:"ready_wait,omitempty"`
	Container           *containerFile `json:"container,omitempty"`
}

type registryFile struct {
	Host     string `json:"host"`
	Username string `json:"username"`
	Token    string `json:"token"`
}

type containerFile struct {
	Ports       []string          `json:"ports,omitzero"` // omitzero keeps a list that is empty
	Volumes     []string          `json:"volumes,omitzero"`
	Environment map[string]string `json:"environment,omitzero"`
	ExtraHosts  []string          `json:"extra_hosts,omitzero"`
	Memory      string            `json:"memory,omitempty"`
	Labels      map[string]string `json:"labels,omitzero"`
	Command     []string          `json:"command,omitzero"`
	Network     string            `json:"network,omitempty"`
}
