package sums_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/felhom/felhom-golden/golden/internal/sums"
)

// Contents of every length around a block's have the digests that sha256 gives
// for them at once, in the order of their ends.
func TestSumsAreThoseOfTheContents(t *testing.T) {
	const block = 256 << 10
	var want, got []string
	s := sums.New(sha256.New())
	for i, size := range []int{0, 1, block - 1, 0, block, block + 1, 4 * block, 9*block + 7, 3} {
		data := bytes.Repeat([]byte{byte(i + 1)}, size)
		sum := sha256.Sum256(data)
		want = append(want, hex.EncodeToString(sum[:]))
		rest := bytes.NewReader(data)
		if i%2 == 0 {
			rest.Reset(data[size/3:])
			data = data[:size/3]
		}
		for part := range slices.Chunk(data, 100_000) {
			if n, err := s.Write(part); n != len(part) || err != nil {
				t.Fatalf("write %d bytes: got %d, %v", len(part), n, err)
			}
		}
		if i%2 == 0 {
			if n, err := s.ReadFrom(iotest.DataErrReader(rest)); n != int64(size-size/3) || err != nil {
				t.Fatalf("read %d bytes: got %d, %v", size-size/3, n, err)
			}
		}
		s.End(func(sum []byte) { got = append(got, hex.EncodeToString(sum)) })
	}
	s.Close()
	if !slices.Equal(want, got) {
		t.Errorf("want %v, got %v", want, got)
	}
}

// What ends the reading ends nothing else.
func TestReadFromFails(t *testing.T) {
	s := sums.New(sha256.New())
	defer s.Close()
	if n, err := s.ReadFrom(io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(io.ErrUnexpectedEOF))); n != 3 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %d bytes, %v", n, err)
	}
}

// What was written since the last End counts for nothing.
func TestCloseWithoutEnd(t *testing.T) {
	s := sums.New(sha256.New())
	_, _ = s.Write([]byte("x"))
	s.Close()
}

func ExampleSummer() {
	s := sums.New(sha256.New())
	fmt.Fprint(s, "hello")
	var digest string
	s.End(func(sum []byte) { digest = hex.EncodeToString(sum) })
	s.Close()
	fmt.Println(digest[:8])
	// Output: 2cf24dba
}
