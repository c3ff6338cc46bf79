package bootstrap_test

import (
	"context"
	"fmt"

	"github.com/felhom/felhom-golden/bootstrapper/internal/bootstrap"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver/docker"
	"github.com/felhom/felhom-golden/internal/fault"
)

type printer struct{}

func (printer) Started(step contract.Step)           { fmt.Println(step, "started") }
func (printer) Note(step contract.Step, text string) { fmt.Println(step, text) }
func (printer) Bytes(contract.Step, int64, int64)    {}
func (printer) Ended(r bootstrap.StepResult)         { fmt.Println(r.Step, r.Outcome, r.Message) }

// It needs an engine and a config mount, and is compiled only.
func Example() {
	engine, err := docker.New("unix:///run/docker.sock")
	if err != nil {
		panic(err)
	}
	defer func() { _ = engine.Close() }()
	outcomes, err := bootstrap.Run(context.Background(), bootstrap.Options{Socket: "/run/docker.sock"}, engine, printer{})
	if err != nil {
		fmt.Println(err, "hint:", fault.HintOf(err))
		return
	}
	fmt.Println("running:", outcomes.Container)
}
