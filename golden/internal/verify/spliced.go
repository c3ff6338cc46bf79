package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/gob"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/felhom/felhom-golden/golden/internal/image"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// Splice says from where on an archive may have the frames of an earlier one.
type Splice struct {
	Seam    int64  // bytes of the archive before these frames
	Program string // names the program that checks: what others kept is not used
	Kept    []byte // what [Spliced] returned for an archive; nil for none
}

// kept is what a check found in the last frames of an archive.
type kept struct {
	For      keptFor
	Tail     image.Tail
	Binaries []binary
	Secrets  []secret
	Names    []secret
}

// keptFor is what it depends on. One that differs in any of these is not used.
type keptFor struct {
	Frames     []byte // SHA-256
	Program    string
	BuildNames []string
}

// maxKept bounds what a splice takes in memory.
const maxKept = 256 << 20

// Spliced is [Archive] of the size bytes of r. It reads all of them for their digest.
// If what is behind the seam has the digest of the frames that splice.Kept was made
// for, it decodes only what is before: the report is the same. Otherwise it returns
// what to keep for the next archive, or nil if these frames cannot be reused.
func Spliced(ctx context.Context, r io.ReaderAt, size int64, name string, opts Options, splice Splice) (Report, []byte, error) {
	chosen, err := choose(&opts)
	if err != nil {
		return Report{}, nil, err
	}
	name = baseName(name)
	rest := io.NewSectionReader(r, splice.Seam, size-splice.Seam)
	whole, frames, err := bothSums(ctx, io.NewSectionReader(r, 0, size), rest)
	if err != nil {
		return Report{}, nil, fmt.Errorf("verify %s: %w", name, err)
	}
	want := keptFor{Frames: frames, Program: splice.Program, BuildNames: opts.BuildNames}
	if k := parseKept(splice.Kept, want); k != nil {
		s, err := rescan(ctx, io.NewSectionReader(r, 0, splice.Seam), name, opts, k)
		if err == nil {
			s.sha256 = hex.EncodeToString(whole)
			report, err := judge(s, opts, chosen)
			return report, nil, err
		}
		if err := context.Cause(ctx); err != nil {
			return Report{}, nil, fmt.Errorf("verify %s: %w", name, err)
		}
		// What is wrong with it shows when all of it is read.
	}
	s, err := scan(ctx, io.NewSectionReader(r, 0, size), name, opts, image.Options{Record: true})
	if err != nil {
		return Report{}, nil, fmt.Errorf("verify %s: %w", name, err)
	}
	if s.sha256 != hex.EncodeToString(whole) {
		return Report{}, nil, fmt.Errorf("verify %s: it changed while it was read", name)
	}
	report, err := judge(s, opts, chosen)
	if err != nil {
		return Report{}, nil, err
	}
	keep, err := s.keep(splice.Seam, want)
	return report, keep, err
}

// bothSums returns the SHA-256 of a and of b, which it reads at the same time.
func bothSums(ctx context.Context, a, b io.Reader) (sumA, sumB []byte, err error) {
	sum := func(r io.Reader) ([]byte, error) {
		h := sha256.New()
		_, err := io.CopyBuffer(struct{ io.Writer }{h}, vzdump.WithContext(ctx, r), make([]byte, 256<<10))
		return h.Sum(nil), err
	}
	done := make(chan error, 1)
	go func() {
		var err error
		sumB, err = sum(b)
		done <- err
	}()
	sumA, err = sum(a)
	return sumA, sumB, errors.Join(err, <-done)
}

// rescan is scan of an archive with the frames of k after front.
func rescan(ctx context.Context, front io.Reader, name string, opts Options, k *kept) (*subject, error) {
	s, err := scan(ctx, front, name, opts, image.Options{Tail: &k.Tail})
	if err != nil {
		return nil, err
	}
	s.binaries, s.secrets, s.names = append(s.binaries, k.Binaries...), append(s.secrets, k.Secrets...), append(s.names, k.Names...)
	return s, nil
}

// keep returns what s found behind the seam.
func (s *subject) keep(seam int64, of keptFor) ([]byte, error) {
	tail, before, ok := s.Tail(seam)
	if !ok {
		return nil, nil
	}
	behind := map[*image.Entry]bool{}
	for _, e := range s.Entries[before:] {
		behind[e] = true
	}
	k := kept{For: of, Tail: tail}
	k.Binaries = slices.DeleteFunc(slices.Clone(s.binaries), func(b binary) bool { return !behind[b.of] })
	k.Secrets = slices.DeleteFunc(slices.Clone(s.secrets), func(s secret) bool { return !behind[s.of] })
	k.Names = slices.DeleteFunc(slices.Clone(s.names), func(s secret) bool { return !behind[s.of] })
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	if err := errors.Join(gob.NewEncoder(z).Encode(k), z.Close()); err != nil {
		return nil, fmt.Errorf("keep what was found: %w", err)
	}
	sum := sha256.Sum256(b.Bytes())
	return append(sum[:], b.Bytes()...), nil
}

// parseKept returns what data holds, or nil if that is damaged or for anything but want.
func parseKept(data []byte, want keptFor) *kept {
	if len(data) < sha256.Size || sha256.Sum256(data[sha256.Size:]) != [sha256.Size]byte(data) {
		return nil
	}
	z, err := zstd.NewReader(bytes.NewReader(data[sha256.Size:]), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxKept))
	if err != nil {
		return nil
	}
	defer z.Close()
	var k kept
	if err := gob.NewDecoder(io.LimitReader(z, maxKept)).Decode(&k); err != nil {
		return nil
	}
	if len(k.For.BuildNames) == 0 {
		k.For.BuildNames = want.BuildNames[:0:0] // gob makes no difference between none and nil
	}
	if !reflect.DeepEqual(k.For, want) {
		return nil
	}
	return &k
}
