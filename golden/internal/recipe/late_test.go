package recipe

import (
	"strings"
	"testing"
)

// TestParseRefusesEarly has what seal and verify would refuse after minutes of
// baking.
func TestParseRefusesEarly(t *testing.T) {
	for _, test := range []struct{ name, in, want string }{
		{"feature that reaches out", "guest: {features: 'keyctl=1,mount=nfs,nesting=1'}\n", "x:1:19: error: guest.features: of the features fuse, keyctl, nesting alone are allowed"},
		{"feature off", "guest: {features: 'keyctl=1,nesting=0'}\n", "guest.features: want nesting=1 and keyctl=1, which Docker needs"},
		{"no features", "guest: {features: ''}\n", "guest.features: want nesting=1 and keyctl=1, which Docker needs"},
		{"size without end", "guest: {rootfs: 99999999999999999999T}\n", "is too large"},
		{"description", "guest: {description: '" + strings.Repeat("x", 8193) + "'}\n", "guest.description: 8193 bytes, which exceeds the limit of 8192"},
		{"unknown rule", "seal: {skip: [mashine-id]}\n", "seal.skip[0]: unknown rule \"mashine-id\""},
		{"rule that seal does nothing for", "seal: {enable: [rootfs-size]}\n", "seal.enable[0]: seal does nothing for rule \"rootfs-size\""},
		{"both lists", "seal: {enable: [machine-id], skip: [logs]}\n", "seal: rules to enable and rules to skip are given, want one of the two"},
		{"flag for key", "docker: {daemon: {log-driver: local, insecure-registry: [a]}}\n", `docker.daemon.insecure-registry: unknown key; did you mean "insecure-registries"?`},
		{"flag for key, other plural", "docker: {daemon: {log-driver: local, registry-mirror: [a]}}\n", `did you mean "registry-mirrors"?`},
		{"flag for key, list of objects", "docker: {daemon: {log-driver: local, default-address-pool: [a]}}\n", `did you mean "default-address-pools"?`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse("x", []byte("version: 1\n"+test.in))
			if want := strings.Replace(test.want, "x:1:", "x:2:", 1); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	}
}
