package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"
	"golang.org/x/time/rate"

	"github.com/felhom/felhom-golden/agentd/internal/api"
	"github.com/felhom/felhom-golden/agentd/internal/audit"
	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/registryproxy"
	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/command"
	"github.com/felhom/felhom-golden/internal/fault"
)

// auditPatience is how long a command waits for the audit log.
const auditPatience = 10 * time.Second

func auditDir(cfg config.Config) string { return filepath.Join(cfg.StateDir, "audit") }

var auditKinds = map[guests.ChangeKind]audit.Kind{
	guests.TokenMinted: audit.TokenMinted, guests.TokensRevoked: audit.TokenRevoked,
	guests.RecordRestored: audit.MintUndone, guests.RecordRemoved: audit.GuestRemoved,
}

// auditChanges returns the function that writes each change of a command into
// the audit log.
func auditChanges(cfg config.Config) func(guests.Change) error {
	return func(c guests.Change) (err error) {
		log, err := audit.Open(auditDir(cfg), time.Now)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, log.Close()) }()
		ctx, cancel := context.WithTimeout(context.Background(), auditPatience) // an undo is noted after a signal as well
		defer cancel()
		return log.Add(ctx, audit.Event{Kind: auditKinds[c.Kind], Guest: c.VMID, Token: c.Digest, By: os.Getenv("SUDO_USER")})
	}
}

// sweepAudit removes the temporary files that killed commands left beside the audit log.
// It ignores errors: the next command tries again.
func sweepAudit(cfg config.Config) {
	entries, err := os.ReadDir(auditDir(cfg))
	if err != nil || !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return atomicfile.Target(e.Name()) != "" }) {
		return
	}
	log, err := audit.Open(auditDir(cfg), time.Now)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = log.Sweep(ctx)
	_ = log.Close()
}

// trail writes the daemon's events into the audit log.
type trail struct {
	log   *audit.Log
	queue *audit.Queue

	isStarted bool

	now     func() time.Time
	mu      sync.Mutex
	limits  lineLimits[trailKey]
	skipped map[trailKey]skipped
}

// skipped is what had no line of its own.
type skipped struct {
	lines int
	bytes int64 // of pulls
}

type trailKey struct {
	kind  audit.Kind
	guest int
}

// lineLimits has the limiter of each key: some lines at once, and then one a
// minute. It is guarded by its owner's lock.
type lineLimits[K comparable] map[K]*rate.Limiter

func (l lineLimits[K]) allow(key K, burst int, now time.Time) bool {
	if l[key] == nil {
		l[key] = rate.NewLimiter(rate.Every(time.Minute), burst)
	}
	return l[key].AllowN(now, 1)
}

// A guest gets trailBurst lines of one kind and then one a minute, and so do all
// clients without a valid token together: an attacker could otherwise fill the
// log until the lines about it are removed.
const trailBurst = 5

// A guest gets pullBurst lines of pulls: an image with all its layers.
const pullBurst = 150

func openTrail(cfg config.Config, logger *logrus.Logger, counts *counts) (*trail, error) {
	log, err := audit.Open(auditDir(cfg), time.Now)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), auditPatience)
	defer cancel()
	if err := log.Sweep(ctx); err != nil { // which does not keep it from serving
		logger.WithError(err).Warn("files of killed commands stay")
	}
	return newTrail(log, audit.NewQueue(log, func(err error) { counts.AuditFailed(); logger.WithError(err).Error("audit log failed") })), nil
}

func newTrail(log *audit.Log, queue *audit.Queue) *trail {
	return &trail{log: log, queue: queue, now: time.Now, limits: lineLimits[trailKey]{}, skipped: map[trailKey]skipped{}}
}

// started notes that the daemon serves. One that could not is not noted: a unit
// would try again without end.
func (t *trail) started() {
	t.isStarted = true
	t.queue.Add(audit.Event{Kind: audit.Started, Detail: version})
}

func (t *trail) close() error {
	if t.isStarted {
		t.queue.Add(audit.Event{Kind: audit.Stopped})
	}
	t.queue.Close()
	return t.log.Close()
}

func (t *trail) add(e api.Event) {
	out := audit.Event{Guest: e.VMID, Token: e.Digest}
	if e.Source.IsValid() {
		out.Source = e.Source.String()
	}
	switch e.Kind {
	case api.TokenFirstUsed:
		out.Kind = audit.TokenFirstUsed
	case api.TokenRefused:
		out.Kind = audit.TokenRefused
	case api.EndedTokenUsed:
		out.Kind, out.Detail = audit.EndedTokenUsed, e.Err.Error()
	case api.OtherGuestDenied:
		out.Kind = audit.OtherGuestDenied
	case api.ElsewhereDenied:
		out.Kind, out.Detail = audit.ElsewhereDenied, e.Err.Error()
	default:
		return
	}
	t.put(out, trailBurst)
}

// pulled notes an answer of the registry proxy.
func (t *trail) pulled(p registryproxy.Pull) {
	out := audit.Event{Kind: audit.Pulled, Guest: p.VMID, Pull: &audit.Pull{
		Repository: p.Repository, Reference: p.Reference, Digest: p.Digest,
		Bytes: p.Bytes, Status: p.Status, DurationMS: p.Duration.Milliseconds(), IsCached: p.IsCached,
	}}
	if p.Err != nil {
		out.Detail = "ended early: " + logged(p.Err.Error())
	}
	t.put(out, pullBurst)
}

// put adds a line within the limit that its guest has for such lines.
func (t *trail) put(out audit.Event, burst int) {
	key := trailKey{out.Kind, out.Guest}
	t.mu.Lock()
	defer t.mu.Unlock()
	more := t.skipped[key]
	skip := func() {
		more.lines++
		if out.Pull != nil {
			more.bytes += out.Bytes
		}
		t.skipped[key] = more
	}
	if !t.limits.allow(key, burst, t.now()) {
		skip()
		return
	}
	if more.lines > 0 {
		note := fmt.Sprintf("%d more since the line before", more.lines)
		if more.bytes > 0 {
			note += fmt.Sprintf(", %d bytes", more.bytes)
		}
		out.Detail = strings.TrimPrefix(out.Detail+"; "+note, "; ")
	}
	if out.Kind == audit.Pulled && !t.queue.AddMinor(out) {
		skip()
		return
	}
	if out.Kind != audit.Pulled {
		t.queue.Add(out)
	}
	delete(t.skipped, key)
}

func auditCommand(stdout io.Writer) *cli.Command {
	return &cli.Command{
		Name: "audit", Usage: "Check the log of tokens and pulls",
		Subcommands: []*cli.Command{{
			Name: "verify", Usage: "Report whether the audit log is what was written",
			Description: `Each line has the SHA-256 of the line before it. Keep the last one, which is
printed, on another machine to notice that the whole log was replaced.

Example:
   felhom-agentd audit verify`,
			Flags: []cli.Flag{jsonFlag()},
			Action: func(c *cli.Context) error {
				cfg, err := loadConfig(c.String("config"))
				if err != nil {
					return err
				}
				return auditVerify(c.Context, cfg, c.Bool("json"), stdout)
			},
		}},
	}
}

func auditVerify(ctx context.Context, cfg config.Config, asJSON bool, stdout io.Writer) error {
	if err := command.RequireRoot("audit verify"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, auditPatience)
	defer cancel()
	report, err := audit.Verify(ctx, auditDir(cfg))
	if errors.Is(err, os.ErrNotExist) {
		return fault.WrapHint(fault.NotFound, err, "no command or daemon has written to it yet; state_dir in the configuration says where it is")
	}
	if err != nil {
		return err
	}
	if len(report.Findings) > 0 {
		return fault.WrapHint(fault.Mismatch, fmt.Errorf("audit log in %s: %s", auditDir(cfg), strings.Join(report.Findings, "\n")),
			"compare it with a backup; lines after the first finding may be right")
	}
	if asJSON {
		return printJSON(stdout, report)
	}
	_, err = fmt.Fprintf(stdout, "%d lines, %d to %d, are what was written\nlast line: sha256 %s\n", report.Lines, report.First, report.Last, report.SHA256)
	return err
}
