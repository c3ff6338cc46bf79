package vzdump_test

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/internal/vzdump"
)

// outcome is all that a reader says of an archive.
type outcome struct {
	Members []vzdump.Entry
	Content []string
	Err     string
	Facts   vzdump.Facts
}

func outcomeOf(t *testing.T, open func(io.Reader, vzdump.Limits) (*vzdump.Reader, error), data []byte) outcome {
	t.Helper()
	var o outcome
	r, err := open(bytes.NewReader(data), vzdump.Limits{})
	if err != nil {
		return outcome{Err: err.Error()}
	}
	defer r.Close()
	for {
		e, err := r.Next()
		if err == nil {
			var content []byte
			content, err = io.ReadAll(r)
			o.Members, o.Content = append(o.Members, *e), append(o.Content, string(content))
		}
		if err != nil {
			o.Err, o.Facts = err.Error(), r.Facts()
			if o.Err != io.EOF.Error() {
				// How far the decoder is when a member is refused is not of the archive.
				o.Facts.Packed, o.Facts.Unpacked = 0, 0
				o.Facts.Frames, o.Facts.FrameCount, o.Facts.NoChecksum, o.Facts.Skippable, o.Facts.Window = nil, 0, 0, 0, 0
			}
			return o
		}
	}
}

// A decoder in a goroutine of its own gives the same members, facts and errors, of
// an archive that is whole, cut anywhere, or changed anywhere.
func TestAheadReadsTheSame(t *testing.T) {
	var b bytes.Buffer
	frame, err := vzdump.NewFrame(&b, vzdump.Fast, day, vzdump.NewMembers())
	must(t, err)
	must(t, frame.AddConfig([]byte("arch: amd64\n")))
	root, f := entry(".", vzdump.Dir), entry("f", vzdump.File)
	f.Size = 700 << 10
	must(t, frame.Add(&root, nil))
	must(t, frame.Add(&f, newText()))
	must(t, frame.Finish())
	whole := b.Bytes()
	check := func(name string, data []byte) {
		t.Helper()
		if diff := cmp.Diff(outcomeOf(t, vzdump.NewReader, data), outcomeOf(t, vzdump.NewAheadReader, data)); diff != "" {
			t.Errorf("%s: -plain +ahead:\n%.1000s", name, diff)
		}
	}
	check("whole", whole)
	check("empty", nil)
	for i := 1; i < 40; i++ {
		at := len(whole) * i / 40
		check("cut", whole[:at])
		changed := bytes.Clone(whole)
		changed[at] ^= 0x10
		check("changed", changed)
	}
}

// silent gives its data and then nothing until it is released.
type silent struct {
	data    []byte
	reads   atomic.Int32
	waits   chan struct{} // closed when a Read waits
	release chan struct{}
}

func (s *silent) Read(p []byte) (int, error) {
	if s.reads.Add(1) == 1 {
		return copy(p, s.data), nil
	}
	close(s.waits) // a third Read panics
	<-s.release
	return copy(p, s.data[:5]), nil // less than the decoder asks for
}

// Close does not wait for a source that stays silent, and reads nothing of it afterwards.
func TestAheadCloseDoesNotWaitForTheSource(t *testing.T) { synctest.Test(t, closeWhileTheSourceWaits) }

func closeWhileTheSourceWaits(t *testing.T) {
	var b bytes.Buffer
	frame, err := vzdump.NewFrame(&b, vzdump.Fast, day, vzdump.NewMembers())
	must(t, err)
	noise := make([]byte, 1<<10)
	_, err = rand.Read(noise)
	must(t, err)
	// The reader looks at a block before it returns: the frame is longer than that, packed as well.
	must(t, frame.AddConfig([]byte("arch: amd64\n#"+hex.EncodeToString(noise)+"\n")))
	must(t, frame.Close()) // more is to come
	source := &silent{data: b.Bytes(), waits: make(chan struct{}), release: make(chan struct{})}
	r, err := vzdump.NewAheadReader(source, vzdump.Limits{})
	must(t, err)
	if e, err := r.Next(); err != nil || e.Path != vzdump.ConfigPath {
		t.Fatalf("want the configuration, got %+v, %v", e, err)
	}
	<-source.waits
	r.Close()
	close(source.release)
	synctest.Wait()
	if n := source.reads.Load(); n != 2 {
		t.Errorf("want two Reads of the source, got %d", n)
	}
}
