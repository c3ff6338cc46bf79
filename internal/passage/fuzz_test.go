package passage

import (
	"bytes"
	"testing"
)

func FuzzParse(f *testing.F) {
	f.Add(encode([]entry{{tagUserObj, all, undefined}, {tagUser, uint16(Walk), 100000}, {tagGroupObj, 0, undefined}, {tagMask, uint16(Walk), undefined}, {tagOther, 0, undefined}}))
	f.Add(encode(nil))
	f.Add([]byte("\x01\x00\x00\x00"))
	f.Add([]byte("\x02\x00\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := parse(data)
		if err == nil && !bytes.Equal(encode(entries), data) {
			t.Errorf("%x is read as %v, which is %x", data, entries, encode(entries))
		}
	})
}
