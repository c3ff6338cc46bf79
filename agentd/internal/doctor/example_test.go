package doctor_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/doctor"
	"github.com/felhom/felhom-golden/internal/checks"
)

func ExampleBroken() {
	list := doctor.Broken(errors.New("agentd.yaml:1:1: error: controller_image: is missing"))
	report := checks.Run(context.Background(), list, time.Minute, nil)
	fmt.Println(report.Err() != nil)
	// Output: true
}
