package watch

import "testing"

// FuzzEvents: the kernel's events are read to the end, and one of a name that is watched
// is never missed.
func FuzzEvents(f *testing.F) {
	name := append([]byte{1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0}, "bootstrap.json\x00\x00"...)
	other := append([]byte{1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0}, "other.json\x00\x00\x00\x00\x00\x00"...)
	f.Add(name)
	f.Add(other)
	f.Add(append(append([]byte{}, other...), 1, 2, 3))
	f.Add([]byte{1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{})
	w := &Watcher{names: []string{"bootstrap.json"}}
	f.Fuzz(func(t *testing.T, before []byte) {
		w.concerns(before)
		isWhole := true
		for rest := before; len(rest) > 0 && isWhole; {
			isWhole = len(rest) >= 16 && uint64(parse(rest).length) <= uint64(len(rest)-16)
			if isWhole {
				rest = rest[16+int(parse(rest).length):]
			}
		}
		if all := append(append([]byte{}, before...), name...); isWhole && !w.concerns(all) {
			t.Errorf("%x hides a change of bootstrap.json after it", before)
		}
	})
}
