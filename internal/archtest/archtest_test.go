package archtest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/felhom/felhom-golden/"

type pkg struct {
	ImportPath string
	Name       string
	Doc        string
	Dir        string
	Standard   bool
	GoFiles    []string
	Imports    []string // direct, without those of tests
	Deps       []string // transitive
}

// load lists our packages and, transitively, all they are built from.
func load(t *testing.T) (own []pkg, all map[string]pkg) {
	t.Helper()
	watchTree(t)
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-tags", "integration", "-json=ImportPath,Name,Doc,Dir,Standard,GoFiles,Imports,Deps", "./...")
	cmd.Dir = "../.."
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	all = map[string]pkg{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = p
		if strings.HasPrefix(p.ImportPath, module) {
			own = append(own, p)
		}
	}
	return own, all
}

// watchTree reads each directory of the repository, so that go test, which cannot see what "go list" reads, takes no result from its
// cache after a file was added or changed.
func watchTree(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && (d.Name() == ".git" || d.Name() == ".cache" || d.Name() == "dist") {
			return filepath.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// match reports whether path is pattern, or is below it where pattern ends in "/...".
func match(pattern, path string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "/..."); ok {
		return path == prefix || strings.HasPrefix(path, prefix+"/")
	}
	return pattern == path
}

func matchAny(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return match(p, path) })
}

// A rule either bans packages from the transitive list of those it is for, or
// names the only ones outside the standard library that may be on it.
var rules = []struct {
	name   string
	of     []string
	except []string
	ban    []string
	only   []string // nil: no such limit
	direct bool     // look at direct imports alone
	reason string
}{
	{
		name: "pin is self-contained", of: []string{module + "internal/pin", module + "internal/typo"}, only: []string{},
		reason: "what gates a handshake is read in one sitting",
	},
	{
		name: "termtext and finding are self-contained", of: []string{module + "internal/termtext", module + "internal/finding"}, only: []string{},
		reason: "drivers, formats and all programs are built from them",
	},
	{
		name: "fault collects errors, and no more", of: []string{module + "internal/fault"},
		only: []string{"github.com/hashicorp/go-multierror", "github.com/hashicorp/errwrap"}, reason: "drivers, formats and all programs are built from it",
	},
	{
		name: "strictyaml reads YAML and nothing else", of: []string{module + "internal/strictyaml"},
		only: []string{"go.yaml.in/yaml/v3", module + "internal/finding", module + "internal/typo", module + "internal/termtext"}, reason: "it knows no file of the product by name",
	},
	{
		name: "jsondoc reads JSON and nothing else", of: []string{module + "internal/jsondoc"},
		only: []string{module + "internal/finding", module + "internal/typo", module + "internal/termtext"}, reason: "it knows no document of the product by name",
	},
	{
		name: "containerspec is a format", of: []string{module + "internal/containerspec"},
		ban:    []string{module + "internal/driver/...", module + "bootstrapper/...", module + "agentd/...", module + "golden/..."},
		reason: "recipe, agentd.yaml and guest read the container's settings by it",
	},
	{
		name: "only main packages know exit codes", of: []string{module + "..."},
		except: []string{module + "bootstrapper", module + "agentd", module + "golden", module + "internal/command", module + "internal/e2e/...", module + "golden/internal/sshd"},
		ban:    []string{module + "internal/exit"}, reason: "a library returns a kind of failure; sshd reports the status of what it ran",
	},
	{
		name: "the registry proxy knows no store", of: []string{module + "agentd/internal/registryproxy", module + "agentd/internal/blobcache"},
		ban:    []string{module + "agentd/internal/guests", module + "agentd/internal/provision", module + "agentd/internal/api", module + "internal/driver/..."},
		reason: "what a guest may pull is decided from the guest and the images that it is given",
	},
	{
		name: "contract is pure", of: []string{module + "internal/contract"},
		only:   []string{module + "internal/pin", module + "internal/jsondoc", module + "internal/finding", module + "internal/typo", module + "internal/termtext"},
		reason: "the formats between host and guest bring no dependency to either side",
	},
	{
		name: "a controller can import the client", of: []string{module + "bootstrapper/localapi", module + "internal/localapi"},
		only: []string{
			module + "internal/localapi", module + "internal/contract", module + "internal/jsondoc", module + "internal/finding", module + "internal/pin",
			module + "internal/typo", module + "internal/termtext", module + "internal/regular", module + "internal/retryafter",
		},
		reason: "a controller that imports it gets no dependency of this module",
	},
	{
		name: "contract opens nothing", of: []string{module + "internal/contract", module + "internal/jsondoc", module + "internal/containerspec", module + "internal/vzdump", module + "internal/pctconf"}, ban: []string{"os"}, direct: true,
		reason: "formats work on bytes, readers and writers",
	},
	{
		name: "one reader of YAML files", of: []string{module + "..."},
		except: []string{module + "internal/strictyaml/...", module + "internal/containerspec", module + "bootstrapper/internal/settings", module + "internal/e2e/..."},
		ban:    []string{"go.yaml.in/yaml/v3"}, direct: true,
		reason: "a file that people write is read by internal/strictyaml, with all findings at once; settings checks what a template gave, containerspec writes",
	},
	{
		name: "drivers do not know the contract", of: []string{module + "internal/driver/..."}, ban: []string{module + "internal/contract"},
		reason: "programs translate; a driver outlives a format",
	},
	{
		name: "host and build machine have no Docker client", of: []string{module + "agentd/...", module + "golden/..."}, ban: []string{"github.com/docker/docker/client"},
		reason: "the host never acts inside a guest, and the build machine needs no engine",
	},
	{
		name: "guest stays lean", of: []string{module + "bootstrapper/..."},
		ban:    []string{"os/exec", "github.com/klauspost/...", "github.com/google/go-containerregistry/...", "golang.org/x/crypto/...", "github.com/prometheus/..."},
		reason: "each dependency of the bootstrapper is bytes in each guest, and it starts no program",
	},
	{
		name: "bootstrapper imports no other program", of: []string{module + "bootstrapper/..."}, ban: []string{module + "agentd/...", module + "golden/..."},
		reason: "programs meet in the contract only",
	},
	{
		name: "agentd imports no other program", of: []string{module + "agentd/..."}, ban: []string{module + "bootstrapper/...", module + "golden/..."},
		reason: "programs meet in the contract only",
	},
	{
		name: "golden imports no other program", of: []string{module + "golden/..."}, ban: []string{module + "bootstrapper/...", module + "agentd/..."},
		reason: "programs meet in the contract only",
	},
	{
		name: "verify shares nothing with the maker", of: []string{module + "golden/internal/verify", module + "golden/internal/image", module + "golden/internal/inspect", module + "golden/internal/diff", module + "golden/internal/contents"},
		ban:    []string{module + "golden/internal/stage", module + "golden/internal/overlay", module + "golden/internal/seal", module + "golden/internal/pack"},
		reason: "a check that shares code with what it checks shares its mistakes",
	},
	{
		name: "only main packages know the CLI library", of: []string{module + "..."},
		except: []string{module + "bootstrapper", module + "agentd", module + "golden", module + "internal/command", module + "internal/e2e/..."},
		ban:    []string{"github.com/urfave/cli/v2"}, reason: "work takes an options struct",
	},
	{
		name: "fakes are for tests", of: []string{module + "..."}, except: []string{module + "internal/driver/drivertest", module + "internal/driver/pct/pcttest/standin"}, ban: []string{module + "internal/driver/drivertest", module + "internal/driver/pct/pcttest", module + "golden/internal/enter/entertest", module + "internal/strictyaml/schematest", module + "agentd/internal/guests/gueststest", module + "internal/fuzztest", module + "internal/leaktest", module + "internal/isolate", module + "internal/soak", module + "internal/powercut", module + "internal/freeport"}, direct: true,
		reason: "the product never runs on a fake",
	},
}

func TestImportRules(t *testing.T) {
	own, all := load(t)
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			checked := 0
			for _, p := range own {
				if !matchAny(rule.of, p.ImportPath) || matchAny(rule.except, p.ImportPath) {
					continue
				}
				checked++
				list := p.Deps
				if rule.direct {
					list = p.Imports
				}
				for _, dep := range list {
					banned := matchAny(rule.ban, dep)
					if rule.only != nil && !all[dep].Standard && !matchAny(rule.only, dep) && dep != p.ImportPath {
						banned = true
					}
					if banned {
						t.Errorf("%s is built from %s: %s", p.ImportPath, dep, rule.reason)
					}
				}
			}
			if checked == 0 {
				t.Errorf("the rule is for %v, and there is no such package", rule.of)
			}
		})
	}
}

// A ban of a package that no longer exists is a rule that cannot fail.
func TestBannedPackagesExist(t *testing.T) {
	_, all := load(t)
	for _, rule := range rules {
		for _, ban := range rule.ban {
			// drivertest is imported by tests alone, so it is on no list but its own.
			found := false
			for path := range all {
				found = found || match(ban, path)
			}
			if !found {
				t.Errorf("%s: nothing is built from %s", rule.name, ban)
			}
		}
	}
}

func TestPackagesSayWhatTheyAreFor(t *testing.T) {
	own, _ := load(t)
	for _, p := range own {
		prefix := "Package " + p.Name + " "
		if p.Name == "main" {
			prefix = "Command "
		}
		if !strings.HasPrefix(p.Doc, prefix) {
			t.Errorf("%s: package doc starts %.40q, want %q", p.ImportPath, p.Doc, prefix)
		}
	}
}

func TestFilesStayShort(t *testing.T) {
	const most = 400 // lines; a longer file holds two concepts
	own, _ := load(t)
	for _, p := range own {
		for _, name := range p.GoFiles {
			data, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(data, []byte("\n")); n > most {
				t.Errorf("%s/%s has %d lines, more than %d: split it by concept", p.ImportPath, name, n, most)
			}
		}
	}
}

func TestJSONInDocsIsJSON(t *testing.T) {
	block := regexp.MustCompile("(?s)```json\n(.*?)```")
	seen := 0
	err := filepath.WalkDir("../../docs", func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".md" {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range block.FindAllSubmatch(data, -1) {
			seen++
			if !json.Valid(m[1]) {
				t.Errorf("%s: not JSON:\n%s", path, m[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen == 0 {
		t.Error("no JSON example found in docs")
	}
}
