package watch

import "encoding/binary"

// event returns the part of a struct inotify_event that is used: the length of
// the name behind it (inotify(7): wd, mask, cookie, len, each of 32 bits).
type event struct{ length uint32 }

func parse(b []byte) event { return event{length: binary.NativeEndian.Uint32(b[12:])} }
