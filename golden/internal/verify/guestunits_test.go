package verify_test

import (
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/golden/internal/verify"
)

// enabled puts a unit that boot starts, named in the preset as a golden image has it.
func enabled(name, text string) func(*sample, *verify.Options) {
	return func(s *sample, _ *verify.Options) {
		s.put(unitDir+name, 0o644, text+"[Install]\nWantedBy=multi-user.target\n")
		s.link("etc/systemd/system/multi-user.target.wants/"+name, "/"+unitDir+name)
		s.replace("etc/systemd/system-preset/10-golden.preset", "disable *", "enable "+name+"\ndisable *")
	}
}

// The failures were seen in guests; so were the units that do start there.
func TestGuestUnits(t *testing.T) {
	for _, tt := range []struct {
		name, unit, text string
		want             string // "" means no finding
		more             func(*sample, *verify.Options)
	}{
		{name: "clock by name", unit: "ntpsec.service", text: "[Service]\nExecStart=/usr/libexec/ntpsec/ntp-systemd-wrapper\n", want: "sets the clock"},
		{name: "clock by program", unit: "own.service", text: "[Service]\nExecStart=/opt/bin/ntpd -g\n", want: "sets the clock, which is the host's (ntpd)"},
		{name: "clock by capability", unit: "own.service", text: "[Service]\nExecStart=/opt/own\nAmbientCapabilities=CAP_NET_BIND_SERVICE CAP_SYS_TIME\n", want: "asks for CAP_SYS_TIME"},
		{name: "condition on a capability", unit: "own.service", text: "[Unit]\nConditionCapability=CAP_SYS_MODULE\n[Service]\nExecStart=/opt/own\n", want: "asks for CAP_SYS_MODULE"},
		{name: "capability taken away", unit: "own.service", text: "[Service]\nExecStart=/opt/own\nCapabilityBoundingSet=~CAP_SYS_TIME CAP_SYS_MODULE\n"},
		{name: "chronyd that leaves the clock", unit: "chrony.service", text: "[Unit]\nConditionCapability=CAP_SYS_TIME\n[Service]\nExecStart=!/usr/sbin/chronyd -x\n"},
		{name: "chronyd that leaves the clock by its default file", unit: "chrony.service", text: "[Service]\nEnvironmentFile=-/etc/default/chrony\nExecStart=!/usr/sbin/chronyd $DAEMON_OPTS\n", more: func(s *sample, _ *verify.Options) {
			s.dir("etc/default", 0o755)
			s.put("etc/default/chrony", 0o644, "DAEMON_OPTS=\"-F 1 -x\"\n")
		}},
		{name: "not in containers", unit: "systemd-timesyncd.service", text: "[Unit]\nConditionCapability=CAP_SYS_TIME\nConditionVirtualization=!container\n[Service]\nExecStart=/usr/lib/systemd/systemd-timesyncd\n"},
		{name: "on hardware alone", unit: "smartmontools.service", text: "[Unit]\nConditionVirtualization=no\n[Service]\nExecStart=/usr/sbin/smartd -n\n"},
		{name: "in containers too", unit: "smartmontools.service", text: "[Unit]\nConditionVirtualization=|container\nConditionVirtualization=|no\n[Service]\nExecStart=/usr/sbin/smartd -n\n", want: "hardware"},
		{name: "only with a device", unit: "own.service", text: "[Unit]\nConditionPathExists=/dev/rtc0\n[Service]\nExecStart=/sbin/hwclock\n"},
		{name: "audit", unit: "auditd.service", text: "[Service]\nExecStart=/usr/sbin/auditd\n", want: "audit system"},
		{name: "random numbers", unit: "rngd.service", text: "[Service]\nExecStart=/usr/sbin/rngd -f\n", want: "random numbers"},
		{name: "swap in RAM", unit: "zramswap.service", text: "[Service]\nExecStart=/usr/sbin/zramswap start\n", want: "swap"},
		{name: "swap unit", unit: "own.swap", text: "[Swap]\nWhat=/swapfile\n", want: "swap"},
		{name: "mount of a device", unit: "srv.mount", text: "[Mount]\nWhat=/dev/sdb1\nWhere=/srv\n", want: "mounts a device"},
		{name: "mount over the network", unit: "srv.mount", text: "[Mount]\nWhat=nas:/x\nWhere=/srv\nType=nfs4\n", want: "type nfs4"},
		{name: "mount in memory", unit: "srv.mount", text: "[Mount]\nWhat=tmpfs\nWhere=/srv\nType=tmpfs\n"},
		{name: "mount by FUSE", unit: "srv.mount", text: "[Mount]\nWhat=x\nWhere=/srv\nType=fuse.sshfs\n"},
		{name: "scheduling", unit: "own.service", text: "[Service]\nExecStart=/opt/own\nCPUSchedulingPolicy=rr\n", want: "CPUSchedulingPolicy=rr"},
		{name: "image", unit: "own.service", text: "[Service]\nExecStart=/own\nRootImage=/opt/own.raw\n", want: "RootImage"},
		{name: "device", unit: "own.service", text: "[Unit]\nBindsTo=dev-virtio\\x2dports-x.device\n[Service]\nExecStart=/opt/own\n", want: "waits for the device"},
		{name: "module", unit: "own.service", text: "[Service]\nExecStartPre=/sbin/modprobe wireguard\nExecStart=/opt/own\n", want: "(modprobe)"},
		{name: "module that need not load", unit: "own.service", text: "[Service]\nExecStartPre=-/sbin/modprobe overlay\nExecStart=/opt/own\n"},
		{name: "by a timer", unit: "own.timer", text: "[Timer]\nOnBootSec=1\n", want: "own.service cannot work", more: func(s *sample, _ *verify.Options) {
			s.put(unitDir+"own.service", 0o644, "[Service]\nExecStart=/sbin/hwclock -w\n")
		}},
		{name: "required by another", unit: "own.service", text: "[Unit]\nRequires=rngd.service\n[Service]\nExecStart=/opt/own\n", want: "rngd.service cannot work", more: func(s *sample, _ *verify.Options) {
			s.put(unitDir+"rngd.service", 0o644, "[Service]\nExecStart=/usr/sbin/rngd -f\n")
		}},
		{name: "masked", unit: "own.service", text: "[Unit]\nWants=rngd.service\n[Service]\nExecStart=/opt/own\n", more: func(s *sample, _ *verify.Options) {
			s.put(unitDir+"rngd.service", 0o644, "[Service]\nExecStart=/usr/sbin/rngd -f\n")
			s.link("etc/systemd/system/rngd.service", "/dev/null")
		}},
		{name: "fstab", unit: "own.service", text: "[Service]\nExecStart=/opt/own\n", want: "line 2 cannot work", more: func(s *sample, _ *verify.Options) {
			s.put("etc/fstab", 0o644, "# UNCONFIGURED FSTAB FOR BASE SYSTEM\nUUID=1-2 /srv ext4 defaults 0 0\n/dev/sdc /x ext4 nofail 0 0\n")
		}},
		{name: "not enabled", unit: "own.service", text: "[Service]\nExecStart=/opt/own\n", more: func(s *sample, _ *verify.Options) {
			s.put(unitDir+"chrony.service", 0o644, "[Service]\nExecStart=/usr/sbin/chronyd\n")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, opts := good(), verify.Options{Enable: []string{"guest-units"}}
			enabled(tt.unit, tt.text)(s, &opts)
			if tt.more != nil {
				tt.more(s, &opts)
			}
			got := s.verify(t, opts).Findings
			switch {
			case tt.want == "" && len(got) > 0:
				t.Errorf("got %+v, want none", got)
			case tt.want != "" && (len(got) != 1 || !strings.Contains(got[0].Message, tt.want)):
				t.Errorf("got %+v, want one with %q", got, tt.want)
			}
		})
	}
}
