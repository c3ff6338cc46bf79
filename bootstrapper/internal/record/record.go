// Package record writes and reads the result file of a run, and has the lock
// that keeps two runs apart. A run calls [Lock] first and [Write] at its end;
// others call [Read]. The file is replaced as a whole, so that a reader always
// sees a run that ended. Its form is versioned and documented in
// docs/bootstrapper.md.
package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/regular"
)

// Version is the version of the form that this package writes. It reads version
// 1 as well, which has one try only and no start times of steps.
const Version = 2

// File is where the result of the last run is, below the root directory.
const File = "/var/lib/felhom/bootstrap-result.json"

// MaxBytes is the limit for reading the file, which has some kilobytes.
const MaxBytes = 1 << 20

// ErrNone is the error if no run has ended yet.
var ErrNone = errors.New("no run is recorded yet")

// Result is how a run ended.
type Result struct {
	Version   int       `json:"version"`
	Run       string    `json:"run"`
	Program   string    `json:"program"` // version of the bootstrapper
	Started   time.Time `json:"started"`
	Finished  time.Time `json:"finished"`
	ExitCode  int       `json:"exit_code"`
	Class     string    `json:"class"`             // docs/exit-codes.md
	Result    string    `json:"result"`            // unchanged, changed, repaired, degraded, failed: the weightiest of the steps
	Try       int       `json:"try,omitempty"`     // from 1, counted from the start of the program
	NextTry   time.Time `json:"next_try,omitzero"` // time of the program's next try; zero: there is none
	Message   string    `json:"message,omitempty"`
	Hint      string    `json:"hint,omitempty"`
	Image     string    `json:"image,omitempty"`
	ImageID   string    `json:"image_id,omitempty"`
	Container string    `json:"container,omitempty"`
	Kept      string    `json:"kept_image,omitempty"` // of the controller before, which is ready although this run failed
	Boot      *Boot     `json:"boot,omitempty"`
	Steps     []Step    `json:"steps"` // in the order in which they ended
}

// Boot says how long after the guest's start the run took place.
type Boot struct {
	RunMS    float64 `json:"run_ms"`              // from the guest's init to the start of the run
	EngineMS float64 `json:"engine_ms,omitempty"` // from the guest's init to that of dockerd; 0: not known
}

// Step is how a step of the run ended.
type Step struct {
	Step       string  `json:"step"`
	Result     string  `json:"result"`
	StartMS    float64 `json:"start_ms"` // from the start of the run
	DurationMS float64 `json:"duration_ms"`
	Message    string  `json:"message,omitempty"`
	Hint       string  `json:"hint,omitempty"`
}

// Write replaces the result at path, and makes its directory if it is missing.
func Write(path string, r Result) error {
	r.Version = Version
	data, err := Encode(r)
	if err != nil {
		return err
	}
	dir, name := filepath.Split(path)
	if err := atomicfile.MakeDirectory(dir, 0o755); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return atomicfile.In(dir, func(root *os.Root) error {
		return atomicfile.Write(root, name, data, atomicfile.Attr{Mode: 0o640})
	})
}

// Sweep removes what killed writes left in the directory of the result at path. Call
// it under the lock of [Lock].
func Sweep(path string) error {
	err := atomicfile.In(filepath.Dir(path), atomicfile.SweepAll)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("clear the directory of the result: %w", err)
	}
	return nil
}

// Encode returns the file's content.
func Encode(r Result) ([]byte, error) {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode result: %w", err)
	}
	return append(data, '\n'), nil
}

// Read returns the result at path; ErrNone if no run has ended yet.
func Read(path string) (Result, error) {
	// The path may be in a guest's root that the host looks into.
	data, err := regular.Read(path, MaxBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return Result{}, ErrNone
	}
	if err != nil {
		return Result{}, fmt.Errorf("read result: %w", err)
	}
	r, err := Decode(data)
	if err != nil {
		return Result{}, fmt.Errorf("read result %s: %w", path, err)
	}
	return r, nil
}

// Decode reads the file's content.
func Decode(data []byte) (Result, error) {
	var r Result
	if err := json.Unmarshal(data, &r); err != nil {
		return Result{}, err
	}
	switch r.Version {
	case Version:
	case 1:
		placeSteps(r.Steps)
	default:
		return Result{}, fmt.Errorf("want version %d or 1, got %d", Version, r.Version)
	}
	return r, nil
}

// placeSteps works out when the steps of a version 1 record began: one after the
// other, except that engine began together with channel.
func placeSteps(steps []Step) {
	end, last := 0.0, 0.0
	for i := range steps {
		begin := end
		if steps[i].Step == "engine" {
			begin = last
		}
		steps[i].StartMS = begin
		last, end = begin, min(max(end, begin+steps[i].DurationMS), math.MaxFloat64) // JSON has no greater number
	}
}
