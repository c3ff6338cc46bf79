package stage

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/felhom/felhom-golden/golden/internal/overlay"
	"github.com/felhom/felhom-golden/internal/regular"
)

// What a guest with DHCP needs beside the package's files: see dhcp/.
var (
	//go:embed dhcp/dhcpcd.conf
	dhcpSettings []byte
	//go:embed dhcp/enter-hook
	dhcpEnterHook []byte
	//go:embed dhcp/exit-hook
	dhcpExitHook []byte
	//go:embed dhcp/if-up
	dhcpIfUp []byte
)

// dhcpFiles returns the settings of dhcpcd, which extend the package's, and the
// hooks. It returns none where root has no dhcpcd.
func dhcpFiles(root string) ([]overlay.File, error) {
	text, err := regular.Read(filepath.Join(root, "etc/dhcpcd.conf"), maxUnit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read settings of dhcpcd: %w", err)
	}
	return []overlay.File{
		{Path: "etc/dhcpcd.conf", Mode: 0o644, Data: slices.Concat(text, dhcpSettings)},
		{Path: "etc/dhcpcd.enter-hook", Mode: 0o644, Data: dhcpEnterHook},
		{Path: "etc/dhcpcd.exit-hook", Mode: 0o644, Data: dhcpExitHook},
		{Path: "etc/network/if-up.d/felhom-lease", Mode: 0o755, Data: dhcpIfUp},
	}, nil
}
