package registryproxy_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/felhom/felhom-golden/agentd/internal/registryproxy"
)

// FuzzRecords: whatever comes from the network before TLS has looked at it, in whatever
// parts, arrives whole and in its order. A read waits or gives bytes, and one that is said not
// to wait gives bytes that have come.
func FuzzRecords(f *testing.F) {
	record := func(size, body int) []byte {
		return append([]byte{23, 3, 3, byte(size >> 8), byte(size)}, bytes.Repeat([]byte("x"), body)...)
	}
	f.Add(record(100, 100), uint16(5), uint16(100))
	f.Add(bytes.Repeat(record(3, 3), 40), uint16(5), uint16(60))
	f.Add(bytes.Repeat(record(0, 0), 40), uint16(5), uint16(7))
	f.Add(append(record(16<<10, 16<<10), record(65535, 70000)...), uint16(5), uint16(50000))
	f.Add(bytes.Repeat(record(65535, 65535), 3), uint16(4096), uint16(65535))
	f.Add(append(record(16640, 16640), record(16640, 20)...), uint16(16645), uint16(16645))
	f.Add([]byte("HTTP/1.0 400 Bad Request\r\n\r\n"), uint16(5), uint16(3))
	f.Add([]byte{23, 3}, uint16(1), uint16(1))
	f.Fuzz(func(t *testing.T, sent []byte, most, arrives uint16) {
		left := sent
		below := &parts{next: func(p []byte) (int, error) {
			if len(left) == 0 {
				return 0, io.EOF
			}
			n := copy(p[:min(len(p), 1+int(arrives))], left)
			left = left[n:]
			return n, nil
		}}
		c := registryproxy.NewRecords(below)
		p := make([]byte, 1+int(most))
		var got []byte
		for {
			before, isReady := below.reads, registryproxy.HasMore(c)
			n, err := c.Read(p)
			got = append(got, p[:n]...)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil || n == 0 {
				t.Fatalf("after %d bytes: %d bytes, %v", len(got), n, err)
			}
			if isReady && below.reads != before {
				t.Fatalf("after %d bytes a read that does not wait has read the network", len(got))
			}
		}
		if !bytes.Equal(got, sent) {
			t.Errorf("%d bytes have come, and %d others arrive", len(sent), len(got))
		}
	})
}
