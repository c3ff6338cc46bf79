package bootstrap

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/regular"
	"github.com/felhom/felhom-golden/internal/termtext"
)

// MemoryFile is where a guest keeps, across runs and boots, which controller was
// ready last and which change was rolled back, below the root directory.
const MemoryFile = "/var/lib/felhom/last-good.json"

const (
	memoryVersion  = 1
	maxMemoryBytes = 64 << 10
	maxRefusalText = 600 // characters of the reason that is kept
	maxOldImages   = 8   // images that wait for their removal
)

// knownImage is an image that the controller was made from.
type knownImage struct {
	Ref string `json:"ref,omitempty"`
	ID  string `json:"id,omitempty"`
}

// refusal is a change that was rolled back.
type refusal struct {
	Input   string    `json:"input"` // digest of all that the run was made from
	Time    time.Time `json:"time"`
	Message string    `json:"message"`
	Hint    string    `json:"hint,omitempty"`
}

// memory is what one run leaves for the next. A zero memory knows nothing. It is
// written before what depends on it is done, so that a kill at any point loses
// no more than one try.
type memory struct {
	Version   int          `json:"version"`
	Container string       `json:"container,omitempty"` // ID of the one that was ready last
	Image     knownImage   `json:"image"`               // its image
	Settings  string       `json:"settings,omitempty"`  // SHA-256 of the controller.yaml that it had
	Before    knownImage   `json:"before"`              // the image that was in use before that one
	Old       []knownImage `json:"old,omitempty"`       // images to remove
	Refused   *refusal     `json:"refused,omitempty"`   // nil: the last change was not rolled back

	path string
}

// recall returns what the last run left. A file that is missing or damaged counts
// as none: the state of the containers is then all that is known.
func recall(path string) memory {
	m := memory{}
	data, err := regular.Read(path, maxMemoryBytes)
	if err != nil || json.Unmarshal(data, &m) != nil || m.Version != memoryVersion {
		m = memory{}
	}
	m.path = path
	return m
}

func (m *memory) save() error {
	m.Version = memoryVersion
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	err = inSwept(m.path, func(root *os.Root, name string) error {
		_, err := atomicfile.WriteIfChanged(root, name, append(data, '\n'), atomicfile.Attr{Mode: 0o600})
		return err
	})
	if err != nil {
		return fmt.Errorf("keep the last good state: %w", err)
	}
	return nil
}

// inSwept calls write with the directory of a file, which it makes if it is missing, and
// the file's name in it, once what killed writes of the file left is removed.
func inSwept(path string, write func(root *os.Root, name string) error) error {
	dir, name := filepath.Split(path)
	if err := atomicfile.MakeDirectory(dir, 0o755); err != nil {
		return err
	}
	return atomicfile.In(dir, func(root *os.Root) error {
		if err := atomicfile.Sweep(root, name); err != nil {
			return err
		}
		return write(root, name)
	})
}

// proven keeps that the container with that ID and image has become ready.
func (m *memory) proven(id string, img image) error {
	now := knownImage{img.Ref, img.ID}
	if m.Container == id && m.Image == now && m.Refused == nil {
		return nil
	}
	if m.Image.ID != now.ID {
		m.drop(m.Before)
		m.Before = m.Image
	}
	m.Container, m.Image, m.Refused = id, now, nil
	return m.save()
}

// refuse keeps that the change to input was rolled back. The image of a change
// that failed is removed later: a corrected one may have the same tag.
func (m *memory) refuse(input string, img image, message, hint string) error {
	m.Refused = &refusal{
		Input: input, Time: time.Now().UTC().Truncate(time.Second),
		Message: termtext.Line(message, maxRefusalText), Hint: termtext.Line(hint, maxRefusalText),
	}
	m.drop(knownImage{img.Ref, img.ID})
	return m.save()
}

func (m *memory) drop(img knownImage) {
	if img.ID == "" || slices.Contains(m.Old, img) {
		return
	}
	m.Old = append(m.Old, img)
	m.Old = m.Old[max(0, len(m.Old)-maxOldImages):]
}

// refuses returns why input is not tried again; nil if it is to be tried.
func (m *memory) refuses(input string) *refusal {
	if m.Container == "" || m.Refused == nil || m.Refused.Input != input {
		return nil
	}
	return m.Refused
}

// inputOf returns a digest of all files that decide what a run does. Each write
// by the host changes it, because each has another token.
func inputOf(o Options) string {
	sum := sha256.New()
	for _, path := range []string{
		filepath.Join(o.Mount, ConfigFile), filepath.Join(o.Mount, TemplateName), at(o.Root, TemplateFile), at(o.Root, SpecFile),
	} {
		data, err := regular.Read(path, max(maxTemplateBytes, contract.MaxBootstrapBytes))
		// The length keeps the files apart; -1 stands for one that cannot be read.
		size := len(data)
		if err != nil {
			size = -1
		}
		fmt.Fprintf(sum, "%d\n", size)
		sum.Write(data)
	}
	return hex.EncodeToString(sum.Sum(nil))
}
