package pct

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/run"
)

// Deadlines of PVE's programs, unless the caller's context has an earlier one.
// PVE itself waits up to ten seconds for a lock.
const (
	readTimeout    = time.Minute
	changeTimeout  = 5 * time.Minute
	restoreTimeout = 2 * time.Hour
)

// call runs one of PVE's programs. Its error has the class of the program's
// message; an exit status other than 0 is an error, but 0 does not prove
// success: callers read the result back.
func (d *Driver) call(ctx context.Context, timeout time.Duration, path string, args ...string) (stdout []byte, err error) {
	res, err := d.output(ctx, timeout, path, args...)
	return res.Stdout, err
}

// output is call for programs whose stderr matters even if they exit with 0.
func (d *Driver) output(ctx context.Context, timeout time.Duration, path string, args ...string) (run.Result, error) {
	if err := context.Cause(ctx); err != nil {
		return run.Result{}, err
	}
	name := filepath.Base(path)
	limited, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("%s did not end in %s: %w", name, timeout, context.DeadlineExceeded))
	defer cancel()
	res, err := run.Run(limited, run.Cmd{Path: path, Args: args})
	switch {
	case err == nil:
		return res, nil
	case run.IsNotFound(err):
		return run.Result{}, driver.Faultf(driver.ErrWrongHost, "this is for a Proxmox VE node; on another host choose the lxc hypervisor", "%s is not installed", name)
	case limited.Err() != nil:
		return res, fmt.Errorf("%s: %w", run.Quote(name, args...), context.Cause(limited))
	case res.ExitCode < 0:
		return res, err // not started, or killed from outside
	}
	return res, classify(run.Quote(name, args...), args, string(res.Stdout), string(res.Stderr))
}

// pct changes a guest.
func (d *Driver) pct(ctx context.Context, args ...string) (string, error) {
	out, err := d.call(ctx, changeTimeout, d.o.Pct, args...)
	return string(out), err
}

// get reads one resource of the node into v.
func (d *Driver) get(ctx context.Context, v any, resource string, options ...string) error {
	return d.ask(ctx, v, "/nodes/"+d.o.Node+resource, options...)
}

// ask reads one resource of PVE's API into v.
func (d *Driver) ask(ctx context.Context, v any, resource string, options ...string) error {
	args := append([]string{"get", resource}, options...)
	out, err := d.call(ctx, readTimeout, d.o.Pvesh, append(args, "--output-format", "json")...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(bytes.TrimSpace(out), v); err != nil {
		return fmt.Errorf("pvesh get %s: %w", resource, err)
	}
	return nil
}

// poll calls ready until it returns true, ctx is done, or limit is over; done
// reports whether it returned true.
func (d *Driver) poll(ctx context.Context, limit time.Duration, ready func() (bool, error)) (done bool, err error) {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(d.o.Poll)
	defer tick.Stop()
	for {
		if ok, err := ready(); ok || err != nil {
			return ok, err
		}
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-deadline.C:
			return false, nil
		case <-tick.C:
		}
	}
}

// number is an integer that perl writes as a number or as text.
type number int64

// maxNumber is above each number of PVE. The conversion of a greater one to an
// integer has any value.
const maxNumber = 1 << 62

// UnmarshalJSON takes 1, 1.5, "1", true and null; it cuts fractions.
func (n *number) UnmarshalJSON(data []byte) error {
	text := strings.Trim(string(data), `"`)
	switch text {
	case "null", "false", "":
		*n = 0
		return nil
	case "true":
		*n = 1
		return nil
	}
	f, err := json.Number(text).Float64()
	if err != nil || math.IsNaN(f) || math.Abs(f) > maxNumber {
		return fmt.Errorf("%s is not a number", data)
	}
	*n = number(f)
	return nil
}

// wrap adds the guest and the request to an error.
func wrap(vmid int, what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("guest %d: %s: %w", vmid, what, err)
}

// isClass reports whether err is one of the sentinels.
func isClass(err error, sentinels ...error) bool {
	for _, s := range sentinels {
		if errors.Is(err, s) {
			return true
		}
	}
	return false
}
