//go:build integration

package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/soak"
)

// killable is a command that is killed at random and given again.
type killable struct {
	name string
	// command returns the command of round i, whose results are in out.
	command func(t *testing.T, i int, out string) *exec.Cmd
	rounds  int      // times SOAK
	isLong  bool     // only with SOAK
	results []string // patterns of all that is in out afterwards
	check   func(t *testing.T, out string)
}

// testKilledAtRandom kills the commands of the image maker anywhere, alone or with all that they
// started: the same command converges, and nothing is left over.
func testKilledAtRandom(t *testing.T, b bakery, archive string) {
	staged := filepath.Join(t.TempDir(), "root")
	if said, err := exec.Command(b.golden, "stage", "--recipe", b.recipe, "--bootstrap", b.bootstrap, "--cache", b.cache, staged).CombinedOutput(); err != nil {
		t.Fatalf("stage: %v\n%s", err, said)
	}
	records := []string{"vzdump-*.tar.zst", "vzdump-*.tar.zst.*"}
	same := func(t *testing.T, out string) {
		same(t, b.golden, archive, one(t, filepath.Join(out, "vzdump-*.tar.zst")))
	}
	scripted := b
	scripted.recipe = writeTwice(t, 0o644)
	for _, k := range []killable{
		{name: "build", rounds: 2, results: records, check: same, command: func(t *testing.T, i int, out string) *exec.Cmd {
			if i%2 == 1 {
				b.forgetFrames(t)
			}
			return b.build(out)
		}},
		// Another script is another base.
		{name: "build with another script", isLong: true, rounds: 1, results: records, command: func(t *testing.T, i int, out string) *exec.Cmd {
			text := fmt.Sprintf("%secho %d >>/etc/ran\nsleep 0.2\n", twiceScript, i)
			if err := os.WriteFile(filepath.Join(filepath.Dir(scripted.recipe), "s.sh"), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			return scripted.build(out)
		}},
		{name: "stage", isLong: true, rounds: 2, results: []string{"root", "root.stage.json"}, command: func(_ *testing.T, _ int, out string) *exec.Cmd {
			return exec.Command(b.golden, "stage", "--recipe", b.recipe, "--bootstrap", b.bootstrap, "--cache", b.cache, filepath.Join(out, "root"))
		}},
		{name: "pack", rounds: 2, results: records, command: func(_ *testing.T, _ int, out string) *exec.Cmd {
			return exec.Command(b.golden, "pack", staged, filepath.Join(out, filepath.Base(archive)))
		}},
		{name: "unpack", isLong: true, rounds: 2, results: []string{"root"}, command: func(_ *testing.T, _ int, out string) *exec.Cmd {
			return exec.Command(b.golden, "unpack", archive, filepath.Join(out, "root"))
		}},
	} {
		if k.isLong && !soak.IsLong() {
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			random, rounds := soak.Start(t, k.rounds)
			k.try(t, b.cache, random, rounds)
		})
	}
}

// try kills the command in each round, and gives it once more.
func (k killable) try(t *testing.T, cache string, random *rand.Rand, rounds int) {
	dir := t.TempDir()
	temporary := filepath.Join(dir, "temporary")
	if err := os.Mkdir(temporary, 0o700); err != nil {
		t.Fatal(err)
	}
	command := func(i int, out string) *exec.Cmd {
		cmd := k.command(t, i, out)
		cmd.Env = append(os.Environ(), "TMPDIR="+temporary)
		return cmd
	}
	full := time.Duration(0)
	whole := 1
	if soak.IsLong() {
		whole = 2 // of each kind
	}
	for i := -whole; i < rounds; i++ {
		out := filepath.Join(dir, "out")
		if err := os.Mkdir(out, 0o700); err != nil {
			t.Fatal(err)
		}
		when := "not killed"
		if i >= 0 {
			when = fmt.Sprintf("round %d, %s", i, soak.Kill(t, command(i, out), random, full))
		}
		started := time.Now()
		k.again(t, when, command(i, out), out)
		if i < 0 {
			full = max(full, time.Since(started))
		}
		k.assertWhole(t, when, out)
		soak.AwaitNothing(t, when, dir, filepath.Join(out, "root"))
		soak.AwaitNothing(t, when, cache, roots(t, cache)...)
		if k.check != nil {
			k.check(t, out)
		}
		if err := os.RemoveAll(out); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			return
		}
	}
}

// again gives the command again. One that was killed after its last step has its
// result, which is refused.
func (k killable) again(t *testing.T, when string, cmd *exec.Cmd, out string) {
	t.Helper()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	err := cmd.Run()
	if err == nil {
		return
	}
	isDone := cmd.ProcessState.ExitCode() == 2 && (strings.Contains(said.String(), " already exists") || strings.Contains(said.String(), " is not empty"))
	if when == "not killed" || !isDone {
		t.Fatalf("%s: the same command again: %v\n%s", when, err, said.String())
	}
	t.Logf("%s: it had ended in %s", when, out)
}

// assertWhole wants the results and no other file in out.
func (k killable) assertWhole(t *testing.T, when, out string) {
	t.Helper()
	entries, err := os.ReadDir(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range k.results {
		one(t, filepath.Join(out, pattern))
	}
	for _, e := range entries {
		if !slices.ContainsFunc(k.results, func(p string) bool { is, err := filepath.Match(p, e.Name()); return err == nil && is }) {
			t.Errorf("%s: %s is left over", when, e.Name())
		}
	}
}

// roots are the directories of the cache that have whole systems, in which any name can be.
func roots(t *testing.T, cache string) []string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(cache, "layers/*/root"))
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}

// one returns the first file of a pattern, and wants that there is one.
func one(t *testing.T, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v, %v, want a file", pattern, files, err)
	}
	return files[0]
}
