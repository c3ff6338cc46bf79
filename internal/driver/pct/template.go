package pct

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/pctconf"
	"github.com/felhom/felhom-golden/internal/regular"
)

var _ driver.Cloner = (*Driver)(nil)

// marked returns the configuration of guest vmid if it has the description.
func (d *Driver) marked(ctx context.Context, vmid int, description string) (*pctconf.Config, error) {
	config, _, err := d.config(ctx, vmid)
	switch {
	case err != nil:
		return nil, err
	case description == "" || config.Description != description:
		return nil, driver.Faultf(driver.ErrExists, "felhom-agentd template list", "it does not have the description that felhom-agentd gave to its template")
	}
	return config, nil
}

func hasTag(config *pctconf.Config) bool {
	tags, _ := config.Get("tags")
	return slices.Contains(strings.FieldsFunc(tags, isListSeparator), driver.TemplateTag)
}

func on(config *pctconf.Config, key string) bool { v, _ := config.Bool(key); return v }

func isFinished(config *pctconf.Config) bool {
	return on(config, "template") && on(config, "protection") && hasTag(config)
}

// baseOf is the part of a linked clone's volume that names its base.
var baseOf = regexp.MustCompile(`^[^:/]+:(?:[0-9]+/)?(?:base|basevol)-([0-9]+)-[^/]*/`)

// rootVolume returns the volume of the root file system, "" if none is known.
func rootVolume(config *pctconf.Config) string { return pctconf.Root(config)["volume"] }

// The configurations of containers, below the cluster file system.
const (
	thisNode = "lxc/*.conf"
	anyNode  = "nodes/*/lxc/*.conf"
)

// configFiles calls use with each configuration of a container that matches one of the
// patterns below the cluster file system.
func (d *Driver) configFiles(ctx context.Context, use func(vmid int, config *pctconf.Config), patterns ...string) error {
	if _, err := os.Stat(filepath.Join(d.o.PVEDir, "lxc")); err != nil {
		return driver.Faultf(driver.ErrNotReady, "systemctl status pve-cluster", "%s", err)
	}
	return d.eachConfig(ctx, func(vmid int, data []byte, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // it was removed meanwhile
		case err != nil:
			return err
		}
		config, _ := pctconf.Parse(data)
		use(vmid, config)
		return nil
	}, patterns...)
}

// eachConfig calls use with the content of each file of a container that matches one
// of the patterns below the cluster file system, or with the error of reading it, until
// use returns an error.
func (d *Driver) eachConfig(ctx context.Context, use func(vmid int, data []byte, err error) error, patterns ...string) error {
	for _, pattern := range patterns {
		files, err := filepath.Glob(filepath.Join(d.o.PVEDir, pattern))
		if err != nil {
			return err
		}
		for _, file := range files {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			vmid, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(file), ".conf"))
			if err != nil {
				continue
			}
			data, err := regular.Read(file, maxGuestConfig)
			if err := use(vmid, data, err); err != nil {
				return err
			}
		}
	}
	return nil
}

// Templates implements [driver.Cloner], from the cluster file system alone.
func (d *Driver) Templates(ctx context.Context) ([]driver.Template, error) {
	var list []driver.Template
	err := d.configFiles(ctx, func(vmid int, config *pctconf.Config) {
		if hasTag(config) {
			list = append(list, driver.Template{VMID: vmid, Description: config.Description, Storage: pctconf.RootStorage(config), IsFinished: isFinished(config)})
		}
	}, thisNode)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	used, err := d.users(ctx)
	for i := range list {
		list[i].UsedBy = used[list[i].VMID]
	}
	slices.SortFunc(list, func(a, b driver.Template) int { return a.VMID - b.VMID })
	return list, err
}

// users returns the containers of all nodes whose disks name the disk of another
// guest as their base, by the VMID of that guest. Only some storages have such names.
func (d *Driver) users(ctx context.Context) (map[int][]int, error) {
	used := map[int][]int{}
	err := d.configFiles(ctx, func(vmid int, config *pctconf.Config) {
		sections := [][]pctconf.Setting{config.Settings}
		for _, s := range config.Snapshots {
			sections = append(sections, s.Settings)
		}
		for _, s := range slices.Concat(sections...) {
			m := baseOf.FindStringSubmatch(s.Value)
			if m == nil {
				continue
			}
			if base, err := strconv.Atoi(m[1]); err == nil && base != vmid && !slices.Contains(used[base], vmid) {
				used[base] = append(used[base], vmid)
			}
		}
	}, anyNode, thisNode)
	for _, list := range used {
		slices.Sort(list)
	}
	return used, err
}

// calm returns nil once no task works on a template. PVE locks it while it is
// cloned; a killed clone leaves that lock.
func (d *Driver) calm(ctx context.Context, vmid int) error {
	lock := ""
	free, err := d.poll(ctx, d.o.Settle, func() (bool, error) {
		config, _, err := d.config(ctx, vmid)
		if err != nil {
			return false, err
		}
		lock, _ = config.Get("lock")
		return lock == "", nil
	})
	if free || err != nil {
		return err
	}
	w, err := d.tasks(ctx, vmid)
	switch {
	case err != nil:
		return err
	case w.own != "" || lock != "disk":
		return driver.Faultf(driver.ErrBusy, "wait for that task, or take the lock away with pct unlock when there is none", "template %d: CT is locked (%s)", vmid, lock)
	}
	if _, err := d.pct(ctx, "unlock", strconv.Itoa(vmid)); err != nil && !strings.Contains(err.Error(), "no lock found") {
		return fmt.Errorf("take the lock %s of template %d away: %w", lock, vmid, err)
	}
	return nil
}

// idle returns nil once no task works on a template, as calm does, and PVE lists none
// either: a task stays in its list until the next round of pvestatd, which is up to ten
// seconds after its end, a restore or a clone of a moment ago, too.
func (d *Driver) idle(ctx context.Context, vmid int) error {
	if err := d.calm(ctx, vmid); err != nil {
		return err
	}
	task := ""
	ended, err := d.poll(ctx, d.o.Settle, func() (bool, error) {
		w, err := d.tasks(ctx, vmid)
		task = w.own
		return task == "", err
	})
	if ended || err != nil {
		return err
	}
	return driver.Faultf(driver.ErrBusy, "wait until that task has ended", "the task %s works on it", task)
}

// set sets options of a template and reads them back by done.
func (d *Driver) set(ctx context.Context, vmid int, description string, done func(*pctconf.Config) bool, options ...string) error {
	_, setErr := d.pct(ctx, append([]string{"set", strconv.Itoa(vmid)}, options...)...)
	config, err := d.marked(context.WithoutCancel(ctx), vmid, description)
	switch {
	case err != nil:
		return errors.Join(setErr, err)
	case done(config):
		return nil
	case setErr != nil:
		return setErr
	}
	return fmt.Errorf("pct set said nothing, and %s has no effect", strings.Join(options, " "))
}

// FinishTemplate implements [driver.Cloner].
func (d *Driver) FinishTemplate(ctx context.Context, vmid int, description string) error {
	return wrap(vmid, "template", d.finishTemplate(ctx, vmid, description))
}

func (d *Driver) finishTemplate(ctx context.Context, vmid int, description string) error {
	config, err := d.marked(ctx, vmid, description)
	if err != nil || isFinished(config) {
		return err
	}
	if err := d.idle(ctx, vmid); err != nil {
		return err
	}
	v, err := d.whole(ctx, vmid)
	switch {
	case err != nil:
		return err
	case v.state == driver.Running:
		return driver.Faultf(driver.ErrRunning, "shut it down: a template never runs", "its state is %s", v.state)
	}
	if !hasTag(v.config) {
		if err := d.set(ctx, vmid, description, hasTag, "--tags="+driver.TemplateTag); err != nil {
			return err
		}
	}
	if !on(v.config, "template") {
		if err := d.convert(ctx, vmid, description, v.config); err != nil {
			return err
		}
	}
	return d.set(ctx, vmid, description, isFinished, "--protection=1")
}

// convert makes the guest a template. PVE renames its disk first, and writes its
// configuration after that; it cannot continue from between the two.
func (d *Driver) convert(ctx context.Context, vmid int, description string, config *pctconf.Config) error {
	root := rootVolume(config)
	volumes, err := d.volumes(ctx, vmid, pctconf.RootStorage(config))
	switch {
	case err != nil:
		return err
	case !slices.Contains(volumes, root) || isBase(root):
		return driver.Faultf(driver.ErrPartial, "it is removed, and made again", "an interrupted conversion left the disks %s, and it has %s", strings.Join(volumes, ", "), root)
	}
	res, err := d.output(ctx, changeTimeout, d.o.Pct, "template", strconv.Itoa(vmid))
	now, lookErr := d.marked(context.WithoutCancel(ctx), vmid, description)
	switch {
	case lookErr != nil:
		return errors.Join(err, lookErr)
	case on(now, "template"):
		return nil
	case err != nil:
		return err
	}
	return classify("pct template "+strconv.Itoa(vmid), nil, string(res.Stdout), string(res.Stderr)) // it exits with 0
}

var baseVolume = regexp.MustCompile(`[:/](?:base|basevol)-[0-9]+-[^/]*$`)

func isBase(volume string) bool { return baseVolume.MatchString(volume) }

// RemoveTemplate implements [driver.Cloner].
func (d *Driver) RemoveTemplate(ctx context.Context, vmid int, description, storage string) error {
	return wrap(vmid, "remove template", d.removeTemplate(ctx, vmid, description, storage))
}

func (d *Driver) removeTemplate(ctx context.Context, vmid int, description, storage string) error {
	v, err := d.look(ctx, vmid)
	switch {
	case errors.Is(err, driver.ErrNotFound):
		return nil
	case err != nil:
		return err
	case v.partial && v.config.Description == "": // of a restore
		return d.discard(ctx, vmid, storage)
	}
	config, err := d.marked(ctx, vmid, description)
	if err != nil {
		return err
	}
	if unfinished(config) {
		return d.discard(ctx, vmid, storage)
	}
	if err := d.idle(ctx, vmid); err != nil {
		return err
	}
	state, err := d.state(ctx, vmid) // after the waits, as the configuration is
	if err == nil {
		config, err = d.marked(ctx, vmid, description)
	}
	switch {
	case err != nil:
		return err
	case state == driver.Running:
		return driver.Faultf(driver.ErrRunning, "shut it down: a template never runs", "its state is %s", state)
	}
	used, err := d.users(ctx)
	switch {
	case err != nil:
		return err
	case len(used[vmid]) > 0:
		inUse := driver.Faultf(driver.ErrInUse, "remove those guests first", "the guests %s are linked clones of it", strings.Trim(fmt.Sprint(used[vmid]), "[]"))
		if on(config, "template") && !on(config, "protection") { // a killed removal ended it
			return errors.Join(inUse, d.protect(ctx, vmid, description))
		}
		return inUse
	}
	if on(config, "protection") {
		unprotected := func(c *pctconf.Config) bool { return !on(c, "protection") }
		if err := d.set(ctx, vmid, description, unprotected, "--protection=0"); err != nil {
			return err
		}
	}
	if err := d.freeTemplate(ctx, vmid, storage, config); err != nil {
		if now, lookErr := d.marked(context.WithoutCancel(ctx), vmid, description); lookErr == nil && on(now, "template") {
			err = errors.Join(err, d.protect(context.WithoutCancel(ctx), vmid, description))
		}
		return err
	}
	return d.removeDirs(vmid)
}

// protect protects a template again that was not removed.
func (d *Driver) protect(ctx context.Context, vmid int, description string) error {
	return d.set(ctx, vmid, description, func(c *pctconf.Config) bool { return on(c, "protection") }, "--protection=1")
}

// freeTemplate destroys a template and, if the conversion to it was interrupted, the
// disk that its configuration does not name.
func (d *Driver) freeTemplate(ctx context.Context, vmid int, storage string, config *pctconf.Config) error {
	if !on(config, "template") {
		if err := d.freeVolumes(ctx, vmid, storage, config); err != nil {
			return err
		}
	}
	_, err := d.pct(ctx, "destroy", strconv.Itoa(vmid))
	err = d.gone(ctx, vmid, err)
	if err == nil || on(config, "template") || storage == "" || storage != pctconf.RootStorage(config) {
		return err
	}
	volumes, listErr := d.volumes(ctx, vmid, storage)
	if listErr != nil || len(volumes) > 0 {
		return errors.Join(err, listErr)
	}
	// Some storages refuse to free a disk that has another name since the interrupted
	// conversion. Nothing else of the guest is left than its configuration.
	removeErr := atomicfile.In(filepath.Join(d.o.PVEDir, "lxc"), func(root *os.Root) error {
		return root.Remove(strconv.Itoa(vmid) + ".conf")
	})
	if removeErr != nil {
		return errors.Join(err, removeErr)
	}
	return d.gone(ctx, vmid, err)
}
