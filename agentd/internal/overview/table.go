package overview

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/felhom/felhom-golden/internal/termtext"
)

// The widths of columns whose texts come from a guest or an operator.
const (
	maxName    = 16
	maxImage   = 24
	maxMessage = 300
)

// Table writes rows as a table whose lines have at most width columns; 0 sets
// no limit. No text of a guest acts on the terminal.
func Table(w io.Writer, rows []Row, now time.Time, width int) error {
	var b bytes.Buffer
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "VMID\tNAME\tSTATE\tIMAGE\tCONTROLLER\tADDRESS\tSINCE\tMESSAGE")
	for _, r := range rows {
		controller := r.Controller
		if r.Class != "" && r.Controller == Failed {
			controller += ": " + r.Class
		}
		since := ""
		if !r.Since.IsZero() {
			since = Age(now.Sub(r.Since))
		}
		cells := []string{
			strconv.Itoa(r.Guest), cell(r.Name, maxName), cell(r.State, 0), cell(shortImage(r.Image), maxImage),
			cell(controller, maxImage), cell(where(r), 0), cell(since, 0), cell(r.Text(), maxMessage),
		}
		fmt.Fprintln(table, strings.Join(cells, "\t"))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(b.String()) {
		line = strings.TrimRight(line, " \n")
		if width > 0 {
			line = termtext.Cut(line, width)
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

func cell(text string, limit int) string {
	return cmp.Or(termtext.Line(termtext.Name(text), limit), "-")
}

// where returns the first URL without its scheme, or the address.
func where(r Row) string {
	if len(r.URLs) == 0 {
		return r.Address
	}
	_, rest, _ := strings.Cut(r.URLs[0], "://")
	return strings.TrimSuffix(rest, "/")
}

// shortImage returns the last part of a reference, without its digest.
func shortImage(ref string) string {
	ref, _, _ = strings.Cut(ref, "@")
	return strings.TrimPrefix(path.Base(ref), ".")
}

// Age returns a duration in one unit, such as 3h.
func Age(d time.Duration) string {
	switch {
	case d < 0:
		return "in the future"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
