package pctconf

import "strings"

// RootStorage returns the storage of the root file system, "" if the
// configuration does not name one.
func RootStorage(c *Config) string {
	value, _ := c.Get("rootfs")
	props, err := ParseProperties(value, "volume")
	if err != nil {
		return ""
	}
	storage, _, ok := strings.Cut(props["volume"], ":")
	if !ok {
		return ""
	}
	return storage
}
