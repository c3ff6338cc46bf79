// Package config reads /etc/felhom/agentd.yaml: its keys, their rules and defaults. Call [Parse],
// which reports each mistake with its line and column. It reads only the bytes that it gets, and
// not the files and interfaces that the configuration names. Keys are specified in docs/agentd.md.
package config

import (
	"net/netip"
	"time"

	"github.com/felhom/felhom-golden/internal/contract"
)

// MaxBytes is the largest configuration that Parse reads.
const MaxBytes = 64 << 10

// DefaultPort is where the local API listens if listen does not name another
// port.
const DefaultPort = 8443

// DefaultWait is how long provision waits for a guest unless provision.wait says
// otherwise.
const DefaultWait = 5 * time.Minute

// Config is a valid configuration.
type Config struct {
	HostID          string           // "" where absent
	HubURL          string           // "" where absent
	Listen          []netip.AddrPort // empty: every address of Bridge
	Bridge          string
	StateDir        string // keys, certificates, reports, locks
	StoreDir        string // guest records
	MountsDir       string
	HealthSocket    string
	StatusListen    netip.AddrPort // of the status page: loopback; invalid where absent
	ControllerImage string
	ManifestDigest  string // controller_image_manifest_digest, "" where absent
	ConfigDigest    string // controller_image_config_digest, "" where absent
	Registry        *Registry
	Registries      []Registry    // others
	RegistryAccess  string        // RegistryProxy, RegistryCredential or RegistryNone
	Repositories    []Repository  // that guests may pull from, through the proxy
	Cache           *Cache        // nil: no blobs are kept
	RegistryMirror  string        // "" where absent
	ReadyWait       time.Duration // 0 where absent
	Profile         contract.Profile
	Container       *contract.Container // of all guests; nil where absent
	EnvFile         string              // variables of all guests; "" where absent
	IDMapBase       int                 // host id of an unprivileged guest's root
	IDMap           string              // IDMapShared or IDMapPerGuest
	StorageDir      string              // storage.folder, "" where absent
	MountOwner      string              // MountOwnerHost or MountOwnerGuest
	Hypervisor      string              // HypervisorPCT or HypervisorLXC; "" where absent: pct, and another program may have made the guests
	LXCPath         string              // lxc.path
	Origin          string              // OriginOff, OriginObserve or OriginEnforce
	Firewall        string              // FirewallOff or FirewallApply
	Provision       Defaults
	Limits          Limits
	Tokens          Tokens
	KeyDir          string // "": with the certificates, in StateDir
}

// The values of origin, firewall, hypervisor, mount_owner and id_map.
const (
	OriginOff       = "off"
	OriginObserve   = "observe"
	OriginEnforce   = "enforce"
	FirewallOff     = "off"
	FirewallApply   = "apply"
	HypervisorPCT   = "pct"
	HypervisorLXC   = "lxc"
	MountOwnerHost  = "host"
	MountOwnerGuest = "guest"
	IDMapShared     = "shared"
	IDMapPerGuest   = "per-guest"
)

// Defaults are the values of provision for what a guest does not set itself.
type Defaults struct {
	Guest
	Wait          time.Duration // for the guest's bootstrap; 0: do not wait
	Clone         string        // CloneNever, CloneAuto or CloneAlways
	TemplateVMIDs VMIDRange     // that templates can get
}

// WithImage returns c for a guest that runs another image than the
// configuration's, without the configuration's digests, which belong to its
// image; "" is the configuration's image.
func (c Config) WithImage(image string) Config {
	if image != "" && image != c.ControllerImage {
		c.ControllerImage, c.ManifestDigest, c.ConfigDigest = image, "", ""
	}
	return c
}

// Limits bound what guests can cost the host.
type Limits struct {
	ConnectionsPerSource int
	ConnectionsTotal     int
	HandshakesPerSecond  int           // new connections per source; ten times as many at once
	TokenOverlap         time.Duration // how long a replaced token is still accepted
	ReportsPerMinute     int           // per guest
}

func defaults() Config {
	return Config{
		Bridge:       "vmbr0",
		Profile:      contract.ProfileFelhom,
		StateDir:     "/var/lib/felhom-agentd",
		MountsDir:    "/var/lib/felhom/mounts",
		HealthSocket: "/run/felhom-agentd/health.sock",
		IDMapBase:    100000,
		MountOwner:   MountOwnerHost,
		IDMap:        IDMapShared,
		Origin:       OriginObserve,
		Firewall:     FirewallOff,
		LXCPath:      "/var/lib/felhom/guests",
		Provision:    Defaults{Wait: DefaultWait, Clone: CloneNever, TemplateVMIDs: DefaultTemplateVMIDs},
		Limits: Limits{
			ConnectionsPerSource: 16,
			ConnectionsTotal:     2048,
			HandshakesPerSecond:  20,
			TokenOverlap:         24 * time.Hour,
			ReportsPerMinute:     120,
		},
	}
}
