package rollout_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/agentd/internal/rollout"
	"github.com/felhom/felhom-golden/internal/driver"
)

// willing changes guests, each of which is up at once.
type willing struct{}

func (willing) Check(context.Context, provision.Job) (provision.Outcome, error) {
	return provision.Updated, nil
}

func (willing) Provision(context.Context, provision.Job) (provision.Result, error) {
	return provision.Result{Outcome: provision.Updated, Guest: driver.Guest{State: driver.Running}}, nil
}

func (willing) Wait(context.Context, int, provision.Result, time.Duration) error { return nil }

func (willing) LastRun(int) (string, error) { return "", nil }

func ExampleRollout_Begin() {
	dir, err := os.MkdirTemp("", "rollout")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	r := rollout.New(rollout.Options{StateDir: dir, Provisioner: willing{}, Now: time.Now})
	status, err := r.Begin(context.Background(), rollout.Plan{
		Image: "registry.example/team/app:1.1", Guests: []int{8200, 8201, 8202}, Wave: 2, Wait: time.Minute,
	})
	fmt.Println(status.State, status.Healthy, err)
	// Output: done 3 <nil>
}
