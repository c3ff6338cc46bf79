package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/internal/e2e/testbed"
	"github.com/felhom/felhom-golden/internal/fault"
)

// goldenRecipe uses one suite, because debootstrap supports only one: so all
// three builders have the same packages.
const goldenRecipe = "version: 1\napt: {security: false}\n"

// goldenPackages are the built-in recipe's.
const goldenPackages = "ca-certificates,dbus,dhcpcd-base,docker.io,ifupdown,iproute2,iptables,systemd,systemd-sysv"

// alone makes a builder's mounts and processes end with it: its directory is
// removed afterwards, and nothing may be mounted in it then.
var alone = []string{"--mount", "--propagation=private", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc"}

const debianKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// goldenField is what golden images are measured on.
type goldenField struct {
	dir     string // of everything here
	golden  string // felhom-golden
	measure string
	mirror  string
	suite   string
	log     io.Writer
	samples samples
	sizes   map[string]int64 // of outputs, in bytes
}

// benchGolden measures the image maker against the tools that people have for
// the same work.
func benchGolden(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	if err := testbed.Require(ctx, stderr, "mmdebstrap", "debootstrap", "zstd", "tar"); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-golden-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	f := &goldenField{dir: dir, measure: filepath.Join(dir, "measure"), log: stderr, samples: samples{}, sizes: map[string]int64{}}
	if f.golden, err = filepath.Abs(filepath.Join(o.dist, "felhom-golden")); err != nil {
		return err
	}
	if err := goBuild(ctx, f.measure, "measure"); err != nil {
		return err
	}
	if err := f.prepare(ctx, o); err != nil {
		return err
	}
	for round := range o.builds {
		f.say("build round %d of %d", round+1, o.builds)
		if err := f.builds(ctx, round); err != nil {
			return err
		}
		if err := f.packs(ctx, "release", round); err != nil {
			return err
		}
	}
	for round := range o.rounds {
		f.say("round %d of %d", round+1, o.rounds)
		if err := f.quick(ctx, round); err != nil {
			return err
		}
	}
	return f.print(stdout, o)
}

func (f *goldenField) say(format string, args ...any) {
	_, _ = fmt.Fprintf(f.log, "golden: "+format+"\n", args...)
}

func (f *goldenField) path(name string) string { return filepath.Join(f.dir, name) }

// prepare bakes once, uncounted: that fills caches of mirror and disk, and its
// records say where the packages came from.
func (f *goldenField) prepare(ctx context.Context, o options) error {
	bootstrap, err := os.ReadFile(filepath.Join(o.dist, "felhom-controller-bootstrap"))
	if err != nil {
		return fault.WrapHint(fault.NotReady, err, "make build")
	}
	// A program may have any bytes after its end, so that it can change in each
	// round and still run.
	for i, name := range []string{"bootstrap-0", "bootstrap-1"} {
		if err := os.WriteFile(f.path(name), append(slices.Clone(bootstrap), byte(i)), 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(f.path("golden.yaml"), []byte(goldenRecipe), 0o600); err != nil {
		return err
	}
	f.say("one build that is not counted")
	for _, setting := range []string{"fast", "release"} {
		if _, _, err := f.build(ctx, setting, 0); err != nil {
			return err
		}
	}
	var m struct {
		Suite    string
		Releases map[string]struct{}
		Packages []struct{ Name string }
	}
	data, err := os.ReadFile(f.archive("fast") + ".provenance.json")
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err != nil {
		return err
	}
	for from := range m.Releases {
		f.suite, f.mirror, _ = strings.Cut(from, " ")
	}
	if len(m.Releases) != 1 {
		return fmt.Errorf("want packages of one suite, got %d", len(m.Releases))
	}
	source := fmt.Sprintf("deb [signed-by=%s] %s %s main\n", debianKeyring, f.mirror, f.suite)
	if err := os.WriteFile(f.path("sources.list"), []byte(source), 0o600); err != nil {
		return err
	}
	if err := f.plainSet(ctx, len(m.Packages)); err != nil {
		return err
	}
	// The other packers pack what felhom-golden packs: its own archive, unpacked.
	_, _, err = f.take(ctx, f.golden, "unpack", f.archive("fast"), f.path("tree"))
	return err
}

// plainSet makes the tar of the packages as they are, and checks that they are
// the golden image's.
func (f *goldenField) plainSet(ctx context.Context, packages int) error {
	if _, _, err := f.mmdebstrap(ctx); err != nil {
		return err
	}
	status, err := exec.CommandContext(ctx, "tar", "-xOf", f.path("plain.tar"), "./var/lib/dpkg/status").Output()
	if err != nil {
		return fmt.Errorf("read the plain set's packages: %w", err)
	}
	if n := bytes.Count(status, []byte("\nStatus: install ok installed\n")); n != packages {
		return fmt.Errorf("the plain set has %d packages, the golden image %d: want the same", n, packages)
	}
	if err := f.shell(ctx, "", "", `zstd -q -f -3 -T0 -o "$1" "$2"`, f.path("plain.tar.zst"), f.path("plain.tar")); err != nil {
		return err
	}
	return f.size(plainSet, "plain.tar.zst")
}

func (f *goldenField) mmdebstrap(ctx context.Context) (sample, []byte, error) {
	if err := os.RemoveAll(f.path("plain.tar")); err != nil {
		return sample{}, nil, err
	}
	return f.take(ctx, "unshare", append(slices.Clone(alone), "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--include="+goldenPackages,
		`--aptopt=APT::Install-Recommends "false"`, f.suite, f.path("plain.tar"), f.path("sources.list"))...)
}

func (f *goldenField) archive(setting string) string {
	found, err := filepath.Glob(filepath.Join(f.path(setting), "vzdump-lxc-*.tar.zst"))
	if err != nil || len(found) != 1 {
		return f.path("no-archive")
	}
	return found[0]
}

// build runs felhom-golden build, with one of the two programs.
func (f *goldenField) build(ctx context.Context, setting string, program int, more ...string) (sample, []byte, error) {
	if err := os.MkdirAll(f.path(setting), 0o755); err != nil {
		return sample{}, nil, err
	}
	args := []string{
		"build", "--force", "--compression", setting, "--recipe", f.path("golden.yaml"), "--cache", f.path("cache"),
		"--out", f.path(setting), "--bootstrap", f.path(fmt.Sprint("bootstrap-", program%2)),
	}
	return f.take(ctx, f.golden, append(args, more...)...)
}

// builds bakes from nothing with each builder.
func (f *goldenField) builds(ctx context.Context, round int) error {
	return inTurn(round,
		func() error { return f.count(caseBuild, bareMmdebstrap)(f.mmdebstrap(ctx)) },
		func() error {
			if err := os.RemoveAll(f.path("debootstrap")); err != nil {
				return err
			}
			return f.shell(ctx, caseBuild, debootstrapTar,
				`unshare "${@:7}" debootstrap --variant=minbase --keyring="$1" --include="$2" "$3" "$4" "$5" >/dev/null && tar -C "$4" --numeric-owner --xattrs -cf - . | zstd -q -f -3 -T0 -o "$6"`,
				append([]string{debianKeyring, goldenPackages, f.suite, f.path("debootstrap"), f.mirror, f.path("debootstrap.tar.zst")}, alone...)...)
		},
		func() error {
			if err := os.RemoveAll(f.path("cache")); err != nil {
				return err
			}
			return f.count(caseBuild, felhomReferee)(f.build(ctx, "fast", 0, "--engine", "mmdebstrap"))
		},
		func() error { return f.withDpkg(ctx) })
}

// withDpkg bakes from nothing, and again with packages in the cache and no base.
func (f *goldenField) withDpkg(ctx context.Context) error {
	if err := os.RemoveAll(f.path("cache")); err != nil {
		return err
	}
	if err := f.count(caseBuild, felhomCold)(f.build(ctx, "fast", 0, "--engine", "dpkg")); err != nil {
		return err
	}
	for _, dir := range []string{"cache/layers", "cache/frames"} {
		if err := os.RemoveAll(f.path(dir)); err != nil {
			return err
		}
	}
	s, said, err := f.build(ctx, "fast", 0, "--engine", "dpkg")
	if err != nil {
		return err
	}
	f.samples.add(caseBuild, felhomWarm, s)
	if s.Started, err = stepOf(said, "base", "made"); err != nil {
		return err
	}
	f.samples.add(caseBuild, felhomWarmBase, s)
	return nil
}

// packs packs the same files with both, with the same setting.
func (f *goldenField) packs(ctx context.Context, setting string, round int) error {
	c, peer, flags := caseFast, zstdFast, "-3"
	if setting == "release" {
		c, peer, flags = caseRelease, zstdRelease, "-9 --long=27"
	}
	err := inTurn(round,
		func() error {
			script := `tar -C "$1" --sort=name --numeric-owner --xattrs --format=pax -cf - . | zstd -q -f ` + flags + ` -T0 -o "$2"`
			return f.shell(ctx, c, peer, script, f.path("tree"), f.path(setting+".peer.zst"))
		},
		func() error {
			if err := os.RemoveAll(f.path("cache/frames")); err != nil {
				return err
			}
			s, said, err := f.build(ctx, setting, 0)
			if err == nil {
				s.Started, err = stepOf(said, "pack", "done")
			}
			f.samples.add(c, felhomPack, s)
			return err
		})
	if err != nil {
		return err
	}
	if err := f.size(peer, setting+".peer.zst"); err != nil {
		return err
	}
	info, err := os.Stat(f.archive(setting))
	if err != nil {
		return err
	}
	f.sizes[felhomPack+" "+setting] = info.Size()
	return nil
}

// quick is what takes seconds.
func (f *goldenField) quick(ctx context.Context, round int) error {
	if err := f.packs(ctx, "fast", round); err != nil {
		return err
	}
	if err := f.count(caseRebuild, felhomBuild)(f.build(ctx, "fast", round+1)); err != nil {
		return err
	}
	for _, setting := range []string{"fast", "release"} {
		c := caseVerify + " " + setting
		err := inTurn(round,
			func() error {
				return f.shell(ctx, c, zstdTar, `zstd -dc "$1" | tar -t > /dev/null`, f.archive(setting))
			},
			func() error { return f.count(c, felhomVerify)(f.take(ctx, f.golden, "verify", f.archive(setting))) },
			func() error {
				return f.count(c, felhomInspect)(f.take(ctx, f.golden, "inspect", "--json", f.archive(setting)))
			},
			func() error {
				return f.count(c, felhomConfig)(f.take(ctx, f.golden, "inspect", "--config", f.archive(setting)))
			})
		if err != nil {
			return err
		}
		if err := f.unpacks(ctx, setting, round); err != nil {
			return err
		}
	}
	return nil
}

// unpacks writes all files of an archive, each time to a directory that is empty.
func (f *goldenField) unpacks(ctx context.Context, setting string, round int) error {
	c := caseUnpack + " " + setting
	target := f.path("unpacked")
	return inTurn(round,
		func() error {
			if err := errors.Join(os.RemoveAll(target), os.Mkdir(target, 0o755)); err != nil {
				return err
			}
			return f.shell(ctx, c, tarExtract, `tar --zstd -xpf "$1" --numeric-owner -C "$2"`, f.archive(setting), target)
		},
		func() error {
			if err := os.RemoveAll(target); err != nil {
				return err
			}
			return f.count(c, felhomUnpack)(f.take(ctx, f.golden, "unpack", f.archive(setting), target))
		})
}

// inTurn lets another one begin at each round.
func inTurn(round int, all ...func() error) error {
	for i := range all {
		if err := all[(i+round)%len(all)](); err != nil {
			return err
		}
	}
	return nil
}

func (f *goldenField) count(c, name string) func(sample, []byte, error) error {
	return func(s sample, _ []byte, err error) error {
		if err == nil {
			f.samples.add(c, name, s)
		}
		return err
	}
}

// shell measures a line of shell with its arguments; without a case it is not counted.
func (f *goldenField) shell(ctx context.Context, c, name, script string, args ...string) error {
	s, _, err := f.take(ctx, "/bin/bash", append([]string{"-o", "pipefail", "-c", script, "bash"}, args...)...)
	if err == nil && c != "" {
		f.samples.add(c, name, s)
	}
	return err
}

func (f *goldenField) size(of, file string) error {
	info, err := os.Stat(f.path(file))
	if err == nil {
		f.sizes[of] = info.Size()
	}
	return err
}

func (f *goldenField) take(ctx context.Context, program string, args ...string) (sample, []byte, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return sample{}, nil, err
	}
	s, said, err := measured(ctx, f.measure, f.path("cost.json"), append([]string{path}, args...), []string{"TMPDIR=" + f.dir})
	if err == nil && s.ExitCode != 0 {
		err = fmt.Errorf("%s: exit status %d, want 0\n%s", program, s.ExitCode, said)
	}
	s.Started = s.Wall
	return s, said, err
}

// stepOf reads how long felhom-golden says that a step took.
func stepOf(said []byte, step, result string) (time.Duration, error) {
	for line := range strings.Lines(string(said)) {
		if words := strings.Fields(strings.TrimPrefix(line, "felhom-golden: ")); len(words) > 2 && words[0] == step && words[1] == result {
			return time.ParseDuration(words[2])
		}
	}
	return 0, fmt.Errorf("want a line %q with its time, got:\n%s", step+" "+result, said)
}
