package hostapi_test

import (
	"fmt"
	"time"

	"github.com/felhom/felhom-golden/bootstrapper/internal/hostapi"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/localapi"
)

// It needs a host, and is compiled only.
func Example() {
	reporter := hostapi.NewReporter(hostapi.BacklogFile, "1.0")
	reporter.Begin(&localapi.Client{}, "run-1") // with endpoint, pins and token of bootstrap.json
	reporter.Send(contract.Report{Step: contract.StepImage, State: contract.StateStarted})
	reporter.Send(contract.Report{Step: contract.StepImage, State: contract.StateDone, Result: contract.ResultUnchanged})
	undelivered, err := reporter.Close(3 * time.Second)
	fmt.Println(undelivered, "states are kept for the next run", err)
}
