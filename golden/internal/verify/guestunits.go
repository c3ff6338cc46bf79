package verify

import (
	"path"
	"slices"
	"strings"

	"github.com/felhom/felhom-golden/golden/internal/image"
	"github.com/felhom/felhom-golden/golden/internal/rules"
)

const unfitRemedy = "; name it in units.mask of the recipe, or leave its package out with packages.exclude"

// checkGuestUnits reports what starts at boot and cannot work in an unprivileged
// guest: by name, by program, and by what the unit asks of systemd.
func checkGuestUnits(c *check) {
	u := c.Units()
	names, isAll := started(u)
	if !isAll {
		c.fail("", "boot starts more than %d units, want no more: not each is looked at", maxStarted)
	}
	for _, name := range names {
		file, masked := u.Find(name)
		if file == nil || masked {
			continue
		}
		f := u.Load(name)
		if f.Err != nil {
			c.fail(file.Path, "%s cannot be read: %v", name, f.Err)
		}
		if skippedInGuest(f) {
			continue
		}
		if why := c.unfit(name, f); why != "" {
			c.fail(file.Path, "%s cannot work in an unprivileged guest: it %s%s", name, why, unfitRemedy)
		}
	}
	text, _ := c.Text("etc/fstab")
	n := 0
	for line := range strings.Lines(text) {
		n++
		f := strings.Fields(line)
		if len(f) < 3 || strings.HasPrefix(f[0], "#") || (len(f) > 3 && slices.ContainsFunc(strings.Split(f[3], ","), func(o string) bool { return o == "noauto" || o == "nofail" })) {
			continue
		}
		if why := unfitMount(f[0], f[2]); why != "" {
			c.fail("etc/fstab", "line %d cannot work in an unprivileged guest: it %s; leave it out: the host mounts into guests", n, why)
		}
	}
}

// maxStarted is how many units of one boot are looked at; a Debian system has some hundred.
const maxStarted = 5000

// started lists what boot starts: enabled units, what they pull in, and what
// their timers, sockets and paths start. isAll is false if there are more than
// maxStarted.
func started(u *image.Units) (names []string, isAll bool) {
	seen := map[string]bool{}
	add := func(list ...string) {
		for _, name := range list {
			if !seen[name] && len(names) <= maxStarted {
				seen[name] = true
				names = append(names, name)
			}
		}
	}
	add(u.Enabled()...)
	for i := 0; i < len(names); i++ { // it grows
		name := names[i]
		f := u.Load(name)
		add(f.List("Unit", "Wants", "Requires", "BindsTo", "Requisite")...)
		section := map[string]string{".timer": "Timer", ".socket": "Socket", ".path": "Path"}[path.Ext(name)]
		if section == "" {
			continue
		}
		key := "Unit"
		if section == "Socket" {
			key = "Service"
		}
		if other := f.List(section, key); len(other) > 0 {
			add(other...)
		} else {
			add(strings.TrimSuffix(name, path.Ext(name)) + ".service")
		}
	}
	isAll = len(names) <= maxStarted
	slices.Sort(names)
	return names, isAll
}

// skippedInGuest reports whether a condition keeps the unit from starting in a
// guest.
func skippedInGuest(f image.UnitFile) bool {
	isGuest := func(v string) bool {
		return slices.Contains([]string{"yes", "true", "1", "on", "container", "lxc", "private-users"}, v)
	}
	hasPath := func(v string) bool {
		device, ok := strings.CutPrefix(v, "/dev/")
		device, _, _ = strings.Cut(device, "/")
		return !ok || slices.Contains(rules.GuestDevices, device)
	}
	one, hit := false, false // of the conditions of which one is enough
	for key, holds := range map[string]func(string) bool{"ConditionVirtualization": isGuest, "ConditionPathExists": hasPath} {
		for _, v := range f.All("Unit", key) {
			v, enough := strings.CutPrefix(v, "|")
			v, not := strings.CutPrefix(v, "!")
			if key == "ConditionPathExists" && not {
				continue // what is not there in the image may come
			}
			good := holds(strings.TrimSpace(v)) != not
			if !enough && !good {
				return true
			}
			one, hit = one || enough, hit || enough && good
		}
	}
	return one && !hit && len(otherAlternatives(f)) == 0
}

// otherAlternatives returns the conditions of which one is enough and that only
// a guest can judge.
func otherAlternatives(f image.UnitFile) []string {
	var list []string
	for _, key := range f.Keys("Unit") {
		if !strings.HasPrefix(key, "Condition") || key == "ConditionVirtualization" || key == "ConditionPathExists" {
			continue
		}
		for _, v := range f.All("Unit", key) {
			if strings.HasPrefix(v, "|") {
				list = append(list, v)
			}
		}
	}
	return list
}

// unfit returns what the unit does that it must not, or "".
func (s *subject) unfit(name string, f image.UnitFile) string {
	commands, err := f.Commands(func(name string) string {
		text, _ := s.Text(name)
		return text
	}, "ExecCondition", "ExecStartPre", "ExecStart")
	if err != nil {
		return err.Error()
	}
	commands = slices.DeleteFunc(commands, func(c image.Command) bool { return c.MayFail })
	if slices.ContainsFunc(commands, leavesClock) {
		return ""
	}
	for _, kind := range rules.Unfits() {
		for _, command := range commands {
			if program := path.Base(command.Argv[0]); slices.Contains(kind.Programs, program) {
				return kind.Needs + " (" + program + ")"
			}
		}
		if slices.ContainsFunc(kind.Units, func(p string) bool { ok, err := path.Match(p, name); return ok && err == nil }) {
			return kind.Needs
		}
	}
	for _, key := range []string{"ConditionCapability", "AmbientCapabilities", "CapabilityBoundingSet"} {
		section := "Service"
		if key == "ConditionCapability" {
			section = "Unit"
		}
		for _, v := range f.All(section, key) {
			if strings.HasPrefix(v, "~") || strings.HasPrefix(v, "!") {
				continue
			}
			for _, word := range strings.Fields(strings.TrimPrefix(v, "|")) {
				if slices.Contains(rules.UnfitCapabilities, word) {
					return "asks for " + word + " (" + key + "), which the host alone has"
				}
			}
		}
	}
	if devices := slices.DeleteFunc(f.List("Unit", "Requires", "BindsTo", "Requisite"), func(n string) bool { return path.Ext(n) != ".device" }); len(devices) > 0 {
		return "waits for the device " + devices[0]
	}
	switch path.Ext(name) {
	case ".swap":
		return "makes swap space, which the host gives"
	case ".mount":
		return unfitMount(strings.Join(f.All("Mount", "What"), ""), strings.Join(f.All("Mount", "Type"), ""))
	case ".service":
		return unfitService(f)
	}
	return ""
}

// leavesClock reports whether a command serves time without setting the clock.
func leavesClock(c image.Command) bool {
	return path.Base(c.Argv[0]) == "chronyd" && slices.Contains(c.Argv, "-x")
}

// unfitService returns which setting makes systemd fail before the program runs.
func unfitService(f image.UnitFile) string {
	for _, bad := range []struct {
		key    string
		values []string
	}{
		{"CPUSchedulingPolicy", []string{"fifo", "rr"}},
		{"IOSchedulingClass", []string{"1", "realtime"}},
	} {
		if list := f.All("Service", bad.key); len(list) > 0 && slices.Contains(bad.values, list[len(list)-1]) {
			return "wants " + bad.key + "=" + list[len(list)-1] + ", which the kernel refuses there"
		}
	}
	for _, key := range []string{"RootImage", "MountImages", "ExtensionImages"} {
		if len(f.All("Service", key)) > 0 {
			return "wants " + key + "=, and there is no loop device"
		}
	}
	return ""
}

// unfitMount returns why a mount fails, or "".
func unfitMount(what, kind string) string {
	base, _, _ := strings.Cut(kind, ".")
	switch {
	case kind == "swap":
		return "makes swap space, which the host gives"
	case strings.HasPrefix(what, "/dev/"), strings.HasPrefix(what, "UUID="), strings.HasPrefix(what, "LABEL="), strings.HasPrefix(what, "PARTUUID="), strings.HasPrefix(what, "PARTLABEL="):
		return "mounts a device, and there are none"
	case !slices.Contains(rules.GuestFileSystems, base):
		return "mounts a file system of type " + kind + ", which the kernel allows the host alone"
	}
	return ""
}
