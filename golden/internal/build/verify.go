package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/felhom/felhom-golden/golden/internal/cachedir"
	"github.com/felhom/felhom-golden/golden/internal/pack"
	"github.com/felhom/felhom-golden/golden/internal/provenance"
	"github.com/felhom/felhom-golden/golden/internal/rules"
	"github.com/felhom/felhom-golden/golden/internal/stage"
	"github.com/felhom/felhom-golden/golden/internal/verify"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/regular"
)

// verifiedSuffix is what the name of base frames in the cache gets for what verify
// found in them. It belongs to these frames, and is removed with them.
const verifiedSuffix = ".verified"

// maxVerified bounds what is read of it; that of a golden image has two megabytes.
const maxVerified = 64 << 20

// verifyFile verifies the packed archive.
func verifyFile(ctx context.Context, job packJob, packed pack.Result, m provenance.Manifest) (_ verify.Report, err error) {
	f, err := regular.Open(job.path)
	if err != nil {
		return verify.Report{}, fmt.Errorf("verify: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	allow := job.recipe.Allow
	report, err := verifyCached(ctx, job, packed, f, verify.Options{
		SHA256: m.Archive.SHA256, Epoch: job.epoch, BuildNames: builderNames(),
		Allow: verify.Allow{
			SetID: trim(allow.SetID), WorldWritable: trim(allow.WorldWritable), Capabilities: trim(allow.Capabilities),
			Secrets: trim(allow.Secrets), Dangling: trim(allow.Dangling), Programs: trim(allow.Programs),
		},
	})
	if err != nil {
		return report, err
	}
	if err := report.Err(); err != nil {
		lines := []string{err.Error()}
		for _, f := range report.Findings {
			if f.Severity == rules.Error {
				lines = append(lines, fmt.Sprintf("%s: %s: %s", f.Rule, f.Path, f.Message))
			}
		}
		return report, fault.WrapHint(fault.Of(err), errors.New(strings.Join(lines, "\n")), fault.HintOf(err))
	}
	return report, nil
}

// verifyCached verifies f with what was found in the same base frames before, or
// keeps what is found now. Whether they are the same, verify decides by their digest.
func verifyCached(ctx context.Context, job packJob, packed pack.Result, f *os.File, opts verify.Options) (_ verify.Report, err error) {
	name := filepath.Base(job.path)
	if packed.BaseKey == "" {
		return verify.Archive(ctx, f, name, opts)
	}
	cache, err := cachedir.Open(job.cache)
	if err != nil {
		return verify.Report{}, fmt.Errorf("verify: %w", err)
	}
	defer func() { err = errors.Join(err, cache.Close()) }()
	splice := verify.Splice{Seam: packed.BaseAt}
	if splice.Program, err = stage.OwnDigest(); err != nil {
		return verify.Report{}, fmt.Errorf("verify: %w", err)
	}
	if packed.BaseReused {
		// One that cannot be read counts as none.
		splice.Kept, _ = regular.Read(cache.Path(packed.BaseKey+verifiedSuffix), maxVerified)
	}
	report, kept, err := verify.Spliced(ctx, f, packed.Size, name, opts, splice)
	if err != nil || kept == nil || report.Errors > 0 {
		return report, err
	}
	return report, cache.WriteFile(packed.BaseKey+verifiedSuffix, func(w io.Writer) error {
		_, err := w.Write(kept)
		return err
	})
}
