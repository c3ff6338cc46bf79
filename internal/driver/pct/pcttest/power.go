package pcttest

import (
	"slices"
	"strings"

	"github.com/felhom/felhom-golden/internal/pctconf"
)

func (p *process) start(vmid int) int {
	config, _, ok := readConf(p.dir, vmid)
	if !ok {
		return p.die(255, missing, NodeName, vmid)
	}
	run := readRun(p.dir, vmid)
	template, _ := config.Bool("template")
	lock, _ := config.Get("lock")
	switch {
	case template:
		return p.die(255, "you can't start a CT if it's a template")
	case run.Running:
		return p.die(255, "CT %d already running", vmid)
	case slices.Contains(p.state.Faults.HA, vmid):
		p.log("Requesting HA start for CT %d", vmid)
		p.keep(vmid, running{HA: "start", Polls: p.state.Faults.HAPolls})
		return 0
	case lock != "":
		return p.fail("CT is locked (%s)", lock)
	case p.state.Faults.StartDies:
		return 0
	}
	return p.boot(vmid, config)
}

// boot is what the worker does.
func (p *process) boot(vmid int, config *pctconf.Config) int {
	if p.state.Faults.StartFails {
		p.log("__lxc_start: 2027 Failed to initialize container \"%d\"", vmid)
		return p.fail("startup for container '%d' failed", vmid)
	}
	if _, ok := config.Get("arch"); !ok {
		return p.fail("missing 'arch' - internal error at /usr/share/perl5/PVE/LXC.pm line 711.")
	}
	if disk, _ := config.Get("rootfs"); p.state.Faults.DiskGone {
		volume, _, _ := strings.Cut(disk, ",")
		return p.fail("volume '%s' does not exist", volume)
	}
	applyPending(config)
	if err := writeConf(p.dir, vmid, config); err != nil {
		panic(err)
	}
	if bridge := p.bridgeMissing(config); bridge != "" {
		return p.fail("bridge '%s' does not exist", bridge)
	}
	run := running{Running: true, Mounts: map[string]string{}}
	for _, props := range bindMounts(config) {
		// What the hook found wrong is in LXC's log at debug level only.
		if mountFault(props["volume"]) != "" {
			p.log("run_buffer: 322 Script exited with status 2\nlxc_init: 844 Failed to run lxc.hook.pre-start for container \"%d\"\n__lxc_start: 2027 Failed to initialize container \"%d\"", vmid, vmid)
			return p.fail("startup for container '%d' failed", vmid)
		}
		run.Mounts[props["mp"]] = props["volume"]
	}
	p.keep(vmid, run)
	if features, _ := config.Get("features"); !strings.Contains(features, "nesting=1") {
		p.log("WARN: Systemd 252 detected. You may need to enable nesting.")
		p.say("Task finished with 1 warning(s)!")
	}
	return 0
}

func (p *process) keep(vmid int, run running) {
	if err := writeRun(p.dir, vmid, run); err != nil {
		panic(err)
	}
}

func (p *process) stop(vmid int) int { return p.halt(vmid, true) }

func (p *process) shutdown(vmid int) int { return p.halt(vmid, p.options["forceStop"] == "1") }

func (p *process) halt(vmid int, force bool) int {
	config, _, ok := readConf(p.dir, vmid)
	run := readRun(p.dir, vmid)
	if !ok || !run.Running {
		return p.die(255, "CT %d not running", vmid)
	}
	if slices.Contains(p.state.Faults.HA, vmid) {
		p.log("Requesting HA stop for CT %d", vmid)
		run.HA, run.Polls = "stop", p.state.Faults.HAPolls
		p.keep(vmid, run)
		return 0
	}
	if p.state.Faults.Stubborn && !force {
		return p.fail("container did not stop")
	}
	p.down(vmid, config)
	return 0
}

func (p *process) down(vmid int, config *pctconf.Config) {
	applyPending(config)
	if err := writeConf(p.dir, vmid, config); err != nil {
		panic(err)
	}
	p.keep(vmid, running{})
}

// look is one round of the HA manager, which acts some time after it was asked.
func (p *process) look(vmid int, config *pctconf.Config) {
	run := readRun(p.dir, vmid)
	if run.HA != "" {
		if run.Polls--; run.Polls > 0 {
			p.keep(vmid, run)
		} else if run.HA == "start" {
			if p.boot(vmid, config) != 0 {
				run.HA = ""
				p.keep(vmid, run)
			}
		} else {
			p.down(vmid, config)
		}
	}
}
