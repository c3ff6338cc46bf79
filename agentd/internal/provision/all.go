package provision

import (
	"context"
	"fmt"
	"time"

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
			for _, one := range fault.Each(err) { // each keeps its own hint
				all = append(all, fmt.Errorf("provision guest %d: %w", job.VMID, one))
			}
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
		if wait == 0 || !job.Start || out[i].Outcome == "" || ctx.Err() != nil {
			continue
		}
		if err := p.Wait(ctx, job.VMID, results[i], deadline.Sub(p.options.Now())); err != nil {
			all, out[i].Failed = append(all, err), true
			continue
		}
		out[i].IsUp, out[i].Took = true, p.options.Now().Sub(start)
		out[i].URLs, out[i].Note = p.urls(results[i])
	}
	return out, fault.All(all...)
}
