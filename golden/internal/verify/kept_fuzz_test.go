package verify

import (
	"bytes"
	"crypto/sha256"
	"encoding/gob"
	"reflect"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// FuzzKept: what an earlier run kept is used for what it was kept for, or not at all.
func FuzzKept(f *testing.F) {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		f.Fatal(err)
	}
	want := keptFor{BuildNames: []string{"build.example"}}
	for _, k := range []kept{{For: want, Secrets: []secret{{}}, Binaries: []binary{{}}}, {}, {For: keptFor{BuildNames: []string{"other"}}}} {
		var b bytes.Buffer
		if err := gob.NewEncoder(&b).Encode(k); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add([]byte(strings.Repeat("\x00", 100)))
	f.Add([]byte("\xf8\x7f\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, content []byte) {
		packed := z.EncodeAll(content, nil)
		sum := sha256.Sum256(packed)
		data := append(sum[:], packed...)
		k := parseKept(data, want)
		if k != nil && !reflect.DeepEqual(k.For, want) {
			t.Errorf("%q is used, and is for %+v", content, k.For)
		}
		data[len(data)-1] ^= 1
		if parseKept(data, want) != nil {
			t.Errorf("%q is used after damage", content)
		}
	})
}
