package recipe

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/reference"
)

var (
	suites       = []string{"bookworm", "trixie"}
	archs        = []string{"amd64", "arm64"}
	compressions = []string{"fast", "release"}
	profiles     = []string{"full", "pruned"}

	// Debian Policy 5.6.7; an architecture or a version pin may follow.
	packageName = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?(=[A-Za-z0-9.+~:-]+)?$`)
	plainName   = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
	suiteName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]*$`)
	// systemd.unit(5): what may stand in a unit's name, with a known suffix.
	unitName  = regexp.MustCompile(`^[A-Za-z0-9:_.\\@-]+\.(service|socket|device|mount|automount|swap|target|path|timer|slice|scope)$`)
	hostLabel = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	size      = regexp.MustCompile(`^[1-9][0-9]*[MGT]$`)
	envName   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	guestTag  = regexp.MustCompile(`^[a-z0-9_][a-z0-9_+.-]*$`)
)

// check holds the rules of each field and those across fields. It runs after
// the walk, also when that found something, so that one run shows everything.
func check(d *decoder, r *Recipe) {
	if r.Version != Version {
		d.wrong("version", "want %d, found %d", Version, r.Version)
	}
	match(d, "name", r.Name, plainName, "lower-case letters, digits, dot, underscore and dash")
	oneOf(d, "suite", r.Suite, suites)
	oneOf(d, "arch", r.Arch, archs)
	checkApt(d, r)
	for i, p := range r.Packages.Include {
		match(d, index("packages.include", i), p, packageName, "a package name, with =VERSION if need be")
		if slices.Contains(r.Packages.Exclude, p) {
			d.wrong(index("packages.include", i), "%q is in packages.exclude too", p)
		}
	}
	for i, p := range r.Packages.Exclude {
		match(d, index("packages.exclude", i), p, packageName, "a package name")
	}
	checkFiles(d, r.Files)
	checkScripts(d, r.Scripts)
	checkUnits(d, r.Units)
	checkDaemon(d, r.Docker.Daemon)
	checkLogs(d, r)
	checkImages(d, r)
	checkGuest(d, r.Guest)
	if len(d.findings) == 0 {
		checkConfig(d, r)
	}
	for name, list := range map[string][]string{
		"allow.set_id": r.Allow.SetID, "allow.world_writable": r.Allow.WorldWritable, "allow.capabilities": r.Allow.Capabilities,
		"allow.secrets": r.Allow.Secrets, "allow.dangling": r.Allow.Dangling, "allow.programs": r.Allow.Programs,
	} {
		for i, p := range list {
			guestPath(d, index(name, i), p)
		}
	}
	oneOf(d, "output.compression", r.Output.Compression, compressions)
	oneOf(d, "output.profile", r.Output.Profile, profiles)
}

func checkApt(d *decoder, r *Recipe) {
	a := r.Apt
	mirror(d, "apt.mirror", a.Mirror)
	mirror(d, "apt.security_mirror", a.SecurityMirror)
	if len(a.Components) == 0 {
		d.wrong("apt.components", "want at least \"main\"")
	}
	for i, c := range a.Components {
		match(d, index("apt.components", i), c, plainName, "a component such as main")
	}
	templated := strings.Contains(a.Mirror, "{snapshot}")
	switch t, err := time.Parse(time.RFC3339, a.Snapshot); {
	case a.Snapshot == "" && templated:
		d.wrong("apt.mirror", "{snapshot} stands in it, and apt.snapshot is not given")
	case a.Snapshot == "":
	case err != nil:
		d.wrong("apt.snapshot", "want a time such as 2026-11-01T00:00:00Z, found %q", a.Snapshot)
	case t.Location() != time.UTC:
		d.wrong("apt.snapshot", "want a time in UTC, ending in Z, found %q", a.Snapshot)
	case !templated:
		d.wrong("apt.snapshot", "want {snapshot} in apt.mirror, as in https://snapshot.mirror.example/debian/{snapshot}")
	}
	for path, list := range map[string][]Source{"apt.sources": a.Sources, "apt.guest": a.Guest} {
		seen := map[string]int{}
		for i, s := range list {
			at := index(path, i)
			match(d, at+".name", s.Name, plainName, "a file name without .sources")
			if first, ok := seen[s.Name]; ok {
				d.wrong(at+".name", "%q is the name of %s too", s.Name, index(path, first))
			}
			seen[s.Name] = i
			if s.URI == "" {
				d.wrong(at+".uri", "missing: want the URI of an apt archive")
			}
			mirror(d, at+".uri", s.URI)
			if len(s.Suites) == 0 {
				d.wrong(at+".suites", "missing: want at least one suite")
			}
			for j, name := range s.Suites {
				match(d, index(at+".suites", j), name, suiteName, "the name of a suite")
			}
			// With a suite that is a path ("./") there are no components: not supported.
			if len(s.Components) == 0 {
				d.wrong(at+".components", "missing: want at least one component")
			}
			if s.Key == "" && path == "apt.sources" {
				d.wrong(at+".key", "missing: want the file of the OpenPGP key that signs this archive")
			}
		}
	}
}

func mirror(d *decoder, at, uri string) {
	if uri == "" {
		return
	}
	u, err := url.Parse(uri)
	switch {
	case err != nil:
		d.wrong(at, "not a URI: %v", err)
	case u.User != nil:
		d.wrong(at, "a user or password stands in it: credentials of a mirror go into this machine's apt auth.conf.d")
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host == "":
		d.wrong(at, "the host is missing in %q", uri)
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "file":
		d.wrong(at, "want http, https or file, found %q", uri)
	}
}

func checkFiles(d *decoder, files []File) {
	seen := map[string]int{}
	for i, f := range files {
		at := index("files", i)
		guestPath(d, at+".path", f.Path)
		if first, ok := seen[f.Path]; ok {
			d.wrong(at+".path", "%q is the path of %s too", f.Path, index("files", first))
		}
		seen[f.Path] = i
		kinds := []string{}
		for _, k := range []struct {
			name string
			set  bool
		}{{"source", f.Source != ""}, {"content", f.Content != ""}, {"link", f.Link != ""}, {"directory", f.Directory}} {
			if k.set {
				kinds = append(kinds, k.name)
			}
		}
		if len(kinds) > 1 {
			d.wrong(at, "want one of source, content, link and directory, found %s", strings.Join(kinds, " and "))
		}
		if len(kinds) == 0 && d.at[at+".content"] == nil {
			d.wrong(at, "want one of source, content, link and directory, found none")
		}
		if f.Mode != "" {
			if _, err := strconv.ParseUint(f.Mode, 8, 12); err != nil {
				d.wrong(at+".mode", "want octal digits such as \"0644\", found %q", f.Mode)
			}
			if f.Link != "" {
				d.wrong(at+".mode", "a link has no mode")
			}
		}
		for _, id := range []struct {
			name string
			n    int
		}{{".uid", f.UID}, {".gid", f.GID}} {
			if id.n < 0 || id.n > 65535 {
				d.wrong(at+id.name, "want 0 to 65535, the ids that an unprivileged guest has, found %d", id.n)
			}
		}
	}
}

// reserved are the folders that belong to the kernel or are empty in every
// image; a file there would be lost.
var reserved = []string{"/dev", "/proc", "/sys", "/run", "/tmp", "/var/tmp", "/etc/vzdump"}

func guestPath(d *decoder, at, p string) {
	switch {
	case p == "":
		d.wrong(at, "missing: want an absolute path in the guest")
	case !path.IsAbs(p):
		d.wrong(at, "want an absolute path in the guest, found %q", p)
	case path.Clean(p) != p || p == "/":
		d.wrong(at, "want a clean path below /, found %q", p)
	case strings.ContainsFunc(p, func(c rune) bool { return c < 0x20 || c == 0x7f }):
		d.wrong(at, "a control character stands in %q", p)
	default:
		for _, dir := range reserved {
			if p == dir || strings.HasPrefix(p, dir+"/") {
				d.wrong(at, "%s is empty in every image: %q would be lost", dir, p)
			}
		}
	}
}

func checkScripts(d *decoder, scripts []Script) {
	for i, s := range scripts {
		at := index("scripts", i)
		if s.Path == "" {
			d.wrong(at+".path", "missing: want a script on this machine")
		}
		for name := range s.Env {
			if !envName.MatchString(name) {
				d.wrong(at+".env."+name, "not the name of an environment variable")
			}
		}
	}
}

func checkUnits(d *decoder, u Units) {
	where := map[string]string{}
	for _, l := range []struct {
		at   string
		list []string
	}{{"units.enable", u.Enable}, {"units.disable", u.Disable}, {"units.mask", u.Mask}} {
		for i, name := range l.list {
			match(d, index(l.at, i), name, unitName, "the name of a unit with its suffix, such as ssh.service")
			if other, ok := where[name]; ok {
				d.wrong(index(l.at, i), "%q is in %s too", name, other)
			}
			where[name] = l.at
		}
	}
}

func checkImages(d *decoder, r *Recipe) {
	if r.Controller.Image != "" {
		image(d, "controller.image", r.Controller.Image)
	} else if r.Controller.Archive != "" {
		d.wrong("controller.archive", "controller.image is missing: want the reference that the image has in the guest")
	}
	seen := map[string]string{r.Controller.Image: "controller.image"}
	for i, p := range r.Preload {
		at := index("preload", i)
		image(d, at+".image", p.Image)
		if other, ok := seen[p.Image]; ok && p.Image != "" {
			d.wrong(at+".image", "%q is %s too", p.Image, other)
		}
		seen[p.Image] = at
	}
}

func image(d *decoder, at, ref string) {
	named, err := reference.ParseNormalizedNamed(ref)
	switch {
	case ref == "":
		d.wrong(at, "missing: want an image reference")
	case err != nil:
		d.wrong(at, "not an image reference: %q: %v", ref, err)
	case reference.IsNameOnly(named):
		d.wrong(at, "want a tag or a digest in %q, or another image may come with every build", ref)
	}
}

func checkGuest(d *decoder, g Guest) {
	inRange(d, "guest.vmid", g.VMID, 100, 999_999_999)
	inRange(d, "guest.cores", g.Cores, 0, 8192)
	inRange(d, "guest.memory", g.Memory, 16, 1<<30)
	inRange(d, "guest.swap", g.Swap, 0, 1<<30)
	for label := range strings.SplitSeq(g.Hostname, ".") {
		if !hostLabel.MatchString(label) {
			d.wrong("guest.hostname", "want lower-case letters, digits and dashes, found %q", g.Hostname)
			break
		}
	}
	match(d, "guest.rootfs", g.RootFS, size, "a size such as 8G")
	match(d, "guest.storage", g.Storage, regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]$`), "the name of a PVE storage")
	if strings.Contains(g.Net0, "hwaddr=") {
		d.wrong("guest.net0", "want no hwaddr: every guest of this image would have the same MAC address")
	}
	for i, t := range g.Tags {
		match(d, index("guest.tags", i), t, guestTag, "a tag of lower-case letters, digits, underscore, dash, plus and dot")
	}
	for at, s := range map[string]string{"guest.net0": g.Net0, "guest.features": g.Features} {
		if strings.ContainsAny(s, "\n\r") {
			d.wrong(at, "want one line")
		}
	}
}

func match(d *decoder, at, s string, re *regexp.Regexp, want string) {
	switch {
	case re.MatchString(s):
	case s == "":
		d.wrong(at, "missing: want %s", want)
	default:
		d.wrong(at, "want %s, found %q", want, s)
	}
}

func oneOf(d *decoder, at, s string, list []string) {
	if !slices.Contains(list, s) {
		d.wrong(at, "want %s, found %q", strings.Join(list, " or "), s)
	}
}

func inRange(d *decoder, at string, n, low, high int) {
	if n < low || n > high {
		d.wrong(at, "want %d to %d, found %d", low, high, n)
	}
}

func index(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
