package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/internal/containerspec"
	"github.com/felhom/felhom-golden/internal/contract"
)

// Hidden stands for a value that Print does not show.
const Hidden = "(hidden)"

// keyValue is one key with a value as JSON, which is YAML as well.
type keyValue struct {
	key   string
	value any
}

// Print returns the configuration with its defaults as a file that Parse reads.
// Keys without a value are left out. Values of the container that look like a
// secret are [Hidden].
func (c Config) Print() ([]byte, error) {
	var b bytes.Buffer
	for _, kv := range c.keys() {
		data, err := encode(kv.value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kv.key, err)
		}
		if data != "" {
			fmt.Fprintf(&b, "%s: %s\n", kv.key, data)
		}
	}
	return b.Bytes(), nil
}

// encode returns v as JSON in one line; "" if it has no value.
func encode(v any) (string, error) {
	switch value := v.(type) {
	case time.Duration:
		if value == 0 {
			return "", nil
		}
		v = value.String()
	case []keyValue:
		var parts []string
		for _, kv := range value {
			data, err := encode(kv.value)
			if err != nil {
				return "", err
			}
			if data != "" {
				parts = append(parts, kv.key+": "+data)
			}
		}
		if len(parts) == 0 {
			return "", nil
		}
		return "{" + strings.Join(parts, ", ") + "}", nil
	case [][]keyValue:
		var parts []string
		for _, one := range value {
			data, err := encode(one)
			if err != nil {
				return "", err
			}
			parts = append(parts, data)
		}
		if len(parts) == 0 {
			return "", nil
		}
		return "[" + strings.Join(parts, ", ") + "]", nil
	}
	if r := reflect.ValueOf(v); !r.IsValid() || r.Kind() != reflect.Bool && r.Kind() != reflect.Int && r.IsZero() || r.Kind() == reflect.Slice && r.Len() == 0 {
		return "", nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return strings.TrimSpace(b.String()), err
}

// always prints a duration also if it is 0.
func always(d time.Duration) any { return d.String() }

// set prints a number only if it is one.
func set(n int) any {
	if n == 0 {
		return nil
	}
	return n
}

// keys returns every key of the top level in the order of the example.
func (c Config) keys() []keyValue {
	var listen, repositories []string
	for _, a := range c.Listen {
		listen = append(listen, a.String())
	}
	for _, r := range c.Repositories {
		repositories = append(repositories, r.String())
	}
	var registry []keyValue
	if c.Registry != nil {
		registry = c.Registry.keys()
	}
	var registries [][]keyValue
	for _, r := range c.Registries {
		registries = append(registries, r.keys())
	}
	var cache []keyValue
	if c.Cache != nil {
		cache = []keyValue{{"dir", c.Cache.Dir}, {"size", fmt.Sprint(c.Cache.Size)}}
	}
	l, p := c.Limits, c.Provision
	return []keyValue{
		{"host_id", c.HostID},
		{"hub_url", c.HubURL},
		{"controller_image", c.ControllerImage},
		{"controller_image_manifest_digest", c.ManifestDigest},
		{"controller_image_config_digest", c.ConfigDigest},
		{"profile", string(c.Profile)},
		{"container", containerKeys(c.Container)},
		{"env_file", c.EnvFile},
		{"listen", listen},
		{"bridge", c.Bridge},
		{"state_dir", c.StateDir},
		{"key_dir", c.KeyDir},
		{"store_dir", c.StoreDir},
		{"mounts_dir", c.MountsDir},
		{"health_socket", c.HealthSocket},
		{"status_listen", address(c.StatusListen.IsValid(), c.StatusListen)},
		{"registry_access", c.RegistryAccess},
		{"registry", registry},
		{"registries", registries},
		{"repositories", repositories},
		{"cache", cache},
		{"registry_mirror", c.RegistryMirror},
		{"ready_wait", c.ReadyWait},
		{"origin", c.Origin},
		{"firewall", c.Firewall},
		{"mount_owner", c.MountOwner},
		{"hypervisor", c.Hypervisor},
		{"lxc", []keyValue{{"path", c.LXCPath}}},
		{"provision", []keyValue{
			{"golden", p.Golden},
			{"storage", p.Storage},
			{"rootfs", set(p.Rootfs)},
			{"bridge", p.Bridge},
			{"vlan", set(p.VLAN)},
			{"gateway", address(p.Gateway.IsValid(), p.Gateway)},
			{"gateway6", address(p.Gateway6.IsValid(), p.Gateway6)},
			{"nameserver", p.Nameserver},
			{"cores", set(p.Cores)},
			{"memory", set(p.Memory)},
			{"swap", p.Swap},
			{"onboot", p.OnBoot},
			{"start", p.Start},
			{"wait", always(p.Wait)},
			{"clone", p.Clone},
			{"template_vmids", p.TemplateVMIDs.String()},
		}},
		{"id_map", c.IDMap},
		{"id_map_base", c.IDMapBase},
		{"storage", []keyValue{{"folder", c.StorageDir}}},
		{"limits", []keyValue{
			{"connections_per_source", l.ConnectionsPerSource},
			{"connections_total", l.ConnectionsTotal},
			{"handshakes_per_second", l.HandshakesPerSecond},
			{"reports_per_minute", l.ReportsPerMinute},
			{"token_overlap", always(l.TokenOverlap)},
		}},
		{"tokens", []keyValue{{"rotate_every", c.Tokens.RotateEvery}, {"expire_after", c.Tokens.ExpireAfter}}},
	}
}

func address(isValid bool, a fmt.Stringer) any {
	if !isValid {
		return nil
	}
	return a.String()
}

func (r Registry) keys() []keyValue {
	return []keyValue{
		{"host", r.Host},
		{"username", r.Username},
		{"token_file", r.TokenFile},
		{"credential", r.Credential},
		{"ca_file", r.CAFile},
		{"token_hosts", r.TokenHosts},
		{"blob_hosts", r.BlobHosts},
	}
}

// containerKeys returns the keys of a container without what looks like a
// secret.
func containerKeys(c *contract.Container) []keyValue {
	if c == nil {
		return nil
	}
	shown := containerspec.Redact(*c, nil, Hidden)
	return []keyValue{
		{"ports", shown.Ports},
		{"volumes", shown.Volumes},
		{"environment", shown.Environment},
		{"extra_hosts", shown.ExtraHosts},
		{"memory", shown.Memory},
		{"labels", shown.Labels},
		{"command", shown.Command},
		{"network", shown.Network},
	}
}
