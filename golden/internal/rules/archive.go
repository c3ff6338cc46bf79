package rules

func archiveRules() []Rule {
	return []Rule{
		{
			ID: "archive-name", Group: Archive, Severity: Error,
			Reason: "PVE reads the guest's number and the time from the file name; a file with another name is listed, but never pruned, and has no notes and no log; one that does not end in .tar or .tar.{zst,gz,...} cannot be restored at all",
			Check:  "the name is vzdump-lxc-<100..999999999>-YYYY_MM_DD-HH_MM_SS.tar.zst",
		},
		{
			ID: "zstd-frame", Group: Archive, Severity: Error, Restore: true,
			Reason: "a stock zstd refuses a window above 128 MiB and any dictionary; without a content checksum a flipped bit is restored as data; PVE goes by the end of the name alone",
			Check:  "the compression that the name's end says; every frame: window, checksum flag, dictionary id; no skippable frames",
		},
		{
			ID: "archive-hash", Group: Archive, Severity: Error,
			Reason: "an archive that is not the one that was published may hold anything",
			Check:  "the SHA-256 of the whole file against the one that was given (the .sha256 file beside it)",
		},
		{
			ID: "config-first", Group: Archive, Severity: Error, Restore: true,
			Reason: "PVE reads the archive up to ./etc/vzdump/pct.conf before it does anything: without it restore fails, at the end PVE first decompresses all that comes before it, and of two PVE silently uses the first",
			Seal:   "removes /etc/vzdump: pack writes the guest configuration",
			Check:  "the first member is ./etc/vzdump/pct.conf, the only one of that name, a regular file; nothing else below ./etc/vzdump but pct.fw",
		},
		{
			ID: "guest-firewall", Group: Archive, Severity: Error, Restore: true,
			Reason: "restore installs a non-empty ./etc/vzdump/pct.fw as the firewall configuration of the new guest",
			Check:  "./etc/vzdump/pct.fw is absent or empty",
		},
		{
			ID: "contents", Group: Archive, Severity: Error,
			Reason: "inspect shows what /etc/felhom/contents.json says without reading the rest; one that says something else hides what is in the image",
			Check:  "/etc/felhom/contents.json, if the archive has one, lists the members, sizes, packages, units and images that are in the archive",
		},
		{
			ID: "guest-config", Group: Archive, Severity: Error, Restore: true,
			Reason: "PVE only warns about a wrong line and writes it into the new guest; raw lxc keys, mount points, snapshots, host paths and fixed MAC addresses are copied to every guest",
			Check:  "pct.conf is what both drivers accept: each line by its grammar; arch, ostype, rootfs with a size, unprivileged: 1, features, hostname and memory are there; no key or feature that reaches out of the guest, no lxc.* keys, mpN, netN other than net0, sections, lock or hwaddr",
		},
		{
			ID: "rootfs-size", Group: Archive, Severity: Warning,
			Reason: "a restore into a disk that is too small fails partway, and a guest that starts full cannot pull an image",
			Check:  "rootfs size in pct.conf against 1.2 times the unpacked bytes plus 512 MiB",
		},
		{
			ID: "size-budget", Group: Archive, Severity: Warning,
			Reason: "images grow unnoticed: every 10 MB takes 0.8 s at 100 Mbit/s for every node",
			Check:  "archive size, unpacked size and entry count against the budget, if one is set",
		},
		{
			ID: "member-names", Group: Archive, Severity: Error, Restore: true,
			Reason: "PVE matches ./etc/vzdump/pct.conf and ./dev literally; of two equal names PVE keeps the first and other readers the last; a member below a symbolic link does not unpack",
			Check:  "every name starts with ./, has no empty, . or .. element and no control character, comes once, and no parent of it is anything but a directory",
		},
		{
			ID: "member-order", Group: Archive, Severity: Warning,
			Reason: "an order that comes from a file system, and user names that come from a host, make two equal builds differ",
			Check:  "pax headers, no user or group names, sorted by name: the overlay, then large files, then the rest",
		},
		{
			ID: "parent-directories", Group: Archive, Severity: Error, Restore: true,
			Reason: "restore skips files that exist: a directory made implicitly, because a child came first, keeps 0755 root:root whatever its own member says",
			Check:  "every directory comes before its children; ./ and ./etc, which cannot, are 0755 root:root",
			Dirs:   []Dir{{".", 0o755, 0o755}, {"etc", 0o755, 0o755}},
		},
		{
			ID: "member-types", Group: Archive, Severity: Error, Restore: true,
			Reason: "sparse and multi-volume members, and global pax headers, depend on who reads them; PVE refuses some",
			Check:  "only regular files, directories, links and the types that other rules judge; no sparse layout (which vzdump writes, and the profile restore accepts), no global pax header",
		},
		{
			ID: "times", Group: Archive, Severity: Warning,
			Reason: "times of the build make two equal builds differ; make and apt do not handle times in the future well",
			Check:  "whole seconds, none after the time in the archive's name plus a day, no access or change times",
		},
		{
			ID: "id-range", Group: Archive, Severity: Error, Restore: true,
			Reason: "an unprivileged guest maps 65,536 ids: restore fails on any other",
			Check:  "owner and group of every member are 0 to 65535",
		},
		{
			ID: "extended-attributes", Group: Archive, Severity: Error, Restore: true,
			Reason: "restore keeps user.* and security.capability and drops everything else silently",
			Check:  "attribute names of every member",
		},
		{
			ID: "hard-links", Group: Archive, Severity: Error, Restore: true,
			Reason: "a hard link to a member that does not exist, or comes later, makes restore fail; one to a file outside the tree gives access to that file",
			Check:  "the target is an earlier regular member",
		},
		{
			ID: "device-nodes", Group: Archive, Severity: Error, Restore: true,
			Reason: "mknod fails in a user namespace, and restore with it; PVE skips ./dev, so what is in it is lost",
			Seal:   "removes device nodes everywhere and all below /dev",
			Check:  "no device nodes (an overlay whiteout, 0:0, is fine), nothing below ./dev",
		},
		{
			ID: "debian-version", Group: Archive, Severity: Error, Restore: true,
			Reason: "PVE parses /etc/debian_version after unpacking: one that it cannot parse makes restore and every start fail",
			Check:  "for ostype debian: MAJOR, MAJOR.MINOR or NAME/sid of release 4 or later, and os-release agrees with ostype",
		},
		{
			ID: "root-layout", Group: Archive, Severity: Error, Restore: true,
			Reason: "PVE does not accept an archive without ./sbin, or with very few members, as a system; if one of these links leads to nothing, there is no shell and no loader",
			Check:  "at least 10 members; bin, sbin, lib (and lib64 if it exists) are directories or lead to the usr directories",
		},
	}
}
