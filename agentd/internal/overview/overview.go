// Package overview joins what is known about the guests: their records, their
// last reports, and their state in the hypervisor. Call [Source.Rows] for all
// guests or [Source.Row] for one; [Table] prints rows. It changes nothing.
package overview

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/goldenid"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver"
)

// askLimit bounds the wait for the hypervisor: what it has not answered by then
// is left out.
const askLimit = 5 * time.Second

// The words of [Row.State] beside those of the driver.
const (
	Partial   = "partial"   // its provisioning or removal was interrupted
	Gone      = "gone"      // the hypervisor has no such guest
	Elsewhere = "elsewhere" // another node of the cluster has it
)

// The words of [Row.Controller].
const (
	Healthy  = "healthy"
	Degraded = "degraded"
	Starting = "starting"
	Failed   = "failed"
	Stopped  = "stopped"
)

// Row is what is known about one guest. Texts of the guest are as it sent them.
type Row struct {
	Guest      int    `json:"guest"`
	Name       string `json:"name,omitempty"`
	State      string `json:"state,omitempty"` // running, stopped, partial, gone, elsewhere; "" if it is not known
	Unfinished bool   `json:"unfinished,omitempty"`
	Image      string `json:"image,omitempty"`      // the controller's
	Controller string `json:"controller,omitempty"` // "" if the guest never reported
	Class      string `json:"class,omitempty"`      // of the failure
	// Running is the image of the controller before, which runs although the
	// guest's bootstrap failed; "" if the guest did not report one.
	Running    string     `json:"running_image,omitempty"`
	URLs       []string   `json:"urls,omitempty"`    // where the container answers
	Address    string     `json:"address,omitempty"` // of the guest
	IsReported bool       `json:"-"`                 // Address is what the guest says, and may be any machine's
	Since      time.Time  `json:"since,omitzero"`    // when the report arrived
	Step       string     `json:"step,omitempty"`
	StepState  string     `json:"step_state,omitempty"`
	Result     string     `json:"result,omitempty"`
	Sequence   uint64     `json:"sequence,omitempty"`
	Message    string     `json:"message,omitempty"`
	Hint       string     `json:"hint,omitempty"`
	Version    string     `json:"bootstrap_version,omitempty"`
	Console    string     `json:"console_file,omitempty"`
	Node       string     `json:"node,omitempty"` // of the cluster, if the guest is elsewhere
	Added      time.Time  `json:"added,omitzero"`
	TokenSeen  *time.Time `json:"token_first_used,omitempty"`
	Revoked    bool       `json:"token_revoked,omitempty"` // the guest has no token
	Ended      string     `json:"token_ended,omitempty"`   // the guest has none and is to get one: why it has not
	Golden     string     `json:"golden,omitempty"`
	// GoldenMade is when the guest's golden image was made, GoldenAge how that
	// relates to the image that new guests are made from.
	GoldenMade time.Time    `json:"golden_made,omitzero"`
	GoldenAge  goldenid.Age `json:"golden_age,omitempty"`
	// Now is the last report, if the row shows an earlier failure.
	Now     string   `json:"now,omitempty"`
	Rollout *Rollout `json:"rollout,omitempty"` // that has not ended, and has this guest
	// Unread is set if the guest has not used its token for an hour or more, and
	// had another one before.
	Unread *Unread `json:"token_unread,omitempty"`
	// Detached is what the guest was detached for; guest attach ends it.
	Detached string `json:"detached_for,omitempty"`

	image, host goldenid.ID // of the guest and of its host
}

// Unread is a token that is in the guest's mount, and that the guest has not used.
type Unread struct {
	Minted     time.Time `json:"minted"`
	ValidUntil time.Time `json:"token_before_valid_until"` // the one that the guest uses
}

// unreadAfter is how old a token is before its guest is worth a word: a guest
// that runs reads its mount within seconds.
const unreadAfter = time.Hour

func unread(r guests.Record, profile contract.Profile, now time.Time) *Unread {
	if r.Asked != nil && r.Asked.Profile != "" {
		profile = r.Asked.Profile
	}
	isOver := r.Previous != nil && r.Previous.ValidUntil != nil && !now.Before(*r.Previous.ValidUntil)
	// What runs in a plain guest keeps no token.
	if profile == contract.ProfilePlain || r.Previous == nil || r.Previous.ValidUntil == nil || r.Current.FirstUsed != nil ||
		!isOver && now.Sub(r.Current.Minted) < unreadAfter {
		return nil
	}
	return &Unread{r.Current.Minted, *r.Previous.ValidUntil}
}

func (u Unread) text(now time.Time) string {
	text := "it has not used its token of " + u.Minted.Format(time.DateOnly)
	if now.Before(u.ValidUntil) {
		return text + "; the one before is still valid"
	}
	return text + "; the one before has ended, and it is served again once it reads its mount"
}

// Source is where rows come from.
type Source struct {
	Store      *guests.Store
	StateDir   string
	Image      string            // of guests without another one
	Profile    contract.Profile  // likewise
	Hypervisor driver.Hypervisor // nil: it is not asked
	Golden     *goldenid.Host    // that new guests are made from; nil: there is none
	// Elsewhere returns the node of the cluster that has a guest which this node
	// does not have, "" for none. It may be nil.
	Elsewhere func(vmid int) string
	// MountFault returns what is wrong with the mount of a guest. It may be nil.
	MountFault func(vmid int) error
}

// Rows returns all guests by VMID, and the files that cannot be read by name: a
// damaged record does not hide the other guests. The rollout is not in the rows:
// [Rollout.Join] adds it.
func (s Source) Rows(ctx context.Context) ([]Row, map[string]error, error) {
	records, broken, err := s.Store.List()
	if err != nil {
		return nil, nil, err
	}
	if broken == nil {
		broken = map[string]error{}
	}
	unfinished, err := provision.Unfinished(s.StateDir)
	if err != nil {
		return nil, nil, err
	}
	rows := make([]Row, 0, len(records))
	for _, r := range records {
		row, err := s.row(r)
		if err != nil {
			broken["reports of "+strconv.Itoa(r.VMID)] = err
		}
		row.Unfinished = unfinished[r.VMID]
		delete(unfinished, r.VMID)
		rows = append(rows, row)
	}
	for _, vmid := range slices.Sorted(maps.Keys(unfinished)) {
		rows = append(rows, Row{Guest: vmid, Unfinished: true})
	}
	slices.SortFunc(rows, func(a, b Row) int { return cmp.Compare(a.Guest, b.Guest) })
	s.ask(ctx, rows)
	return rows, broken, nil
}

// Row returns guest vmid, or [guests.ErrNotFound].
func (s Source) Row(ctx context.Context, vmid int) (Row, error) {
	unfinished, err := provision.Unfinished(s.StateDir)
	if err != nil {
		return Row{}, err
	}
	row := Row{Guest: vmid}
	record, err := s.Store.Get(vmid)
	switch {
	case errors.Is(err, guests.ErrNotFound) && unfinished[vmid]:
	case err != nil:
		return Row{}, err
	default:
		// The rest is useful without the reports.
		if row, err = s.row(record); err != nil {
			row.Message, row.Hint = "its reports cannot be read: "+err.Error(), "restore the file, or remove it"
		}
	}
	row.Unfinished = unfinished[vmid]
	rows := []Row{row}
	if r, err := s.Rollout(); err == nil { // a journal that cannot be read is named by the list
		r.Join(rows)
	}
	s.ask(ctx, rows)
	return rows[0], nil
}

func (s Source) row(r guests.Record) (Row, error) {
	row := Row{
		Guest: r.VMID, Image: cmp.Or(r.ControllerImage, s.Image), Added: r.Added, TokenSeen: r.Current.FirstUsed,
		Revoked: r.IsRevoked(), Ended: s.ended(r), Unread: unread(r, s.Profile, time.Now()),
	}
	if r.Detached != nil {
		row.Detached = r.Detached.For
	}
	if made := r.Provisioned; made != nil {
		row.Golden, row.image = made.Golden, goldenid.Named(made.Golden)
		if made.Image != nil {
			row.image = *made.Image
		}
		row.GoldenMade = row.image.Made
	}
	p, err := s.Store.Progress(r.VMID)
	if errors.Is(err, guests.ErrNotFound) {
		return row, nil
	}
	if err == nil {
		row.report(p)
	}
	return row, err
}

// report sets what the guest reported: the last failure without a later
// success, or else the last report.
func (row *Row) report(p guests.Progress) {
	last, ok := p.Last()
	if p.Failure != nil {
		if now := last.Report; ok && now.State == contract.StateStarted && now.Message != "" && (now.Run != p.Failure.Report.Run || now.Sequence > p.Failure.Report.Sequence) {
			row.Now = string(now.Step) + ": " + now.Message
		}
		last, ok = *p.Failure, true
	}
	if !ok {
		return
	}
	r := last.Report
	row.Since, row.Step, row.StepState, row.Result = last.Received, string(r.Step), string(r.State), string(r.Result)
	row.Sequence, row.Message, row.Hint, row.Version = p.Sequence, r.Message, r.Hint, r.Version
	switch {
	case r.State == contract.StateFailed:
		row.Controller, row.Class = Failed, r.Class
	case r.Step == contract.StepRun && r.State == contract.StateDone:
		row.Controller = Healthy
	case r.Step == contract.StepRun && r.State == contract.StateDegraded:
		row.Controller = Degraded
	default:
		row.Controller = Starting
	}
	for _, s := range p.Steps {
		if s.Report.Step == contract.StepRun && row.Controller == Failed {
			row.Running = contract.StillRunning(s.Report.Message)
		}
		if s.Report.Step == contract.StepReady && s.Report.State == contract.StateDone {
			row.URLs = provision.ReportedURLs(s.Report.Message)
		}
	}
}

// ask adds the state in the hypervisor, and the age of golden images. Rows are
// useful without them, so that nothing here is an error.
func (s Source) ask(ctx context.Context, rows []Row) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	host := s.Golden.ID(ctx)
	for i := range rows {
		rows[i].GoldenAge, rows[i].host = rows[i].image.Compare(host), host
	}
	if s.Hypervisor != nil {
		var all sync.WaitGroup
		next := make(chan *Row)
		for range min(len(rows), 4) {
			all.Go(func() {
				for row := range next {
					s.askOne(ctx, row)
				}
			})
		}
		for i := range rows {
			next <- &rows[i]
		}
		close(next)
		all.Wait()
	}
	for i := range rows {
		rows[i].settle()
	}
}

func (s Source) askOne(ctx context.Context, row *Row) {
	g, err := s.Hypervisor.Guest(ctx, row.Guest)
	switch {
	case errors.Is(err, driver.ErrNotFound):
		row.State = Gone
		if s.Elsewhere != nil {
			row.Node = s.Elsewhere(row.Guest)
		}
		if row.Node != "" {
			row.State = Elsewhere
		}
		return
	case err != nil:
		return
	}
	row.Name, row.State = g.Hostname, string(g.State)
	switch {
	case g.Net.IP.IsFixed():
		row.Address = g.Net.IP.Prefix.Addr().String()
	case g.Net.IP6.IsFixed():
		row.Address = g.Net.IP6.Prefix.Addr().String()
	}
	if g.Partial {
		row.State = Partial
	}
	if st, err := s.Hypervisor.Status(ctx, row.Guest); err == nil {
		row.Console = st.ConsoleFile
	}
}

// settle makes the words of one row consistent.
func (row *Row) settle() {
	if row.Unfinished {
		row.State = Partial
	}
	if row.State == Elsewhere { // what this node knows is of the time before
		row.URLs, row.Controller, row.Class, row.Now = nil, "", "", ""
		row.Ended = "" // the daemon of its node, which has its mount, gives it a new token
	}
	if row.State == string(driver.Stopped) || row.State == Gone {
		row.URLs = nil
		if row.Controller != Failed {
			row.Controller = Stopped
		}
	}
	if row.Address == "" && len(row.URLs) > 0 {
		row.Address, row.IsReported = hostOf(row.URLs[0]), true
	}
}

// hostOf returns the address in a URL that ReportedURLs returned.
func hostOf(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	rest = strings.TrimSuffix(rest, "/")
	return strings.Trim(rest[:max(strings.LastIndex(rest, ":"), 0)], "[]")
}

// Text returns what the guest is doing, or what is wrong with it, in a sentence.
func (row Row) Text() string {
	text := ""
	switch {
	case row.Step == "" || row.Controller == Healthy && row.Message == "":
	case row.Step == string(contract.StepRun):
		text = row.Message
	case row.Message == "":
		text = row.Step
	default:
		text = row.Step + ": " + row.Message
	}
	if row.Hint != "" && row.Controller != Healthy {
		text += " (hint: " + row.Hint + ")"
	}
	if row.Running != "" && row.Step != string(contract.StepRun) {
		text = contract.StillRuns(row.Running, text)
	}
	if row.Now != "" {
		text += "; now " + row.Now
	}
	before := ""
	switch {
	case row.Unfinished:
		before = "its provisioning or removal was interrupted"
	case row.Revoked:
		before = "its tokens were revoked"
	case row.Ended != "":
		before = row.Ended
	case row.Detached != "":
		before = "it was detached for a " + row.Detached + " (felhom-agentd guest attach " + strconv.Itoa(row.Guest) + ")"
	case row.State == string(driver.Stopped):
		before = "the guest is stopped"
		if row.Console != "" {
			before += "; its console: " + row.Console
		}
	case row.State == Gone:
		before = "the hypervisor has no such guest"
	case row.State == Elsewhere:
		return "the guest is on node " + row.Node + " of the cluster, where it reports"
	}
	if row.GoldenAge == goldenid.Older {
		before = strings.TrimPrefix(before+"; its golden image is of "+row.GoldenMade.Format(time.DateOnly)+", this host's of "+row.host.Made.Format(time.DateOnly), "; ")
	}
	if row.Unread != nil {
		before = strings.TrimPrefix(before+"; "+row.Unread.text(time.Now()), "; ")
	}
	if before != "" && text != "" {
		before += "; "
	}
	return before + text
}
