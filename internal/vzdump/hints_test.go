package vzdump_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

func TestRefusalsSayWhatToDo(t *testing.T) {
	whole := makeTar(t, good()...)
	for name, data := range map[string][]byte{
		"empty":        nil,
		"truncated":    whole[:len(whole)-1024],
		"corrupt":      []byte("no archive"),
		"lzo":          {0x89, 'L', 'Z', 'O', 0, 0, 0, 0},
		"absolute":     makeTar(t, file("/etc/passwd")),
		"two configs":  makeTar(t, file("./etc/vzdump/pct.conf"), file("./etc/vzdump/pct.conf")),
		"after it all": append(bytes.Clone(whole), make([]byte, 2<<20)...),
	} {
		ar, err := vzdump.NewReader(bytes.NewReader(data), vzdump.Limits{})
		for err == nil {
			_, err = ar.Next()
		}
		if errors.Is(err, io.EOF) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v has no hint", name, err)
		}
	}
}
