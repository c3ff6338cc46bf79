package guest

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

// Bake has felhom-golden build an archive into dir, or takes the cached base,
// and returns its path. The certificate of the bed's registry is in the
// overlay: each bed has its own, so it is not part of the base.
func Bake(ctx context.Context, golden string, bed testbed.Bed, dir string, talk io.Writer, packages ...string) (string, error) {
	recipe := filepath.Join(dir, "golden.yaml")
	text := fmt.Sprintf("version: 1\npackages: {include: [%s]}\nfiles:\n  - {path: \"/etc/docker/certs.d/%s/ca.crt\", source: %q}\n",
		strings.Join(packages, ", "), bed.Registry, bed.CAFile)
	if err := os.WriteFile(recipe, []byte(text), 0o644); err != nil {
		return "", err
	}
	res, err := run.Run(ctx, run.Cmd{
		Path: golden, Args: []string{"build", "--recipe", recipe, "--compression", "fast", "--out", dir}, Stderr: talk,
	})
	return strings.TrimSpace(string(res.Stdout)), err
}
