package stage

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/felhom/felhom-golden/golden/internal/overlay"
	"github.com/felhom/felhom-golden/golden/internal/recipe"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/scratch"
)

// trustDir is where a machine's own certificate authorities go.
// update-ca-certificates takes the names ending in .crt there.
const trustDir = "usr/local/share/ca-certificates/"

// trustName is update-ca-certificates as a step of the build.
const trustName = "update-ca-certificates"

// trusted reports whether files bring certificate authorities. One that
// update-ca-certificates would pass over is an error.
func trusted(files []overlay.File) (bool, error) {
	found := false
	for _, f := range files {
		if !strings.HasPrefix(f.Path, trustDir) || !f.Mode.IsRegular() {
			continue
		}
		if path.Ext(f.Path) != ".crt" {
			return false, fault.WrapHint(fault.Invalid, fmt.Errorf("files in the recipe: /%s: want a name that ends in .crt", f.Path), "update-ca-certificates passes over any other")
		}
		in, err := f.Open()
		if err != nil {
			return false, fault.Wrap(fault.Invalid, fmt.Errorf("read certificate for /%s: %w", f.Path, err))
		}
		data, err := io.ReadAll(io.LimitReader(in, maxKey))
		if err := errors.Join(err, in.Close()); err != nil {
			return false, fault.Wrap(fault.Invalid, fmt.Errorf("read certificate for /%s: %w", f.Path, err))
		}
		if block, _ := pem.Decode(data); block == nil || block.Type != "CERTIFICATE" {
			return false, fault.WrapHint(fault.Invalid, fmt.Errorf("files in the recipe: /%s: want a certificate in PEM form", f.Path), "openssl x509 -inform DER -outform PEM converts one")
		}
		found = true
	}
	return found, nil
}

// trust has the root's own program make the bundle and the links of /etc/ssl/certs.
func (p *Plan) trust(ctx context.Context, root string, h Hooks) (err error) {
	if _, err := os.Lstat(filepath.Join(root, "usr/sbin", trustName)); errors.Is(err, fs.ErrNotExist) {
		return fault.WrapHint(fault.Invalid, errors.New("files in the recipe bring certificate authorities, and the image has no update-ca-certificates"), "packages.exclude must not name ca-certificates")
	}
	dir, err := scratch.New("")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	script := filepath.Join(dir.Path, trustName)
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexec update-ca-certificates\n"), 0o700); err != nil {
		return err
	}
	defer begin(h, trustName)()
	return h.Script(ctx, root, script, recipe.Script{Path: trustName})
}
