package stage

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// packageCounter reads what apt and dpkg write while an engine works, and reports
// how many packages are done of all. An engine has them in two parts: first the
// essential ones, then those that were asked for with all that they need, so
// that the whole number is known in the second part only.
type packageCounter struct {
	report func(state string, done, total int)

	line     []byte // the begin of the current line
	parts    int    // lists of packages so far
	before   int    // packages in the parts before this one
	total    int    // packages in all parts so far
	fetching bool   // this part is being downloaded
	fetched  int    // packages of this part
	unpacked map[string]bool
	done     map[string]bool
}

func newPackageCounter(report func(state string, done, total int)) *packageCounter {
	return &packageCounter{report: report, unpacked: map[string]bool{}, done: map[string]bool{}}
}

// maxCountedLine is the most that is kept of a line; those that count are shorter.
const maxCountedLine = 4 << 10

// Write implements [io.Writer] and never fails. A nil counter drops b.
func (c *packageCounter) Write(b []byte) (int, error) {
	if c == nil || c.report == nil {
		return len(b), nil
	}
	for rest := b; len(rest) > 0; {
		part, after, ended := bytes.Cut(rest, []byte("\n"))
		if len(c.line) < maxCountedLine {
			c.line = append(c.line, part...)
		}
		if ended {
			c.read(strings.TrimSpace(string(c.line)))
			c.line = c.line[:0]
		}
		rest = after
	}
	return len(b), nil
}

// apt's list of what it will install, in its old and its new form.
var newPackages = regexp.MustCompile(`^(?:\d+ upgraded, (\d+) newly installed|(?:Upgrading: \d+, )?Installing: (\d+),)`)

func (c *packageCounter) read(line string) {
	if m := newPackages.FindStringSubmatch(line); m != nil {
		n, err := strconv.Atoi(m[1] + m[2])
		if err != nil || n == 0 || n > 1_000_000 {
			return
		}
		c.parts, c.before, c.fetching, c.fetched = c.parts+1, c.total, true, 0
		c.total += n
		c.show("downloaded", c.before)
		return
	}
	switch verb, rest, _ := strings.Cut(line, " "); {
	case c.parts == 0:
	case c.fetching && strings.HasPrefix(verb, "Get:"):
		c.fetched++
		c.show("downloaded", c.before+c.fetched)
	case strings.HasPrefix(line, "Unpacking "):
		c.fetching = false
		name, _, _ := strings.Cut(rest, " ")
		c.unpacked[name] = true
		c.show("unpacked", len(c.unpacked))
	case strings.HasPrefix(line, "Setting up "):
		name, _, _ := strings.Cut(strings.TrimPrefix(rest, "up "), " ")
		c.done[name] = true
		c.show("installed", len(c.done))
	}
}

// expect begins a part with n packages, which are here already.
func (c *packageCounter) expect(n int) {
	if c.report == nil {
		return
	}
	c.parts, c.before, c.fetching = c.parts+1, c.total, false
	c.total += n
	c.show("unpacked", len(c.unpacked))
}

// show reports no more than what is known: a package that is set up twice, or was
// not in a list, does not make it more than all.
func (c *packageCounter) show(state string, done int) {
	c.report(state, min(done, c.total), c.total)
}

// PackagesText words what [Hooks.Packages] is told.
func PackagesText(state string, done, total int) string {
	return fmt.Sprintf("%s %d of %d packages", state, done, total)
}
