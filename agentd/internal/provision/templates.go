package provision

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/goldenid"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
)

// templatesFile has the templates that this host made, finished or not; it is the
// journal of those that are not.
const (
	templatesFile    = "templates.json"
	templatesVersion = 1
)

type templateList struct {
	Version   int        `json:"version"`
	Templates []template `json:"templates"`
}

func (js journals) writeTemplates(list []template) error {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b template) int { return a.VMID - b.VMID })
	return js.writeFile(templatesFile, templateList{templatesVersion, list})
}

func (js journals) readTemplates() (list []template, err error) {
	data, exists, err := js.readFile(templatesFile)
	if err != nil || !exists {
		return nil, err
	}
	var file templateList
	err = json.Unmarshal(data, &file)
	if err == nil && (file.Version != templatesVersion || slices.ContainsFunc(file.Templates, func(t template) bool { return t.VMID == 0 || t.ID == "" || t.Phase == "" })) {
		err = errors.New("wrong version, or a template without VMID, ID or phase")
	}
	if err != nil {
		return nil, fault.WrapHint(fault.Invalid, fmt.Errorf("%s is not a list of templates: %w", filepath.Join(js.dir, templatesFile), err),
			"look at the guests with the tag "+driver.TemplateTag+" yourself, then remove it")
	}
	return file.Templates, nil
}

// settleTemplates finishes or removes what an interrupted run left. list and removed, which
// are the VMIDs of the guests that it destroyed, are valid with an error, which joins those
// of the templates that stay as they were.
func (p *Provisioner) settleTemplates(ctx context.Context, c driver.Cloner, before []template) (list []template, removed []int, err error) {
	list = before
	var all []error
	for _, t := range before {
		var isRemoved bool
		var err error
		switch t.Phase {
		case phaseReady:
			continue
		case phaseMaking:
			list, isRemoved, err = p.settleMaking(ctx, c, list, t)
		default:
			t.Phase = phaseReady // again, if it is in use
			list, isRemoved, err = p.remove(ctx, c, list, t)
			if errors.Is(err, driver.ErrInUse) {
				err = nil
			}
		}
		if isRemoved {
			removed = append(removed, t.VMID)
		}
		if err != nil {
			all = append(all, fmt.Errorf("template %d, which an interrupted run left: %w", t.VMID, err))
		}
	}
	return list, removed, errors.Join(all...)
}

// settleMaking finishes t, or removes it, and reports whether it destroyed a guest.
func (p *Provisioner) settleMaking(ctx context.Context, c driver.Cloner, before []template, t template) (list []template, isRemoved bool, err error) {
	g, err := p.options.Hypervisor.Guest(ctx, t.VMID)
	switch {
	case errors.Is(err, driver.ErrNotFound), err == nil && t.isTaken(g):
		list, err = p.drop(before, t.ID)
		return list, false, err
	case err != nil:
		return before, false, err
	case g.Partial:
		if err := p.options.Hypervisor.Discard(ctx, t.VMID, t.disks()); err != nil {
			return before, false, err
		}
		list, err = p.drop(before, t.ID)
		return list, true, err
	case g.Lock == lockCreate:
		return before, false, busy(g)
	}
	err = c.FinishTemplate(ctx, t.VMID, t.description())
	switch {
	case errors.Is(err, driver.ErrPartial):
		return p.remove(ctx, c, before, t)
	case err != nil:
		return before, false, err
	}
	t.Phase = phaseReady
	list, err = p.put(before, t)
	return list, false, err
}

// TemplateState is what is known of a template.
type TemplateState string

// The states.
const (
	TemplateCurrent    TemplateState = "current"    // of the golden image of this host
	TemplateStale      TemplateState = "stale"      // of another golden image
	TemplateUnfinished TemplateState = "unfinished" // an interrupted run left it
	TemplateMissing    TemplateState = "missing"    // it was removed, or changed so that it is not used
	TemplateForeign    TemplateState = "foreign"    // it has the tag, and this host did not make it
)

// Template is a template as it is shown.
type Template struct {
	VMID    int
	State   TemplateState
	Golden  string
	Storage string
	Made    time.Time
	Guests  []int // linked clones of it, as far as they are known
}

// Templates returns the templates of this host, and guests that only have their tag. It
// changes nothing.
func (p *Provisioner) Templates(ctx context.Context) ([]Template, error) {
	list, err := p.journals.readTemplates()
	if err != nil {
		return nil, err
	}
	c, err := p.cloner()
	if err != nil {
		if len(list) == 0 {
			return nil, nil
		}
		return nil, err
	}
	found, err := c.Templates(ctx)
	if err != nil || len(list)+len(found) == 0 {
		return nil, err
	}
	users, err := p.templateUsers()
	if err != nil {
		return nil, err
	}
	host, _ := p.image(ctx, c, p.options.Golden) // without one, none is current
	var shown []Template
	for _, t := range list {
		one := Template{VMID: t.VMID, State: TemplateStale, Golden: t.Golden, Storage: t.Storage, Made: t.Made, Guests: users[t.VMID]}
		at := slices.IndexFunc(found, func(f driver.Template) bool { return f.VMID == t.VMID && f.Description == t.description() })
		switch {
		case t.Phase != phaseReady:
			one.State = TemplateUnfinished
		case at < 0:
			one.State = TemplateMissing
		case t.isOf(host, t.Storage):
			one.State = TemplateCurrent
		}
		if at >= 0 {
			one.Guests = merge(one.Guests, found[at].UsedBy)
			found = slices.Delete(found, at, at+1)
		}
		shown = append(shown, one)
	}
	for _, f := range found {
		if !slices.ContainsFunc(shown, func(t Template) bool { return t.VMID == f.VMID }) {
			shown = append(shown, Template{VMID: f.VMID, State: TemplateForeign, Storage: f.Storage, Guests: f.UsedBy})
		}
	}
	return shown, nil
}

// merge returns the numbers of both lists, sorted and once each.
func merge(a, b []int) []int {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// templateUsers returns the guests that records and journals name as clones, by
// template.
func (p *Provisioner) templateUsers() (map[int][]int, error) {
	records, broken, err := p.options.Store.List()
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(broken)) {
		return nil, fmt.Errorf("record %s, which may be that of a clone: %w", name, broken[name])
	}
	users := map[int][]int{}
	for _, r := range records {
		if r.Provisioned != nil && r.Provisioned.Template != 0 {
			users[r.Provisioned.Template] = append(users[r.Provisioned.Template], r.VMID)
		}
	}
	unfinished, err := Unfinished(p.options.StateDir)
	if err != nil {
		return nil, err
	}
	for _, vmid := range slices.Sorted(maps.Keys(unfinished)) { // their records do not say it yet
		j, err := p.journals.read(vmid)
		if err != nil {
			return nil, err
		}
		if j != nil && j.Template != 0 {
			users[j.Template] = merge(users[j.Template], []int{vmid})
		}
	}
	return users, nil
}

// PruneTemplates finishes or removes what interrupted runs left, and removes the templates
// that no guest uses and that are not of this host's golden image; with all set, those
// of its image too. It returns the VMIDs of the guests that it destroyed.
func (p *Provisioner) PruneTemplates(ctx context.Context, all bool) (removed []int, err error) {
	c, err := p.cloner()
	if err != nil {
		return nil, err
	}
	list, unlock, err := p.templates(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	list, removed, settleErr := p.settleTemplates(ctx, c, list)
	defer func() { err = errors.Join(settleErr, err) }()
	host := goldenid.ID{}
	if p.options.Golden != "" && !all {
		if host, err = p.image(ctx, c, p.options.Golden); err != nil {
			return removed, fmt.Errorf("which templates are current is not known: %w", err)
		}
	}
	gone, err := p.removeUnused(ctx, c, list, func(t template) bool { return all || !t.isOf(host, t.Storage) })
	return append(removed, gone...), err
}

// removeUnused removes the ready templates that pick returns and that no guest uses. It
// returns the VMIDs of the guests that it destroyed.
func (p *Provisioner) removeUnused(ctx context.Context, c driver.Cloner, list []template, pick func(template) bool) (removed []int, err error) {
	users, err := p.templateUsers()
	if err != nil {
		return nil, err
	}
	var all []error
	for _, t := range slices.Clone(list) {
		if t.Phase != phaseReady || !pick(t) || len(users[t.VMID]) > 0 {
			continue
		}
		var isRemoved bool
		var err error
		list, isRemoved, err = p.remove(ctx, c, list, t)
		if isRemoved {
			removed = append(removed, t.VMID)
		}
		if err != nil && !errors.Is(err, driver.ErrInUse) { // by guests that felhom-agentd does not know
			all = append(all, fmt.Errorf("template %d: %w", t.VMID, err))
		}
	}
	return removed, errors.Join(all...)
}

// removeOlder removes the unused templates that t has replaced. What is not
// removed now is named by Templates.
func (p *Provisioner) removeOlder(ctx context.Context, c driver.Cloner, t template) error {
	list, err := p.journals.readTemplates()
	if err != nil {
		return err
	}
	_, err = p.removeUnused(ctx, c, list, func(o template) bool { return o.Storage == t.Storage && o.Image.Compare(t.Image) == goldenid.Older })
	return err
}

// removalWait is how long the removal of a guest waits for the lock of the templates.
const removalWait = 10 * time.Second

// releaseTemplate removes the template of a guest that was removed, if no other
// guest uses it and new guests get another one.
func (p *Provisioner) releaseTemplate(ctx context.Context, vmid int) (err error) {
	c, err := p.cloner()
	if err != nil || vmid == 0 || p.options.Golden == "" {
		return nil //nolint:nilerr // without a cloner there is nothing to remove
	}
	host, err := p.image(ctx, c, p.options.Golden)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, removalWait)
	defer cancel()
	list, unlock, err := p.templates(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	_, err = p.removeUnused(context.WithoutCancel(ctx), c, list, func(t template) bool { return t.VMID == vmid && !t.isOf(host, t.Storage) })
	return err
}
