package provision

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
)

// Summary is the result of one job of All.
type Summary struct {
	VMID     int
	Hostname string
	Outcome  Outcome // "": it failed before it was started
	IsUp     bool    // it reported that its controller is up; false: it was not waited for, or failed
	Failed   bool    // it was waited for, and did not come up
	Took     time.Duration
	Err      error    // why it failed, joined
	URLs     []string // where its container answers, as far as it is known
	Note     string   // why there are none
}

// All starts the guests of jobs one after the other, and then waits up to wait
// for all of them, which boot at the same time. 0 does not wait. One guest's
// failure does not end the others' jobs; the error joins all failures, and
// summaries are as jobs, in their order.
func (p *Provisioner) All(ctx context.Context, jobs []Job, wait time.Duration) ([]Summary, error) {
	start := p.options.Now()
	out := make([]Summary, len(jobs))
	results := make([]Result, len(jobs))
	var all []error
	for i, job := range jobs {
		out[i].VMID = job.VMID
		r, err := p.Provision(ctx, job)
		if err != nil {
			out[i].Err = prefixed(fmt.Sprintf("provision guest %d", job.VMID), err)
			all = append(all, out[i].Err)
			if ctx.Err() != nil {
				break
			}
			continue
		}
		results[i] = r
		out[i].Outcome, out[i].Took, out[i].Hostname = r.Outcome, p.options.Now().Sub(start), r.Guest.Hostname
	}
	deadline := p.options.Now().Add(wait)
	for i, job := range jobs {
		waits := job.Start || job.IsChange && results[i].Guest.State == driver.Running
		if wait == 0 || !waits || out[i].Outcome == "" || ctx.Err() != nil {
			continue
		}
		if err := p.Wait(ctx, job.VMID, results[i], deadline.Sub(p.options.Now())); err != nil {
			all, out[i].Failed, out[i].Err = append(all, err), true, err
			continue
		}
		out[i].IsUp, out[i].Took = true, p.options.Now().Sub(start)
		out[i].URLs, out[i].Note = p.urls(results[i])
	}
	return out, fault.All(all...)
}

// prefixed returns the errors that err joins, each with about before it and with
// its own hint.
func prefixed(about string, err error) error {
	var all []error
	for _, one := range fault.Each(err) {
		all = append(all, fmt.Errorf("%s: %w", about, one))
	}
	return errors.Join(all...)
}
