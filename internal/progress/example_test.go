package progress_test

import (
	"os"
	"time"

	"github.com/felhom/felhom-golden/internal/progress"
)

func Example() {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	p := progress.New(os.Stdout, progress.Options{Now: func() time.Time { return now }})
	stage := p.Start("pack")
	stage.Bytes(4<<20, 8<<20)
	now = now.Add(2 * time.Second)
	stage.Done("done", progress.Bytes(8<<20))
	p.Line("warning: one package is held back")
	// Output:
	// pack       done            2s  8.0 MiB
	// warning: one package is held back
}
