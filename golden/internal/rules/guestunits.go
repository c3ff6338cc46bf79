package rules

// Unfit is a kind of work that no unprivileged guest may do, with the units and
// programs that do it. Those of Debian 12 and 13 were seen to fail in a guest.
type Unfit struct {
	Needs    string   // what it does, to follow "it"
	Units    []string // patterns of path.Match
	Programs []string // names without a directory
}

// Unfits lists the kinds of work that only the host may do.
func Unfits() []Unfit {
	return []Unfit{
		{
			Needs:    "sets the clock, which is the host's",
			Units:    []string{"chrony.service", "chronyd.service", "ntp.service", "ntpd.service", "ntpsec.service", "openntpd.service", "ntpdate.service", "ptp4l*.service", "phc2sys*.service", "hwclock*.service", "timemaster.service"},
			Programs: []string{"chronyd", "ntpd", "openntpd", "ntpdate", "sntp", "rdate", "ptp4l", "phc2sys", "timemaster", "hwclock", "adjtimex"},
		},
		{
			Needs:    "uses the audit system, which is the host's",
			Units:    []string{"auditd.service", "audit-rules.service", "laurel.service"},
			Programs: []string{"auditd", "auditctl", "augenrules"},
		},
		{
			Needs:    "feeds the kernel's random numbers, which the host does",
			Units:    []string{"rngd.service", "rng-tools.service", "rng-tools-debian.service", "haveged.service", "jitterentropy.service"},
			Programs: []string{"rngd", "haveged", "jitterentropy-rngd"},
		},
		{
			Needs:    "makes swap space, which the host gives",
			Units:    []string{"zramswap.service", "dphys-swapfile.service", "swapspace.service"},
			Programs: []string{"swapon", "zramctl", "zramswap", "dphys-swapfile", "swapspace"},
		},
		{
			Needs: "looks after hardware, which the host has",
			Units: []string{
				"smartd.service", "smartmontools.service", "rasdaemon.service", "ras-mc-ctl.service", "mcelog.service", "irqbalance.service", "thermald.service",
				"cpufrequtils.service", "loadcpufreq.service", "mdmonitor.service", "mdadm.service", "multipathd.service", "iscsid.service", "open-iscsi.service",
				"hdparm.service", "fwupd.service", "qemu-guest-agent.service", "open-vm-tools.service", "kdump-tools.service", "kexec-load.service", "acpid.service", "ipmievd.service",
			},
			Programs: []string{"smartd", "rasdaemon", "ras-mc-ctl", "mcelog", "irqbalance", "thermald", "multipathd", "iscsid", "qemu-ga", "kexec", "hdparm", "acpid"},
		},
		{
			Needs:    "loads kernel modules or file systems, which the host does",
			Units:    []string{"nfs-server.service", "nfs-kernel-server.service", "proc-fs-nfsd.mount", "binfmt-support.service", "kmod.service"},
			Programs: []string{"modprobe", "insmod", "rmmod", "rpc.nfsd", "update-binfmts", "losetup"},
		},
	}
}

// UnfitCapabilities are those that a unit asks for without success: the kernel looks for
// them in the host's user namespace, although a guest's root seems to have them.
var UnfitCapabilities = []string{"CAP_SYS_TIME", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_AUDIT_CONTROL"}

// GuestFileSystems are the types that may be mounted in an unprivileged guest
// (FS_USERNS_MOUNT in the kernel).
var GuestFileSystems = []string{"", "none", "auto", "bind", "tmpfs", "ramfs", "proc", "sysfs", "devpts", "mqueue", "overlay", "cgroup", "cgroup2", "bpf", "fuse"}

// GuestDevices are in every guest's /dev. A unit whose condition asks for another
// one does not start there.
var GuestDevices = []string{"null", "zero", "full", "random", "urandom", "tty", "console", "ptmx", "pts", "fd", "stdin", "stdout", "stderr", "shm", "mqueue", "log", "core"}
