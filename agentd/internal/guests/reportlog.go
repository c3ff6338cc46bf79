package guests

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/regular"
)

// logged is one line of a log of reports.
type logged struct {
	Number   uint64          `json:"number"` // rises over all lines of all logs
	VMID     int             `json:"vmid"`
	Record   string          `json:"record,omitempty"` // identity of the guest's record; "": it had none
	Received time.Time       `json:"received"`
	Report   contract.Report `json:"report"`
}

// reportLog is a file of acknowledged reports, to which lines are only added.
// Its name has the number that its first line has at least.
type reportLog struct {
	name string
	file *os.File
	size int64 // bytes that are certainly on disk
}

func logName(number uint64) string { return fmt.Sprintf("%020d.log", number) }

// openLog makes a new log. Its name is on disk when openLog returns.
func openLog(logs *os.Root, number uint64) (*reportLog, error) {
	name := logName(number)
	f, err := regular.OpenIn(logs, name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log of reports: %w", err)
	}
	if err := atomicfile.SyncDirectory(logs, ""); err != nil {
		return nil, errors.Join(fmt.Errorf("log of reports: %w", err), f.Close(), logs.Remove(name))
	}
	return &reportLog{name: name, file: f}, nil
}

// append writes lines to disk. After an error the log is as before: the next
// lines overwrite what is left of these.
func (l *reportLog) append(lines []byte) error {
	if l.size+int64(len(lines)) > maxLogBytes {
		return fmt.Errorf("%w: the log of reports has %d bytes", ErrBusy, l.size)
	}
	_, err := l.file.WriteAt(lines, l.size)
	if err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		// After a failed sync the kernel may have dropped the lines or kept them.
		return errors.Join(fmt.Errorf("log of reports: %w", err), l.file.Truncate(l.size))
	}
	l.size += int64(len(lines))
	return nil
}

// logNames returns the logs in the order of their lines, which is that of their names.
func logNames(logs *os.Root) ([]string, error) {
	entries, err := fs.ReadDir(logs.FS(), ".")
	if err != nil {
		return nil, fmt.Errorf("logs of reports: %w", err)
	}
	var names []string
	for _, entry := range entries {
		name := entry.Name()
		if number, err := strconv.ParseUint(strings.TrimSuffix(name, ".log"), 10, 64); err == nil && logName(number) == name {
			names = append(names, name)
		}
	}
	return names, nil
}

// parseLog returns the complete lines of data and how many bytes they are. A
// line that cannot be read was not acknowledged, or is damaged; those after it
// are read all the same.
func parseLog(data []byte) (lines []logged, size int64) {
	for text := range bytes.Lines(data) {
		if !bytes.HasSuffix(text, []byte("\n")) {
			break
		}
		size += int64(len(text))
		var line logged
		if json.Unmarshal(text, &line) == nil && line.VMID > 0 {
			lines = append(lines, line)
		}
	}
	return lines, size
}

// follower reads the logs of another process and remembers its position in
// each.
type follower struct {
	mu      sync.Mutex
	read    map[string]int64 // bytes of each log
	byGuest map[int][]logged
}

// lines returns the lines of guest vmid in all logs, by number.
func (f *follower) lines(logs *os.Root, vmid int) ([]logged, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	names, err := logNames(logs)
	if err != nil {
		return nil, err
	}
	for name := range f.read {
		if !slices.Contains(names, name) {
			f.read = nil // a checkpoint removed the log: its lines are in the files
			break
		}
	}
	if f.read == nil {
		f.read, f.byGuest = map[string]int64{}, map[int][]logged{}
	}
	for _, name := range names {
		added, size, err := readLog(logs, name, f.read[name])
		if err != nil {
			return nil, err
		}
		f.read[name] += size
		for _, line := range added {
			f.byGuest[line.VMID] = append(f.byGuest[line.VMID], line)
		}
	}
	return slices.Clone(f.byGuest[vmid]), nil
}

// readLog returns the complete lines of a log from an offset. A log that does
// not exist any more has none.
func readLog(logs *os.Root, name string, offset int64) (_ []logged, size int64, err error) {
	f, err := regular.OpenIn(logs, name, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("log of reports: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err := io.ReadAll(io.NewSectionReader(f, offset, maxLogBytes))
	if err != nil {
		return nil, 0, fmt.Errorf("log of reports: %w", err)
	}
	lines, size := parseLog(data)
	slices.SortStableFunc(lines, func(a, b logged) int { return cmp.Compare(a.Number, b.Number) })
	return lines, size, nil
}
