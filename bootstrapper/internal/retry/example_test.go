package retry_test

import (
	"context"
	"fmt"
	"time"

	"github.com/felhom/felhom-golden/bootstrapper/internal/retry"
	"github.com/felhom/felhom-golden/bootstrapper/internal/watch"
	"github.com/felhom/felhom-golden/internal/fault"
)

// It waits as long as a real run, and is compiled only.
func Example() {
	mount, err := watch.New("/etc/felhom-bootstrap", "bootstrap.json")
	if err != nil {
		panic(err)
	}
	defer func() { _ = mount.Close() }()
	loop := retry.New(retry.Options{
		Source: mount,
		Run: func(_ context.Context, try retry.Try) retry.End {
			if try.Number < 3 {
				return retry.End{Err: fault.Errorf(fault.NotReady, "the registry does not answer")}
			}
			return retry.End{}
		},
		Waiting: func(end retry.End, pause time.Duration) { fmt.Println(end.Err, "- next try in", pause) },
	})
	fmt.Println(loop.Run(context.Background()))
}
