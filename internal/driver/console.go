package driver

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/regular"
	"github.com/felhom/felhom-golden/internal/termtext"
)

// Limits of what is shown of a guest's console.
const (
	maxConsoleBytes = 16 << 10 // of the end of the file
	maxConsoleLines = 20
	maxConsoleRunes = 240 // of a line
)

// escapes are a terminal's control sequences: CSI, then OSC, DCS, SOS, PM and
// APC up to their end or that of the line, then the short ones.
var escapes = regexp.MustCompile(`\x1b\[[0-?]*[ -/]*[@-~]?|\x1b[\]PX^_][^\x07\x1b\n]*(\x07|\x1b\\)?|\x1b[ -/]*[0-~]?`)

// ConsoleLines returns the last lines of what a guest wrote to its console,
// oldest first and without empty ones. A guest may write anything: control
// sequences are removed, other bytes that are not text are escaped, and number
// and length of the lines are bounded.
func ConsoleLines(data []byte) []string {
	isCut := len(data) > maxConsoleBytes
	data = data[max(0, len(data)-maxConsoleBytes):]
	if isCut { // not from the middle of a line, unless there is only that one
		if _, rest, ok := bytes.Cut(data, []byte("\n")); ok && len(bytes.TrimSpace(rest)) > 0 {
			data = rest
		}
	}
	var lines []string
	for line := range strings.Lines(escapes.ReplaceAllString(string(data), "")) {
		// A progress display overwrites its line: the last text counts.
		line = strings.TrimRight(line, "\r\n \t")
		line = line[strings.LastIndexByte(line, '\r')+1:]
		if line = termtext.Line(line, maxConsoleRunes); line != "" {
			lines = append(lines, line)
		}
	}
	return lines[max(0, len(lines)-maxConsoleLines):]
}

// ReadConsole returns [ConsoleLines] of a file, which may be of any size. A
// missing file has no lines; anything but a regular file is an error. It
// follows no symbolic link.
func ReadConsole(path string) (_ []string, err error) {
	root, err := os.OpenRoot(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	f, err := regular.OpenIn(root, filepath.Base(path), unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	const limit = maxConsoleBytes + 1 // ConsoleLines sees that there is more
	data, err := io.ReadAll(io.NewSectionReader(f, max(0, info.Size()-limit), limit))
	if err != nil {
		return nil, err
	}
	return ConsoleLines(data), nil
}
