package bootstrap

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/bootstrapper/internal/settings"
	"github.com/felhom/felhom-golden/internal/atomicfile"
)

// goodSettingsFile is where a guest keeps controller.yaml as the controller had it
// that was ready last, below the root directory. What is the host's in it (token,
// address, pins) is left out: it is that of now when the file is put back.
const goodSettingsFile = "/var/lib/felhom/last-good-controller.yaml"

// goodSettings puts controller.yaml back as it was for the controller that was ready
// last. A nil goodSettings is of a controller without such a file, and does nothing.
type goodSettings struct {
	file, copy string // paths
	values     settings.Values
	memory     *memory
}

// mostPins is how many pins of one form a contract can have: of the key in use and of
// the next one.
const mostPins = 2

// hosts returns each value of the host with what stands for it in the copy, the
// longer before those that are a part of it. Where the host had more pins when the
// copy was made, its last pin stands for each of the others.
func (s *goodSettings) hosts() (pairs [][2]string) {
	add := func(value, name string) {
		if len(value) >= shortestScrubbed {
			pairs = append(pairs, [2]string{value, "{{felhom " + name + "}}"})
		}
	}
	addAll := func(pins []string, name string) {
		for i := range mostPins {
			if len(pins) > 0 {
				add(pins[min(i, len(pins)-1)], name+" "+strconv.Itoa(i))
			}
		}
	}
	add(s.values.Token, "token")
	if len(s.values.PinsSPKI) == 1 { // the text of all pins is that of the only one, which fits both places
		addAll(s.values.PinsSPKI, "spki")
		add(s.values.PinnedPubkey, "pins")
	} else {
		add(s.values.PinnedPubkey, "pins")
		addAll(s.values.PinsSPKI, "spki")
	}
	addAll(s.values.PinsLeaf, "leaf")
	add(s.values.Endpoint, "endpoint")
	return pairs
}

// mintedToken matches a token of felhom-agentd.
const mintedToken = `\bfgt_[0-9]+_[0-9A-Za-z]{49}\b`

// keep copies the settings of a controller that is ready.
func (s *goodSettings) keep() error {
	if s == nil {
		return nil
	}
	data, err := readSettings(s.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := os.Stat(s.file)
	if err != nil {
		return err
	}
	text := string(data)
	for _, p := range s.hosts() {
		text = strings.ReplaceAll(text, p[0], p[1])
	}
	if strings.Contains(text, "fgt_") { // of a mount before, in settings of a version that did not keep them
		text = regexp.MustCompile(mintedToken).ReplaceAllString(text, "{{felhom token}}")
	}
	if err := writePrivate(s.copy, []byte(text), info.ModTime()); err != nil {
		return fmt.Errorf("keep the last good settings: %w", err)
	}
	return s.note(data)
}

// note keeps which file is that of the controller that was ready last.
func (s *goodSettings) note(data []byte) error {
	sum := sha256.Sum256(data)
	if now := hex.EncodeToString(sum[:]); s.memory.Settings != now {
		s.memory.Settings = now
		return s.memory.save()
	}
	return nil
}

// good returns the file as it must be for the controller that was ready last, and
// when its settings were written; isTrial reports whether it is another one now.
func (s *goodSettings) good() (data []byte, written time.Time, isTrial bool, err error) {
	if s == nil {
		return nil, time.Time{}, false, nil
	}
	kept, err := readSettings(s.copy)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, time.Time{}, false, nil
	}
	var info fs.FileInfo
	if err == nil {
		info, err = os.Stat(s.copy)
	}
	if err != nil {
		return nil, time.Time{}, false, err
	}
	now, err := readSettings(s.file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, time.Time{}, false, err
	}
	sum := sha256.Sum256(now)
	text := string(kept)
	for _, p := range slices.Backward(s.hosts()) {
		text = strings.ReplaceAll(text, p[1], p[0])
	}
	isTrial = hex.EncodeToString(sum[:]) != s.memory.Settings && text != string(now)
	return []byte(text), info.ModTime(), isTrial, nil
}

// isTrial reports whether the settings are others than those of the controller that
// was ready last. What cannot be read is not.
func (s *goodSettings) isTrial() bool {
	_, _, isTrial, err := s.good()
	return err == nil && isTrial
}

// restore puts the settings of the controller that was ready last back. It returns
// when the ones that they replace were written; zero: they are in place already.
func (s *goodSettings) restore() (replaced time.Time, err error) {
	data, written, isTrial, err := s.good()
	if err != nil || !isTrial {
		return time.Time{}, err
	}
	if info, err := os.Stat(s.file); err == nil {
		replaced = info.ModTime()
	}
	// With its own time, so that it does not count as newer than the controller.
	if err := writePrivate(s.file, data, written); err != nil {
		return time.Time{}, fmt.Errorf("put the last good settings back: %w", err)
	}
	return replaced, s.note(data)
}

// writePrivate replaces a file unless it is the same, with that time of its content,
// and removes what a killed write left.
func writePrivate(path string, data []byte, written time.Time) error {
	return inSwept(path, func(root *os.Root, name string) error {
		if old, err := readSettings(path); err != nil || !bytes.Equal(old, data) {
			if err := atomicfile.Write(root, name, data, atomicfile.Attr{Mode: 0o600}); err != nil {
				return err
			}
		}
		return root.Chtimes(name, written, written)
	})
}
