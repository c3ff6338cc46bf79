// Package audit writes and checks the log of changes to who may use the local
// API, and of attempts to use tokens that are not valid any more. Call [Open],
// then [Log.Add] for each event; [Verify] checks a log.
//
// The log is JSON, one event in a line. Each line has a number and the SHA-256 of
// the line before it, which reveals a changed, removed or inserted line; a head
// file has the number and SHA-256 of the last line, which reveals a removed end.
// A few full files are kept under other names. Root can replace log and head
// together: copy the head to another machine to notice that as well.
package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/filelock"
	"github.com/felhom/felhom-golden/internal/regular"
)

// Kind is what happened.
type Kind string

// The kinds of events.
const (
	TokenMinted      Kind = "token-minted"
	TokenRevoked     Kind = "token-revoked"
	MintUndone       Kind = "mint-undone" // the previous tokens are valid again
	TokenFirstUsed   Kind = "token-first-used"
	EndedTokenUsed   Kind = "ended-token-used" // a revoked or replaced one
	TokenRefused     Kind = "token-refused"
	OtherGuestDenied Kind = "other-guest-denied"
	ElsewhereDenied  Kind = "elsewhere-denied" // a valid token that did not come from its guest
	GuestRemoved     Kind = "guest-removed"
	GuestRolledBack  Kind = "guest-rolled-back" // these three end the guest's tokens
	GuestReplaced    Kind = "guest-replaced"
	GuestCopied      Kind = "guest-copied"
	Pulled           Kind = "image-pulled" // an answer of the registry proxy with content
	Started          Kind = "started"
	Stopped          Kind = "stopped"

	eventsLost Kind = "events-lost"   // the daemon had more than it could write
	repaired   Kind = "log-repaired"  // the end of a write that was interrupted was removed
	rotated    Kind = "log-rotated"   // this is the first line of a new file
	filesEnded Kind = "files-removed" // the oldest files were removed, up to line RemovedTo
)

// Event is one line of the log without its number and chain.
type Event struct {
	Kind   Kind   `json:"event"`
	Guest  int    `json:"guest,omitempty"`
	Source string `json:"source,omitempty"`       // address that a request came from
	Token  string `json:"token_sha256,omitempty"` // first 8 digits
	By     string `json:"by,omitempty"`           // the command
	Detail string `json:"detail,omitempty"`

	*Pull // of Pulled alone

	RemovedTo uint64 `json:"removed_to,omitempty"`
}

// Pull is an answer of the registry proxy.
type Pull struct {
	Repository string `json:"repository"` // with the registry's host
	Reference  string `json:"reference"`  // tag or digest, as the guest asked
	Digest     string `json:"digest"`
	Bytes      int64  `json:"bytes"`
	Status     int    `json:"status"`
	DurationMS int64  `json:"duration_ms"`
	IsCached   bool   `json:"cached"`
}

type line struct {
	Number uint64    `json:"number"`
	Time   time.Time `json:"time"`
	Event
	Before string `json:"sha256_before"` // of the line with the number before
}

const (
	currentFile = "audit.log"
	headFile    = "audit.head"
	lockFile    = "audit.lock"
	filePrefix  = "audit-"
	fileSuffix  = ".log"

	maxFileBytes = 4 << 20
	keptFiles    = 8
	maxLineBytes = 16 << 10
	maxText      = 512 // of each text of an event
)

// head is the last line that was written.
type head struct {
	Number uint64 `json:"number"`
	SHA256 string `json:"sha256"`
}

// start is the head of a log without lines.
var start = head{SHA256: strings.Repeat("0", 2*sha256.Size)}

// Log is an open log. Any number of processes may add to one.
type Log struct {
	dir     string
	root    *os.Root
	now     func() time.Time
	maxFile int64
}

// Open opens the log in dir, which it creates.
func Open(dir string, now func() time.Time) (*Log, error) {
	if err := atomicfile.MakeDirectory(dir, 0o700); err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	return &Log{dir: dir, root: root, now: now, maxFile: maxFileBytes}, nil
}

// Close closes the log. Add must not be called after it.
func (l *Log) Close() error { return l.root.Close() }

// Sweep removes the temporary files that killed processes left. It waits for those that add
// until ctx is done.
func (l *Log) Sweep(ctx context.Context) error {
	unlock, err := filelock.Wait(ctx, filepath.Join(l.dir, lockFile))
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	return errors.Join(atomicfile.SweepAll(l.root), unlock())
}

// Add appends events and returns once they are on disk. It waits for other
// processes that add until ctx is done.
func (l *Log) Add(ctx context.Context, events ...Event) (err error) {
	unlock, err := filelock.Wait(ctx, filepath.Join(l.dir, lockFile))
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := l.add(events); err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	return nil
}

func (l *Log) add(events []Event) (err error) {
	f, err := regular.OpenIn(l.root, currentFile, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	at, size, removed, err := l.end(f)
	if err != nil {
		return err
	}
	if removed > 0 {
		events = append([]Event{{Kind: repaired, Detail: fmt.Sprintf("%d bytes of an incomplete line", removed)}}, events...)
	}
	var tooOld []string
	if size >= l.maxFile {
		next, old, ended, err := l.rotate()
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return errors.Join(err, next.Close())
		}
		f, size, tooOld = next, 0, old // f is closed at the end
		first := []Event{{Kind: rotated}}
		if ended > 0 {
			first = append(first, Event{Kind: filesEnded, RemovedTo: ended})
		}
		events = append(first, events...)
	}
	var text bytes.Buffer
	for _, e := range events {
		e.Source, e.By, e.Detail = cut(e.Source), cut(e.By), cut(e.Detail)
		if e.Pull != nil {
			pull := *e.Pull
			pull.Repository, pull.Reference, pull.Digest = cut(pull.Repository), cut(pull.Reference), cut(pull.Digest)
			e.Pull = &pull
		}
		data, err := json.Marshal(line{at.Number + 1, l.now().UTC().Truncate(time.Millisecond), e, at.SHA256})
		if err != nil {
			return err
		}
		at = head{at.Number + 1, sum(data)}
		text.Write(append(data, '\n'))
	}
	if _, err := f.WriteAt(text.Bytes(), size); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	data, err := json.Marshal(at)
	if err != nil {
		return err
	}
	if err := atomicfile.Replace(l.root, headFile, append(data, '\n'), atomicfile.Attr{Mode: 0o600}); err != nil {
		return err
	}
	for _, name := range tooOld { // the log has a line about it by now
		if err := atomicfile.Remove(l.root, name); err != nil {
			return err
		}
	}
	return nil
}

// end returns the head that the next line follows, and the size of the complete
// lines. It removes the rest, which an interrupted write left.
func (l *Log) end(f *os.File) (at head, size, removed int64, err error) {
	at, err = readHead(l.root)
	if err != nil {
		return at, 0, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return at, 0, 0, err
	}
	tail := make([]byte, min(info.Size(), 2*maxLineBytes))
	if _, err := f.ReadAt(tail, info.Size()-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return at, 0, 0, err
	}
	complete := bytes.LastIndexByte(tail, '\n') + 1
	removed = int64(len(tail) - complete)
	size = info.Size() - removed
	if removed > 0 {
		if err := f.Truncate(size); err != nil {
			return at, 0, 0, err
		}
	}
	last := bytes.TrimSuffix(tail[:complete], []byte("\n"))
	last = last[bytes.LastIndexByte(last, '\n')+1:]
	var parsed line
	if len(last) > 0 && json.Unmarshal(last, &parsed) == nil && parsed.Number >= at.Number {
		at = head{parsed.Number, sum(last)} // the head was not written
	}
	return at, size, removed, nil
}

func readHead(root *os.Root) (head, error) {
	data, err := regular.ReadIn(root, headFile, maxLineBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return start, nil
	}
	if err != nil {
		return start, err
	}
	var at head
	if err := json.Unmarshal(data, &at); err != nil {
		return start, fmt.Errorf("%s: %w", headFile, err)
	}
	return at, nil
}

// rotate keeps the full file under another name. tooOld are the files to remove
// once the log has a line about it, and ended is the number of their last line.
func (l *Log) rotate() (next *os.File, tooOld []string, ended uint64, err error) {
	first, err := firstNumber(l.root, currentFile)
	if err != nil {
		return nil, nil, 0, err
	}
	if err := l.root.Rename(currentFile, fileName(first)); err != nil {
		return nil, nil, 0, err
	}
	names, err := fullFiles(l.root)
	if err != nil {
		return nil, nil, 0, err
	}
	if over := len(names) - keptFiles; over > 0 {
		tooOld = names[:over]
		if ended, err = firstNumber(l.root, names[over]); err != nil {
			return nil, nil, 0, err
		}
		ended--
	}
	next, err = regular.OpenIn(l.root, currentFile, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	return next, tooOld, ended, err
}

// firstNumber returns the number of the first line of a file.
func firstNumber(root *os.Root, name string) (uint64, error) {
	f, err := regular.OpenIn(root, name, os.O_RDONLY, 0)
	if err != nil {
		return 0, err
	}
	data := make([]byte, maxLineBytes)
	n, err := io.ReadFull(f, data)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return 0, err
	}
	text, _, _ := bytes.Cut(data[:n], []byte("\n"))
	var first line
	if err := json.Unmarshal(text, &first); err != nil {
		return 0, fmt.Errorf("%s: line 1: %w", name, err)
	}
	return first.Number, nil
}

func fileName(first uint64) string { return fmt.Sprintf("%s%020d%s", filePrefix, first, fileSuffix) }

// fullFiles returns the files that were kept, in the order of their lines.
func fullFiles(root *os.Root) ([]string, error) {
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		name := entry.Name()
		number, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimPrefix(name, filePrefix), fileSuffix), 10, 64)
		if err == nil && fileName(number) == name {
			names = append(names, name)
		}
	}
	return names, nil
}

func sum(data []byte) string {
	digest := sha256.Sum256(data)
	return hex.EncodeToString(digest[:])
}

func cut(s string) string {
	if len(s) > maxText {
		return strings.ToValidUTF8(s[:maxText], "")
	}
	return s
}
