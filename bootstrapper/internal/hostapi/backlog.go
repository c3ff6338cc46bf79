package hostapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/regular"
)

// BacklogFile holds the states that could not be delivered. It is below the
// root directory.
const BacklogFile = "/var/lib/felhom/undelivered-reports.json"

// maxBacklog bounds what is read of the file: two runs of eight steps.
const maxBacklog = 16

// backlogFile is the form of the file.
type backlogFile struct {
	Version int               `json:"version"`
	Reports []json.RawMessage `json:"reports"`
}

// readBacklog returns what an earlier process could not deliver. A file that
// cannot be read, or has another form, holds nothing: it must not stop a run.
func readBacklog(path string) (reports []contract.Report, exists bool) {
	if path == "" {
		return nil, false
	}
	data, err := regular.Read(path, maxBacklog*contract.MaxReportBytes)
	var file backlogFile
	if err != nil {
		return nil, !errors.Is(err, fs.ErrNotExist)
	}
	if json.Unmarshal(data, &file) != nil || file.Version != 1 || len(file.Reports) > maxBacklog {
		return nil, true
	}
	for _, raw := range file.Reports {
		if report, err := contract.ParseReport(raw); err == nil { // an invalid report must not lose the valid ones
			reports = append(reports, report)
		}
	}
	return reports, true
}

// writeBacklog replaces the file by one with these reports; if there are none,
// it removes the file.
func writeBacklog(path string, reports []contract.Report) (err error) {
	dir, name := filepath.Split(path)
	if len(reports) == 0 {
		// For good: reports that come back after later runs would count as those of a new run.
		err := atomicfile.In(filepath.Dir(path), func(root *os.Root) error { return atomicfile.Remove(root, name) })
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove delivered reports: %w", err)
		}
		return nil
	}
	file := backlogFile{Version: 1}
	for _, report := range reports {
		raw, err := json.Marshal(report)
		if err != nil {
			return fmt.Errorf("keep undelivered reports: %w", err)
		}
		file.Reports = append(file.Reports, raw)
	}
	data, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return fmt.Errorf("keep undelivered reports: %w", err)
	}
	if err := atomicfile.MakeDirectory(dir, 0o755); err != nil {
		return fmt.Errorf("keep undelivered reports: %w", err)
	}
	return atomicfile.In(dir, func(root *os.Root) error {
		return atomicfile.Write(root, name, append(data, '\n'), atomicfile.Attr{Mode: 0o600})
	})
}
