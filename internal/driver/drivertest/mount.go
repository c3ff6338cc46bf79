package drivertest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/felhom/felhom-golden/internal/driver"
)

// checkMount says what is wrong with a mount: what any hypervisor refuses.
func checkMount(m driver.Mount) error {
	for _, path := range []string{m.Source, m.Target} {
		if !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/" || strings.ContainsAny(path, ",\n\r\x00") {
			return fmt.Errorf("%q is no plain absolute path", path)
		}
	}
	real, err := filepath.EvalSymlinks(m.Source)
	if err != nil {
		return err
	}
	info, err := os.Stat(real)
	switch {
	case err != nil:
		return err
	case real != m.Source:
		return fmt.Errorf("%s leads through a symbolic link to %s", m.Source, real)
	case !info.IsDir():
		return fmt.Errorf("%s is no folder", m.Source)
	}
	return nil
}
