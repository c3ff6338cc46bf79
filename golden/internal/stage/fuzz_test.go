package stage

import (
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/golden/internal/overlay"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/fuzztest"
)

// FuzzPackageCounter: whatever programs write, and in whatever pieces, no more packages
// are done than there are, and what is kept of it is bounded.
func FuzzPackageCounter(f *testing.F) {
	for _, s := range []string{
		"0 upgraded, 2 newly installed, 0 to remove and 0 not upgraded.\nGet:1 http://a.example trixie/main amd64 a all 1\nGet:2 http://a.example b\nSelecting previously unselected package a.\nUnpacking a (1) ...\nUnpacking b (2) ...\nSetting up a (1) ...\nSetting up b (2) ...\n",
		"Upgrading: 0, Installing: 3, Removing: 0, Not Upgrading: 0\nUnpacking a:amd64 (1) over (0) ...\n", "1 upgraded, 99999999999999999999 newly installed\n", "0 upgraded, 1000000 newly installed\n0 upgraded, 1000000 newly installed\n", "Setting up \n", "Unpacking \xff\n", strings.Repeat("x", 3*maxCountedLine) + "\nGet:", "Setting up\n",
	} {
		f.Add(s, 7)
	}
	f.Fuzz(func(t *testing.T, log string, piece int) {
		count := func(piece int) (last string) {
			c := newPackageCounter(func(state string, done, total int) {
				if last = PackagesText(state, done, total); done < 0 || done > total || total < 1 {
					t.Errorf("%q: %s", log, last)
				}
			})
			for rest := log; rest != ""; {
				n := min(piece, len(rest))
				if got, err := c.Write([]byte(rest[:n])); got != n || err != nil {
					t.Fatalf("wrote %d of %d, %v", got, n, err)
				}
				rest = rest[n:]
				if len(c.line) > maxCountedLine+piece {
					t.Fatalf("%d bytes of a line are kept", len(c.line))
				}
			}
			return last
		}
		whole := count(max(len(log), 1))
		if len(log) < maxCountedLine {
			if got := count(min(max(piece, 1), 4096)); got != whole {
				t.Errorf("%q: %q, and in pieces of %d %q", log, whole, piece, got)
			}
		}
	})
}

// FuzzInstall: a unit file's links are below the directory of units, and lead to it.
func FuzzInstall(f *testing.F) {
	for _, s := range []string{"[Unit]\nDescription=a\n[Service]\nExecStart=-/usr/bin/a --b\n[Install]\nWantedBy=multi-user.target\n", "[Install]\nWantedBy=a.target b.target\nRequiredBy = c.target\n#UpheldBy=d\n", "[Install]\nWantedBy=../../../../etc/cron.d/a\n", "[Install]\nWantedBy=/a\n", "ExecStart=\n", "[Install]\nWantedBy=a\x00b\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, link := range enableLinks(unitDir, "a.service", text) {
			if !filepath.IsLocal(link.Path) || !strings.HasPrefix(link.Path, unitDir+"/") || path.Base(link.Path) != "a.service" || link.Link != "/"+unitDir+"/a.service" {
				t.Errorf("%q has the link %+v", text, link)
			}
		}
	})
}

// FuzzEngine: whatever a unit, its drop-in and its variables are, the command line of the engine
// is bounded, and without variables it has no more than the unit.
func FuzzEngine(f *testing.F) {
	for _, s := range [][3]string{
		{engineUnit, "", "DOCKER_OPTS=\"--debug --mtu 1400\"\n"},
		{engineUnit, "[Service]\nEnvironment=\"A=1 2\" B='x'\nExecStart=\nExecStart=-/usr/sbin/dockerd --label ${A}${B} $$ $A $NONE ${\n", "# A=1\n;B=2\nA=\nA\n=B\n"},
		{engineUnit, "[Service]\nExecStart=:@/usr/sbin/dockerd dockerd $A '$B\n[Unit]\nExecStart=/bin/a\n", "A='a \"b c\" d'\n"},
		{engineUnit, "[Service]\nExecStart=\nExecStart=/usr/sbin/dockerd " + strings.Repeat("$A \\\n", 2000) + "\n", "A=" + strings.Repeat("b ", 2000)},
		{engineUnit, "[Service]\nExecStart=\nExecStart=/usr/sbin/dockerd '" + strings.Repeat("${A}${A\\\n", 2000) + "'\n", "A=" + strings.Repeat("b", 2000)},
		{engineUnit, "[Service\nExecStart=\n", "\xff\x00"},
		{"[Service]\nExecStart=''\n" + strings.Repeat("EnvironmentFile=-/etc/default/docker\n", 50), "", strings.Repeat("A=b\n", 10_000)},
	} {
		f.Add(s[0], s[1], s[2])
	}
	root := f.TempDir()
	f.Fuzz(func(t *testing.T, unit, more, env string) {
		if len(unit)+len(more)+len(env) > 256<<10 {
			t.Skip("the limits of files have a test")
		}
		file := func(name, text string) overlay.File { return overlay.File{Path: name, Data: []byte(text)} }
		files := []overlay.File{file(unitDir+"/docker.service", unit), file("etc/default/docker", env), file(unitDir+"/docker.service.d/x.conf", more)}
		argv, err := merged{root: root, overlay: files}.engine()
		if err != nil {
			if fault.Of(err) != fault.Invalid || argv != nil {
				t.Errorf("want no words and the kind of a fault in the recipe, got %q, %v", argv, err)
			}
			return
		}
		size := len(strings.Join(argv, ""))
		if len(argv) > 1<<16 || size > 2<<20 || len(argv) > 0 && path.Base(argv[0]) != "dockerd" {
			t.Errorf("%d words of %d bytes, of %.100q", len(argv), size, argv)
		}
		if !strings.Contains(unit+more, "$") && size > len(unit+more) {
			t.Errorf("%q and %q have no variables, and give %q", unit, more, argv)
		}
		again, err := merged{root: root, overlay: append(files, file(unitDir+"/docker.service.d/y.conf", "[Service]\n# ExecStart=\n[Unit]\nExecStart=/bin/a\n"))}.engine()
		if err != nil || !slices.Equal(again, argv) {
			t.Errorf("with a drop-in that sets nothing %q is %q, %v", argv, again, err)
		}
	})
}

// FuzzWords: what a program said is shown in part, and the parts are its own lines.
func FuzzWords(f *testing.F) {
	for _, s := range []string{"E: Unable to locate package nosuch\nE: mmdebstrap failed to run\n", "Status: the following directives don't match any configuration option: log-opt, Code: 125\n", "unable to configure the Docker daemon with file /run/daemon.json: x\nSee 'dockerd --help'.\n", "\n\n", "\xff\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, log string) {
		if got := pick(log, "Unable to locate"); strings.Count(got, "\n") > 4 || len(got) > len(log) {
			t.Errorf("%q is %q", log, got)
		}
		if got := complaint(log); strings.Contains(got, "\n") || len(got) > len(log) {
			t.Errorf("%q complains %q", log, got)
		}
		if got := lastLines(log, 5); strings.Count(got, "\n") > 4 || !strings.Contains(log, got) {
			t.Errorf("%q ends with %q", log, got)
		}
	})
}

func TestOutputOfProgramsTakesTimeThatGrowsWithItsLength(t *testing.T) {
	fuzztest.Long(t, "0 upgraded, 2 newly installed\n", func(text string) {
		_, _ = newPackageCounter(func(string, int, int) {}).Write([]byte(text)) // never fails
		pick(text, "x")
		complaint(text)
		enableLinks(unitDir, "a", []byte(text))
	}, "Unpacking a\n", "Setting up b c\n", "E: x\n", "[Install]\n", "WantedBy=a b\n")
}
