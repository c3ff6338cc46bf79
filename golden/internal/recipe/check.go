package recipe

import (
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/reference"

	"github.com/felhom/felhom-golden/golden/internal/contents"
	"github.com/felhom/felhom-golden/internal/strictyaml"
)

var (
	suites = []string{"bookworm", "trixie"}
	archs  = []string{"amd64", "arm64"}
	// Engines are what can install the packages of a base.
	Engines      = []string{"dpkg", "mmdebstrap"}
	compressions = []string{"fast", "release"}
	profiles     = []string{"full", "pruned"}

	// Debian Policy 5.6.7; an architecture or a version pin may follow.
	packageName = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?(=[A-Za-z0-9.+~:-]+)?$`)
	plainName   = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
	suiteName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]*$`)
	// systemd.unit(5): the characters of a unit's name, with a known suffix.
	unitName  = regexp.MustCompile(`^[A-Za-z0-9:_.\\@-]+\.(service|socket|device|mount|automount|swap|target|path|timer|slice|scope)$`)
	hostLabel = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	size      = regexp.MustCompile(`^[1-9][0-9]*[MGT]$`)
	envName   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	guestTag  = regexp.MustCompile(`^[a-z0-9_][a-z0-9_+.-]*$`)
)

// check applies the rules of each field and those across fields. It runs also
// after a document with findings, so that one run shows everything.
func check(doc *strictyaml.Document, r *Recipe) {
	if r.Version != Version {
		doc.Add("version", "want %d, got %d", Version, r.Version)
	}
	match(doc, "name", r.Name, plainName, "lower-case letters, digits, dot, underscore and dash")
	oneOf(doc, "suite", r.Suite, suites)
	oneOf(doc, "arch", r.Arch, archs)
	oneOf(doc, "engine", r.Engine, Engines)
	checkApt(doc, r)
	for i, p := range r.Packages.Include {
		match(doc, strictyaml.Index("packages.include", i), p, packageName, "a package name, with =VERSION if need be")
		if slices.Contains(r.Packages.Exclude, p) {
			doc.Add(strictyaml.Index("packages.include", i), "%q is in packages.exclude too", p)
		}
	}
	for i, p := range r.Packages.Exclude {
		match(doc, strictyaml.Index("packages.exclude", i), p, packageName, "a package name")
	}
	checkFiles(doc, r.Files)
	checkScripts(doc, r.Scripts)
	checkUnits(doc, r.Units)
	checkDaemon(doc, r.Docker.Daemon)
	checkLogs(doc, r)
	checkImages(doc, r)
	checkGuest(doc, r.Guest)
	checkSeal(doc, r.Seal)
	if doc.Err() == nil {
		checkConfig(doc, r)
	}
	a := r.Allow
	for _, l := range []struct {
		at    string
		paths []string
	}{
		{"allow.set_id", a.SetID},
		{"allow.world_writable", a.WorldWritable},
		{"allow.capabilities", a.Capabilities},
		{"allow.secrets", a.Secrets},
		{"allow.dangling", a.Dangling},
		{"allow.programs", a.Programs},
	} {
		for i, p := range l.paths {
			guestPath(doc, strictyaml.Index(l.at, i), p)
		}
	}
	oneOf(doc, "output.compression", r.Output.Compression, compressions)
	oneOf(doc, "output.profile", r.Output.Profile, profiles)
}

func checkApt(doc *strictyaml.Document, r *Recipe) {
	a := r.Apt
	mirror(doc, "apt.mirror", a.Mirror)
	mirror(doc, "apt.security_mirror", a.SecurityMirror)
	if len(a.Components) == 0 {
		doc.Add("apt.components", "want at least \"main\"")
	}
	for i, c := range a.Components {
		match(doc, strictyaml.Index("apt.components", i), c, plainName, "a component such as main")
	}
	templated := strings.Contains(a.Mirror, "{snapshot}")
	switch t, err := time.Parse(time.RFC3339, a.Snapshot); {
	case a.Snapshot == "" && templated:
		doc.Add("apt.mirror", "it has {snapshot}, and apt.snapshot is not given")
	case a.Snapshot == "":
	case err != nil:
		doc.Add("apt.snapshot", "want a time such as 2026-11-01T00:00:00Z, got %q", a.Snapshot)
	case t.Location() != time.UTC:
		doc.Add("apt.snapshot", "want a time in UTC, ending in Z, got %q", a.Snapshot)
	case !templated:
		doc.Add("apt.snapshot", "want {snapshot} in apt.mirror, as in https://snapshot.mirror.example/debian/{snapshot}")
	}
	checkSources(doc, "apt.sources", a.Sources, true)
	checkSources(doc, "apt.guest", a.Guest, false)
}

func checkSources(doc *strictyaml.Document, path string, list []Source, needKey bool) {
	seen := map[string]int{}
	for i, s := range list {
		at := strictyaml.Index(path, i)
		match(doc, at+".name", s.Name, plainName, "a file name without .sources")
		if first, ok := seen[s.Name]; ok {
			doc.Add(at+".name", "%q is the name of %s too", s.Name, strictyaml.Index(path, first))
		}
		seen[s.Name] = i
		if s.URI == "" {
			doc.Add(at+".uri", "missing: want the URI of an apt archive")
		}
		mirror(doc, at+".uri", s.URI)
		if len(s.Suites) == 0 {
			doc.Add(at+".suites", "missing: want at least one suite")
		}
		for j, name := range s.Suites {
			match(doc, strictyaml.Index(at+".suites", j), name, suiteName, "the name of a suite")
		}
		// With a suite that is a path ("./") there are no components: not supported.
		if len(s.Components) == 0 {
			doc.Add(at+".components", "missing: want at least one component")
		}
		if s.Key == "" && needKey {
			doc.Add(at+".key", "missing: want the file of the OpenPGP key that signs this archive")
		}
	}
}

func mirror(doc *strictyaml.Document, at, uri string) {
	if uri == "" {
		return
	}
	u, err := url.Parse(uri)
	switch {
	case err != nil:
		doc.Add(at, "not a URI: %v", err)
	case u.User != nil:
		doc.Add(at, "it has a user or password: credentials of a mirror go into this machine's apt auth.conf.d")
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host == "":
		doc.Add(at, "the host is missing in %q", uri)
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "file":
		doc.Add(at, "want http, https or file, got %q", uri)
	}
}

func checkFiles(doc *strictyaml.Document, files []File) {
	seen := map[string]int{}
	for i, f := range files {
		at := strictyaml.Index("files", i)
		guestPath(doc, at+".path", f.Path)
		if first, ok := seen[f.Path]; ok {
			doc.Add(at+".path", "%q is the path of %s too", f.Path, strictyaml.Index("files", first))
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
			doc.Add(at, "want one of source, content, link and directory, got %s", strings.Join(kinds, " and "))
		}
		if _, given := doc.At(at + ".content"); len(kinds) == 0 && !given {
			doc.Add(at, "want one of source, content, link and directory, got none of them")
		}
		if f.Mode != "" {
			if _, err := strconv.ParseUint(f.Mode, 8, 12); err != nil {
				doc.Add(at+".mode", "want octal digits such as \"0644\", got %q", f.Mode)
			}
			if f.Link != "" {
				doc.Add(at+".mode", "the mode of a link cannot be set")
			}
		}
		for _, id := range []struct {
			name string
			n    int
		}{{".uid", f.UID}, {".gid", f.GID}} {
			if id.n < 0 || id.n > 65535 {
				doc.Add(at+id.name, "want 0 to 65535, the ids that an unprivileged guest has, got %d", id.n)
			}
		}
	}
}

// reserved are the directories that belong to the kernel or are empty in every
// image; a file there would be lost.
var reserved = []string{"/dev", "/proc", "/sys", "/run", "/tmp", "/var/tmp", "/etc/vzdump"}

func guestPath(doc *strictyaml.Document, at, p string) {
	switch {
	case p == "":
		doc.Add(at, "missing: want an absolute path in the guest")
	case !path.IsAbs(p):
		doc.Add(at, "want an absolute path in the guest, got %q", p)
	case path.Clean(p) != p || p == "/":
		doc.Add(at, "want a clean path below /, got %q", p)
	case strings.ContainsFunc(p, func(c rune) bool { return c < 0x20 || c == 0x7f }):
		doc.Add(at, "%q has a control character", p)
	case p == "/"+contents.Path || strings.HasPrefix(p, "/"+contents.Path+"/"):
		doc.Add(at, "%q is the archive's table of contents, which pack writes itself", p)
	default:
		for _, dir := range reserved {
			if p == dir || strings.HasPrefix(p, dir+"/") {
				doc.Add(at, "%s is empty in every image: %q would be lost", dir, p)
			}
		}
	}
}

func checkScripts(doc *strictyaml.Document, scripts []Script) {
	for i, s := range scripts {
		at := strictyaml.Index("scripts", i)
		if s.Path == "" {
			doc.Add(at+".path", "missing: want a script on this machine")
		}
		for name := range s.Env {
			if !envName.MatchString(name) {
				doc.Add(at+".env."+name, "not the name of an environment variable")
			}
		}
	}
}

func checkUnits(doc *strictyaml.Document, u Units) {
	where := map[string]string{}
	for _, l := range []struct {
		at   string
		list []string
	}{{"units.enable", u.Enable}, {"units.disable", u.Disable}, {"units.mask", u.Mask}} {
		for i, name := range l.list {
			match(doc, strictyaml.Index(l.at, i), name, unitName, "the name of a unit with its suffix, such as ssh.service")
			if other, ok := where[name]; ok {
				doc.Add(strictyaml.Index(l.at, i), "%q is in %s too", name, other)
			}
			where[name] = l.at
		}
	}
}

func checkImages(doc *strictyaml.Document, r *Recipe) {
	if r.Controller.Image != "" {
		image(doc, "controller.image", r.Controller.Image)
	} else if r.Controller.Archive != "" {
		doc.Add("controller.archive", "controller.image is missing: want the reference that the image has in the guest")
	}
	seen := map[string]string{r.Controller.Image: "controller.image"}
	for i, p := range r.Preload {
		at := strictyaml.Index("preload", i)
		image(doc, at+".image", p.Image)
		if other, ok := seen[p.Image]; ok && p.Image != "" {
			doc.Add(at+".image", "%q is %s too", p.Image, other)
		}
		seen[p.Image] = at
	}
}

func image(doc *strictyaml.Document, at, ref string) {
	named, err := reference.ParseNormalizedNamed(ref)
	switch {
	case ref == "":
		doc.Add(at, "missing: want an image reference")
	case err != nil:
		doc.Add(at, "not an image reference: %q: %v", ref, err)
	case reference.IsNameOnly(named):
		doc.Add(at, "want a tag or a digest in %q, or another image may come with every build", ref)
	}
}

func checkGuest(doc *strictyaml.Document, g Guest) {
	inRange(doc, "guest.vmid", g.VMID, 100, 999_999_999)
	inRange(doc, "guest.cores", g.Cores, 0, 8192)
	inRange(doc, "guest.memory", g.Memory, 16, 1<<30)
	inRange(doc, "guest.swap", g.Swap, 0, 1<<30)
	for label := range strings.SplitSeq(g.Hostname, ".") {
		if !hostLabel.MatchString(label) {
			doc.Add("guest.hostname", "want lower-case letters, digits and dashes, got %q", g.Hostname)
			break
		}
	}
	match(doc, "guest.rootfs", g.RootFS, size, "a size such as 8G")
	match(doc, "guest.storage", g.Storage, regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]$`), "the name of a PVE storage")
	if strings.Contains(g.Net0, "hwaddr=") {
		doc.Add("guest.net0", "want no hwaddr: every guest of this image would have the same MAC address")
	}
	for i, t := range g.Tags {
		match(doc, strictyaml.Index("guest.tags", i), t, guestTag, "a tag of lower-case letters, digits, underscore, dash, plus and dot")
	}
	oneLine(doc, "guest.net0", g.Net0)
	oneLine(doc, "guest.features", g.Features)
}

func oneLine(doc *strictyaml.Document, at, s string) {
	if strings.ContainsAny(s, "\n\r") {
		doc.Add(at, "want one line")
	}
}

func match(doc *strictyaml.Document, at, s string, re *regexp.Regexp, want string) {
	switch {
	case re.MatchString(s):
	case s == "":
		doc.Add(at, "missing: want %s", want)
	default:
		doc.Add(at, "want %s, got %q", want, s)
	}
}

func oneOf(doc *strictyaml.Document, at, s string, list []string) {
	if !slices.Contains(list, s) {
		doc.Add(at, "want %s, got %q", strings.Join(list, " or "), s)
	}
}

func inRange(doc *strictyaml.Document, at string, n, low, high int) {
	if n < low || n > high {
		doc.Add(at, "want %d to %d, got %d", low, high, n)
	}
}
