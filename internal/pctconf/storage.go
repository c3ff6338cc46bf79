package pctconf

import "strings"

// Root returns the properties of the root file system, nil if the configuration has
// none that can be read.
func Root(c *Config) Properties {
	value, _ := c.Get("rootfs")
	props, err := ParseProperties(value, "volume")
	if err != nil {
		return nil
	}
	return props
}

// RootStorage returns the storage of the root file system, "" if the
// configuration does not name one.
func RootStorage(c *Config) string {
	storage, _, ok := strings.Cut(Root(c)["volume"], ":")
	if !ok {
		return ""
	}
	return storage
}
