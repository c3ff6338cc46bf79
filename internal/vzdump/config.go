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
// further than that member, so it does not find what is wrong after it. An
// archive without a configuration, or with one that exceeds [MaxConfig], is
// refused. The caller keeps r, and can end the reading by an error of r.
func ReadConfig(r io.Reader) ([]byte, error) {
	conf, _, err := readSettings(r, false)
	return conf, err
}

// ReadSettings is ReadConfig, and returns the guest's firewall rules as well if
// they are before the configuration or next to it, as in each archive that PVE
// made. Rules that exceed [MaxConfig] are refused.
func ReadSettings(r io.Reader) (conf, rules []byte, err error) { return readSettings(r, true) }

func readSettings(r io.Reader, wantsRules bool) (conf, rules []byte, err error) {
	ar, err := NewReader(r, Limits{})
	if err != nil {
		return nil, nil, err
	}
	defer ar.Close()
	for {
		e, err := ar.Next()
		switch {
		case errors.Is(err, io.EOF) && conf == nil:
			return nil, nil, fault.WrapHint(fault.Invalid, refuse(ErrNoConfig, "", "want ./%s, got none", ConfigPath), "is it the archive of a container?")
		case err != nil && conf != nil:
			return conf, rules, nil //nolint:nilerr // the end, or what is wrong after it
		case err != nil:
			return nil, nil, err
		}
		isConfig, isRules := e.Path == ConfigPath, wantsRules && e.Path == FirewallPath
		if isConfig || isRules {
			if e.Size > MaxConfig {
				what := "the firewall rules"
				if isConfig {
					what = "the configuration"
				}
				return nil, nil, refuse(ErrLimit, e.RawName, "the size of %s, %d bytes, exceeds the limit of %d", what, e.Size, MaxConfig)
			}
			data, err := io.ReadAll(ar)
			if err != nil {
				return nil, nil, err
			}
			if isConfig {
				conf = data // not nil, also if it is empty
			} else {
				rules = data
			}
		}
		if conf != nil && (!wantsRules || rules != nil || !isConfig) {
			return conf, rules, nil
		}
	}
}
