// Package verify judges an archive by the rules of golden/internal/rules. Call
// [Archive]; what is wrong is in its report, and in the report's Err. It
// reads the archive once, as a stream, keeps an index and the few small files
// that the rules look into, and trusts nothing: not the name, not the order,
// and not what stage, seal or pack did, none of which it imports. It changes
// nothing and opens no file.
package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/golden/internal/image"
	"github.com/felhom/felhom-golden/golden/internal/rules"
	"github.com/felhom/felhom-golden/internal/fault"
)

// Profile says what an archive must be good for.
type Profile string

const (
	// Golden applies all rules: an image that guests are made of.
	Golden Profile = "golden"
	// Restore applies the rules on what "pct restore" fails on or changes
	// silently; it suits any vzdump archive of a container.
	Restore Profile = "restore"
)

// Allow lists exceptions by path, without the first slash. An element may hold
// the wildcards of path.Match; a final slash means everything below a directory.
type Allow struct {
	SetID         []string
	WorldWritable []string
	Capabilities  []string
	Secrets       []string
	Dangling      []string // links to nothing
	Programs      []string // in /usr/bin and /usr/sbin, owned by no package
}

// Options choose what is checked. The zero value checks all as a golden image.
type Options struct {
	Profile Profile  // "" means Golden
	Enable  []string // only these rules; empty means all of the profile
	Skip    []string // all but these
	Strict  bool     // warnings count as errors
	Allow   Allow

	Hostnames  []string // as well as localhost and the hostname of pct.conf
	BuildNames []string // host names and paths of the build machine that must not occur
	SHA256     string   // of the archive, in hex; "" is not compared
	Epoch      time.Time

	// Budgets; 0 means no limit.
	MaxPacked   int64 // bytes
	MaxUnpacked int64 // bytes
	MaxEntries  int
}

// Finding is one thing that is wrong.
type Finding struct {
	Rule     string         `json:"rule"`
	Severity rules.Severity `json:"severity"`
	Path     string         `json:"path,omitempty"` // from "/", or "" for the archive as a whole
	Message  string         `json:"message"`        // want X, got Y, and where
	Hint     string         `json:"hint"`
}

// Report is the judgement.
type Report struct {
	Archive  string    `json:"archive"`
	Profile  Profile   `json:"profile"`
	SHA256   string    `json:"sha256"`
	Packed   int64     `json:"packed_bytes"`
	Unpacked int64     `json:"unpacked_bytes"`
	Entries  int       `json:"entries"`
	Rules    []string  `json:"rules"` // that were checked
	Findings []Finding `json:"findings"`
	Errors   int       `json:"errors"`
	Warnings int       `json:"warnings"`
	// More counts the findings of a rule that were left out, because a rule
	// lists at most 50.
	More map[string]int `json:"more,omitempty"`
}

// maxFindings is how many findings a rule lists. An archive where ten thousand
// files break one rule is told so in fifty lines.
const maxFindings = 50

// Err is nil when the archive passed; otherwise its kind is [fault.Invalid],
// or [fault.Mismatch] when the archive is not the one that was expected.
func (r Report) Err() error {
	if r.Errors == 0 {
		return nil
	}
	code := fault.Invalid
	if slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Rule == "archive-hash" }) {
		code = fault.Mismatch
	}
	return fault.WrapHint(code, fmt.Errorf("verify %s: %d error(s), %d warning(s)", r.Archive, r.Errors, r.Warnings),
		"felhom-golden verify --explain RULE shows why a rule exists; --skip RULE leaves one out")
}

// Archive reads one archive to its end and judges it. name is its file name;
// directories before it are ignored. The error is for what could not be read: an
// archive that is hostile, truncated or beyond the limits has class
// [fault.Invalid] and no report, wrong options have [fault.Misuse]. What an
// archive did wrong is in the report, and in its Err.
func Archive(ctx context.Context, r io.Reader, name string, opts Options) (Report, error) {
	chosen, err := choose(&opts)
	if err != nil {
		return Report{}, err
	}
	name = baseName(name)
	archive, err := scan(ctx, r, name, opts, image.Options{})
	if err != nil {
		return Report{}, fmt.Errorf("verify %s: %w", name, err)
	}
	return judge(archive, opts, chosen)
}

// baseName returns what is after the last slash.
func baseName(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// judge applies the rules to an archive that was read. The error is as that of [Archive].
func judge(archive *subject, opts Options, chosen []rules.Rule) (Report, error) {
	report := Report{
		Archive: archive.name, Profile: opts.Profile, SHA256: archive.sha256,
		Packed: archive.Facts.Packed, Unpacked: archive.Facts.Content, Entries: archive.Facts.Entries,
		Findings: []Finding{}, More: map[string]int{},
	}
	all := checks()
	for _, rule := range chosen {
		c := &check{subject: archive, opts: opts, rule: rule}
		c.checkPaths()
		if more := all[rule.ID]; more != nil {
			more(c)
		}
		report.add(rule, c, opts.Strict)
	}
	if err := archive.Units().Err(); err != nil {
		return Report{}, fmt.Errorf("verify %s: %w", archive.name, err)
	}
	return report, nil
}

func (r *Report) add(rule rules.Rule, c *check, strict bool) {
	r.Rules = append(r.Rules, rule.ID)
	if rule.Severity == rules.Error || strict {
		r.Errors += c.found
	} else {
		r.Warnings += c.found
	}
	c.trim()
	if over := c.found - len(c.findings); over > 0 {
		r.More[rule.ID] = over
	}
	r.Findings = append(r.Findings, c.findings...)
}

// choose gives the rules to check, in the order of the table, and fills in the profile.
func choose(opts *Options) ([]rules.Rule, error) {
	opts.Profile = cmp.Or(opts.Profile, Golden)
	if p := opts.Profile; p != Golden && p != Restore {
		return nil, fault.WrapHint(fault.Misuse, fmt.Errorf("verify: profile %q", p), "want \"golden\" or \"restore\"")
	}
	if len(opts.Enable) > 0 && len(opts.Skip) > 0 {
		return nil, fault.WrapHint(fault.Misuse, errors.New("verify: both rules to enable and rules to skip given"), "give one of the two")
	}
	for _, id := range slices.Concat(opts.Enable, opts.Skip) {
		if _, ok := rules.ByID(id); !ok {
			return nil, fault.WrapHint(fault.Misuse, fmt.Errorf("verify: unknown rule %q", id), "felhom-golden verify --list shows the rules")
		}
	}
	return slices.DeleteFunc(rules.All(), func(r rules.Rule) bool {
		if len(opts.Enable) > 0 {
			return !slices.Contains(opts.Enable, r.ID)
		}
		return slices.Contains(opts.Skip, r.ID) || opts.Profile == Restore && !r.Restore
	}), nil
}

// check is one rule at work on one archive.
type check struct {
	*subject
	opts     Options
	rule     rules.Rule
	findings []Finding // sorted and cut to maxFindings now and then
	found    int
}

// trim sorts the findings by path and keeps the first maxFindings.
func (c *check) trim() {
	slices.SortStableFunc(c.findings, func(a, b Finding) int { return strings.Compare(a.Path, b.Path) })
	if len(c.findings) > maxFindings {
		clear(c.findings[maxFindings:])
		c.findings = c.findings[:maxFindings]
	}
}

// fail adds a finding. path is without the first slash; "" is the archive.
func (c *check) fail(path, format string, args ...any) {
	if path != "" {
		path = "/" + strings.TrimPrefix(path, "/")
	}
	hint := "why: " + c.rule.Reason
	if c.rule.Seal != "" {
		hint = "felhom-golden seal --enable " + c.rule.ID + " " + c.rule.Seal
	}
	c.findings = append(c.findings, Finding{Rule: c.rule.ID, Severity: c.rule.Severity, Path: path, Message: fmt.Sprintf(format, args...), Hint: hint})
	if c.found++; len(c.findings) >= 8*maxFindings {
		c.trim()
	}
}
