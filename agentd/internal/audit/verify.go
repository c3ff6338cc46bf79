package audit

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/felhom/felhom-golden/internal/filelock"
	"github.com/felhom/felhom-golden/internal/regular"
)

// Report is what Verify read.
type Report struct {
	Lines    int      `json:"lines"`
	First    uint64   `json:"first"` // number of the first line that is kept; 0: there is no line
	Last     uint64   `json:"last"`
	SHA256   string   `json:"sha256"`   // of the last line
	Findings []string `json:"findings"` // none: the log is whole
}

// maxFindings limits the findings of one log: after the first, others follow.
const maxFindings = 20

// Verify reads the log in dir and reports each place that differs from what was
// written. An error means that it could not be read. Processes that add wait
// meanwhile; ctx limits how long Verify waits for them.
func Verify(ctx context.Context, dir string) (_ Report, err error) {
	unlock, err := filelock.Wait(ctx, filepath.Join(dir, lockFile))
	if err != nil {
		return Report{}, fmt.Errorf("audit log: %w", err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Report{}, fmt.Errorf("audit log: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	at, err := readHead(root)
	if err != nil {
		return Report{}, fmt.Errorf("audit log: %w", err)
	}
	names, err := fullFiles(root)
	if err != nil {
		return Report{}, fmt.Errorf("audit log: %w", err)
	}
	v := verifier{head: at, before: start}
	for _, name := range append(names, currentFile) {
		if err := v.file(root, name); err != nil && (name != currentFile || !errors.Is(err, fs.ErrNotExist)) {
			return Report{}, fmt.Errorf("audit log: %w", err)
		}
	}
	v.finish()
	return v.report, nil
}

type verifier struct {
	report    Report
	head      head
	before    head   // the last line that was read
	removedTo uint64 // what the log itself says of removed files
	hasHead   bool   // the line of the head was read
}

func (v *verifier) find(format string, args ...any) {
	if len(v.report.Findings) < maxFindings {
		v.report.Findings = append(v.report.Findings, fmt.Sprintf(format, args...))
	}
}

func (v *verifier) file(root *os.Root, name string) error {
	f, err := regular.OpenIn(root, name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	lines := bufio.NewReaderSize(f, maxLineBytes)
	for n := 1; ; n++ {
		text, err := lines.ReadSlice('\n')
		place := fmt.Sprintf("%s:%d", name, n)
		if err != nil {
			if len(text) > 0 {
				v.find("%s: the line is incomplete or exceeds the limit of %d bytes", place, maxLineBytes)
			}
			return f.Close()
		}
		v.line(place, text[:len(text)-1])
	}
}

func (v *verifier) line(place string, text []byte) {
	var l line
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&l); err != nil {
		v.find("%s: not a line of an audit log: %v", place, err)
	}
	digest := sum(text)
	switch {
	case v.report.Lines == 0:
		v.report.First = l.Number
		if l.Number == 1 && l.Before != start.SHA256 {
			v.find("%s: the first line follows another one", place)
		}
	case l.Number != v.before.Number+1:
		v.find("%s: line %d follows line %d", place, l.Number, v.before.Number)
	case l.Before != v.before.SHA256:
		v.find("%s: line %d does not follow the line before it: one of the two was changed", place, l.Number)
	}
	if l.Number == v.head.Number {
		v.hasHead = true
		if digest != v.head.SHA256 {
			v.find("%s: line %d is not the one that was written", place, l.Number)
		}
	}
	if l.Kind == filesEnded {
		v.removedTo = l.RemovedTo
	}
	v.report.Lines++
	v.before = head{l.Number, digest}
}

func (v *verifier) finish() {
	v.report.Last, v.report.SHA256 = v.before.Number, v.before.SHA256
	if v.report.Lines > 0 && v.report.First > v.removedTo+1 {
		v.find("the lines before %d are missing, and the log itself removed those up to %d", v.report.First, v.removedTo)
	}
	if v.head.Number > 0 && !v.hasHead {
		v.find("the log ends with line %d; line %d was written", v.before.Number, v.head.Number)
	}
	if v.head.Number == 0 && v.report.Lines > 1 {
		v.find("%s is missing", headFile)
	}
}
