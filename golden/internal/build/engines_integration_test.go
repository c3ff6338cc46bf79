//go:build integration

package build

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/golden/internal/recipe"
	"github.com/felhom/felhom-golden/golden/internal/stage"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

// The recipes that both engines must bake alike. "make test" takes the small one, "make compare-engines" all of them.
var comparedRecipes = []struct{ name, text string }{
	{oddName, ""},
	{"built-in", "version: 1\n"},
	{"bookworm", "version: 1\nsuite: bookworm\n"},
	// Alternatives, diversions, debconf questions, Pre-Depends, users, conffiles that scripts write, triggers of files, links of
	// systemd, and packages that need others configured before they are unpacked.
	// A package that the essential ones need is replaced by another, and a file gets a capability.
	{"replaced", "version: 1\napt: {security: false}\npackages:\n  include: [gawk, iputils-ping]\n  exclude: [mawk, docker.io, iptables, dhcpcd-base, ifupdown]\n"},
	{"many", "version: 1\npackages:\n  include: [docker-cli, vim, nano, openssh-server, postfix, chrony, rsyslog, man-db, locales, molly-guard, python3, cron, logrotate, unattended-upgrades, fish, zsh, default-jre-headless, nftables, lvm2, cryptsetup, sudo, gdm3-]\n"},
}

// oddName is the recipe with the packages of [oddPackages], which "make test" bakes.
const oddName = "odd"

// everyRecipe is the variable that "make compare-engines" sets.
const everyRecipe = "FELHOM_COMPARE_ENGINES"

// otherTimes are the directories whose time alone differs, each with its reason.
var otherTimes = map[string]string{
	"dev":                 "mmdebstrap makes devices here, which are removed later",
	"run":                 "the packages write here, in one case into memory",
	"tmp":                 "mmdebstrap has temporary files here",
	"etc/dpkg/dpkg.cfg.d": "mmdebstrap has its settings of dpkg here while it works",
	// Of bookworm's libperl5.36, which the essential packages need. It has directories and a link to one, which dpkg leaves alone.
	"usr/lib/x86_64-linux-gnu/perl": "mmdebstrap's tar sets a directory's time before it makes the link in it, which comes last in the package",
}

// otherBytes are the files whose content is never the same twice, each with its reason. Their length is.
var otherBytes = map[string]string{
	"etc/aliases.db":             "a file of Berkeley DB has a number made of its inode and the time",
	"etc/ssl/certs/java/cacerts": "a store of keytool has the time at which each certificate came",
}

// otherOrder is apt's list of the packages that were not asked for by name. apt writes it in the order of its hash table.
const otherOrder = "var/lib/apt/extended_states"

var (
	someTime   = regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:]+Z`)
	someDigest = regexp.MustCompile(`\b[0-9a-f]{64}\b`)
)

// TestEnginesBakeTheSame has mmdebstrap as the referee: each file's content, mode, owner, time, attributes and links, and dpkg's
// database, are those of mmdebstrap's root.
func TestEnginesBakeTheSame(t *testing.T) {
	if err := testbed.Require(t.Context(), os.Stderr, "mmdebstrap"); err != nil {
		t.Fatal(err)
	}
	for _, c := range comparedRecipes {
		if c.name != oddName && os.Getenv(everyRecipe) == "" {
			continue // the others are a target of their own: they take minutes
		}
		t.Run(c.name, func(t *testing.T) {
			if c.name == oddName {
				c.text = oddRecipe(t)
			}
			r, err := recipe.Parse("test", []byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			r.Dir = t.TempDir()
			cache := stage.Cache{Dir: t.TempDir()}
			trees := map[stage.Engine]map[string]string{}
			for _, e := range []stage.Engine{stage.Mmdebstrap, stage.Dpkg} {
				trees[e] = bakedTree(t, r, cache, e)
			}
			compareTrees(t, trees[stage.Mmdebstrap], trees[stage.Dpkg])
			if c.name == oddName {
				checkOdd(t, trees[stage.Dpkg])
			}
		})
	}
}

func bakedTree(t *testing.T, r recipe.Recipe, cache stage.Cache, e stage.Engine) map[string]string {
	t.Helper()
	plan, err := stage.Resolve(t.Context(), r, stage.Options{Engine: e})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	start := time.Now()
	base, err := plan.Base(t.Context(), cache, stage.Hooks{
		Log:  &log,
		Seal: func(ctx context.Context, root string) error { return sealRoot(ctx, root, r, plan.Epoch) },
	})
	if err != nil {
		t.Fatalf("%s: %v\n%s", e, err, log.String())
	}
	t.Logf("%s took %v", e, time.Since(start))
	defer func() {
		if err := base.Close(); err != nil {
			t.Error(err)
		}
	}()
	tree, err := describeTree(base.Root, plan.Epoch)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// describeTree returns all that there is to say about each path below root. Times after the epoch are the epoch, as in an archive.
func describeTree(root string, epoch time.Time) (map[string]string, error) {
	tree := map[string]string{}
	first := map[uint64]string{} // name of an inode with several
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		mtime := info.ModTime()
		if mtime.After(epoch) {
			mtime = epoch
		}
		text := fmt.Sprintf("%v %d:%d %v", info.Mode(), st.Uid, st.Gid, mtime.UTC().Format(time.RFC3339))
		switch {
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text += " -> " + target
		case d.Type().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if name == otherOrder {
				data = []byte(strings.Join(slices.Sorted(strings.SplitSeq(string(data), "\n\n")), "\n\n"))
			}
			text += fmt.Sprintf(" %d bytes %x", len(data), sha256.Sum256(data))
			if st.Nlink > 1 {
				if first[st.Ino] == "" {
					first[st.Ino] = name
				}
				text += " one file with " + first[st.Ino]
			}
		case !d.IsDir():
			text += fmt.Sprintf(" device %d", st.Rdev)
		}
		attributes, err := listAttributes(path)
		tree[name] = text + attributes
		return err
	})
	return tree, err
}

// listAttributes returns the extended attributes of path with their values.
func listAttributes(path string) (string, error) {
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, buf)
	if errors.Is(err, unix.ENOTSUP) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	names := slices.Sorted(strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00"))
	text := ""
	for _, name := range names {
		if name == "" {
			continue
		}
		n, err := unix.Lgetxattr(path, name, buf)
		if err != nil {
			return "", err
		}
		text += fmt.Sprintf(" %s=%x", name, buf[:n])
	}
	return text, nil
}

func compareTrees(t *testing.T, want, got map[string]string) {
	t.Helper()
	paths := map[string]bool{}
	for _, tree := range []map[string]string{want, got} {
		for path := range tree {
			paths[path] = true
		}
	}
	if len(paths) < 2000 || want["var/lib/dpkg/status"] == "" {
		t.Fatalf("%d paths: that is not a system", len(paths))
	}
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		a, b := want[path], got[path]
		if otherTimes[path] != "" {
			a, b = someTime.ReplaceAllString(a, ""), someTime.ReplaceAllString(b, "")
		}
		if otherBytes[path] != "" {
			a, b = someDigest.ReplaceAllString(a, ""), someDigest.ReplaceAllString(b, "")
		}
		if a != b {
			t.Errorf("%s:\n mmdebstrap %s\n dpkg       %s", path, a, b)
		}
	}
}
