package provision

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/felhom/felhom-golden/agentd/internal/configmount"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
)

// converge finds a guest there and brings it to what the job says, or says
// what is in the way.
func (o Options) converge(ctx context.Context, job Job, g driver.Guest) (Result, error) {
	record, err := o.Store.Get(job.VMID)
	if err != nil && !errors.Is(err, guests.ErrNotFound) {
		return Result{}, err
	}
	if err != nil || record.Provisioned == nil || record.Provisioned.ID != idOf(g.Description) || g.Half {
		return Result{}, taken(g)
	}
	if err := o.compare(job.Spec, g); err != nil {
		return Result{}, err
	}
	result := Result{Outcome: Unchanged}
	if result.After, err = o.lastRun(job.VMID); err != nil {
		return Result{}, err
	}
	isGone := !o.Mounts.Exists(job.VMID)
	if job.Image != "" && job.Image != record.ControllerImage || isGone {
		m := &making{o: o, job: job, isThere: true, guest: g}
		if job.Image == "" {
			m.job.Image = record.ControllerImage
		}
		if err := m.update(ctx); err != nil {
			if m.minted.Before != nil && !m.isPut {
				// The undo must happen also when ctx is what made it fail.
				err = errors.Join(err, o.Store.Replace(context.WithoutCancel(ctx), job.VMID, m.minted.Before))
			}
			return Result{}, err
		}
		result.Outcome = Updated
	}
	if isAttached := o.isAttached(g); !isAttached || isGone && g.State == driver.Running {
		err := o.step(job.VMID, StepAttach, func() (string, string, error) {
			if isAttached { // it is the folder that was removed: the guest has that one still
				if err := o.Hypervisor.Detach(ctx, job.VMID, configmount.Target); err != nil {
					return "", "", fault.WrapHint(fault.Invalid, fmt.Errorf("its mount was removed and made again, and it has the old one: %w", err),
						"shut the guest down, then run the same command again")
				}
			}
			return "done", "", o.Hypervisor.Attach(ctx, job.VMID, o.mount(job.VMID))
		})
		if err != nil {
			return Result{}, err
		}
		result.Outcome = Updated
	}
	if job.Start && g.State != driver.Running {
		err := o.step(job.VMID, StepStart, func() (string, string, error) {
			return "done", "", o.Hypervisor.Start(ctx, job.VMID)
		})
		if err != nil {
			return Result{}, err
		}
		result.Outcome = Started
	}
	if result.Outcome == Unchanged {
		result.After = ""
	}
	return result, nil
}

// update gives a guest that is there a new bootstrap.json.
func (m *making) update(ctx context.Context) error {
	for _, s := range []struct {
		name Step
		work func() (string, string, error)
	}{
		{StepCheck, func() (string, string, error) { return "done", "", m.check(ctx) }},
		{StepToken, func() (string, string, error) { return m.token(ctx) }},
		{StepMount, func() (string, string, error) { return m.mount(ctx) }},
	} {
		if err := m.o.step(m.job.VMID, s.name, s.work); err != nil {
			return err
		}
	}
	return nil
}

// compare refuses a guest that is there and not as asked for.
func (o Options) compare(s driver.Spec, g driver.Guest) error {
	diff := differences(s, g)
	if len(diff) == 0 {
		return nil
	}
	return fault.WrapHint(fault.Invalid, fmt.Errorf("it is there, with %s", strings.Join(diff, ", ")),
		fmt.Sprintf("leave those options out; or change the guest itself; or felhom-agentd guest remove %d first", g.VMID))
}

// differences says what of the guest that is there is not as asked for. What
// an adapter does not tell (memory, cores) is not compared.
func differences(s driver.Spec, g driver.Guest) []string {
	var list []string
	add := func(what, wanted, found string) {
		if wanted != found {
			list = append(list, fmt.Sprintf("%s %s and not %s", what, found, wanted))
		}
	}
	if s.Hostname != "" {
		add("hostname", s.Hostname, g.Hostname)
	}
	if s.Net.Bridge != "" {
		add("bridge", s.Net.Bridge, g.Net.Bridge)
	}
	if !s.Net.IP.IsZero() {
		add("address", s.Net.IP.String(), g.Net.IP.String())
	}
	if !s.Net.IP6.IsZero() {
		add("IPv6 address", s.Net.IP6.String(), g.Net.IP6.String())
	}
	if s.Net.Gateway.IsValid() {
		add("gateway", s.Net.Gateway.String(), g.Net.Gateway.String())
	}
	if s.Net.Gateway6.IsValid() {
		add("IPv6 gateway", s.Net.Gateway6.String(), g.Net.Gateway6.String())
	}
	if s.Net.VLAN != 0 {
		add("VLAN", strconv.Itoa(s.Net.VLAN), strconv.Itoa(g.Net.VLAN))
	}
	if s.OnBoot != nil {
		add("onboot", strconv.FormatBool(*s.OnBoot), strconv.FormatBool(g.OnBoot))
	}
	return list
}
