package pct_test

import (
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/driver/pct/pcttest"
)

// PVE lists a task for some seconds after its end: the restore of a template is listed
// when the template is finished, and the last clone of it when it is removed.
func TestTemplateWhileEndedTasksAreListed(t *testing.T) {
	n, _, of := withTemplate(t, "lvmthin")
	n.SetConfig(templateID, strings.Replace(n.Config(templateID), "protection: 1\n", "", 1))
	o := options(n)
	o.Settle = time.Minute
	d := open(t, o)
	listed := func(kind string, work func() error) {
		n.SetTasks(pcttest.Task{PID: 7, Type: kind, ID: "9900", Status: "RUNNING"})
		isGone := make(chan struct{})
		time.AfterFunc(50*time.Millisecond, func() {
			defer close(isGone)
			n.SetTasks()
		})
		err := work()
		<-isGone
		if err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	listed("vzrestore", func() error { return d.FinishTemplate(t.Context(), templateID, ofTemplate) })
	listed("vzclone", func() error { return d.RemoveTemplate(t.Context(), templateID, ofTemplate, of.Storage) })
}
