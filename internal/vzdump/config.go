package vzdump

import (
	"errors"
	"io"

	"github.com/felhom/felhom-golden/internal/fault"
)

// MaxConfig is the largest pct.conf that is read, in bytes. Real ones have less
// than a kilobyte.
const MaxConfig = 1 << 20

// ReadConfig returns the guest's configuration from the archive r. It reads no
// further than that member, so it does not notice what is wrong after it. An
// archive without a configuration, or with one that exceeds [MaxConfig], is
// refused. The caller keeps r, and ends the reading by an error of r.
func ReadConfig(r io.Reader) (_ []byte, err error) {
	ar, err := NewReader(r, Limits{})
	if err != nil {
		return nil, err
	}
	defer ar.Close()
	for {
		e, err := ar.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil, fault.WrapHint(fault.Invalid, refuse(ErrNoConfig, "", "want ./%s, got none", ConfigPath), "is it the archive of a container?")
		case err != nil:
			return nil, err
		case e.Path != ConfigPath:
			continue
		case e.Size > MaxConfig:
			return nil, refuse(ErrLimit, e.RawName, "it has %d bytes, which exceeds the limit of %d", e.Size, MaxConfig)
		}
		return io.ReadAll(ar)
	}
}
