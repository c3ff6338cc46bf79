package vzdump_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/felhom/felhom-golden/internal/vzdump"
)

// endlessZeros is an endless reader that counts.
type endlessZeros struct{ n int64 }

func (z *endlessZeros) Read(p []byte) (int, error) {
	clear(p)
	z.n += int64(len(p))
	if z.n > 64<<20 {
		return 0, errors.New("the zeros after the end marker are read without a limit")
	}
	return len(p), nil
}

// A file of holes costs nothing on disk, and terabytes of its zeros were read.
func TestZerosAfterTheEndMarkerAreBounded(t *testing.T) {
	end := func(r io.Reader) error {
		ar, err := vzdump.NewReader(r, vzdump.Limits{})
		must(t, err)
		defer ar.Close()
		for err == nil {
			_, err = ar.Next()
		}
		return err
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err := w.Write(append(makeTar(t, good()...), make([]byte, 2<<20)...))
	must(t, errors.Join(err, w.Close()))
	for name, r := range map[string]io.Reader{
		"without members": &endlessZeros{},
		"after members":   io.MultiReader(bytes.NewReader(makeTar(t, good()...)), &endlessZeros{}),
		"gzip":            &packed,
		"zstd":            bytes.NewReader(packZstd(t, append(makeTar(t, good()...), make([]byte, 2<<20)...))),
	} {
		if err := end(r); !errors.Is(err, vzdump.ErrLimit) {
			t.Errorf("%s: %v, want ErrLimit", name, err)
		}
	}
	// tar -b 2000 fills up to a record of 1,024,000 bytes.
	if err := end(bytes.NewReader(append(makeTar(t, good()...), make([]byte, 1000<<10)...))); !errors.Is(err, io.EOF) {
		t.Errorf("a record of tar -b 2000: %v, want the end", err)
	}
}
