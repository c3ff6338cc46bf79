package audit_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/audit"
)

func Example() {
	dir, err := os.MkdirTemp("", "audit")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	trail, err := audit.Open(dir, time.Now)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	err = trail.Add(ctx, audit.Event{Kind: audit.TokenMinted, Guest: 8200}, audit.Event{Kind: audit.TokenRevoked, Guest: 8200})
	err = errors.Join(err, trail.Close())

	report, verifyErr := audit.Verify(ctx, dir)
	fmt.Println(report.Lines, report.Findings, errors.Join(err, verifyErr))
	// Output: 2 [] <nil>
}
