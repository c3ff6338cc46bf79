package provision_test

import (
	"fmt"

	"github.com/felhom/felhom-golden/agentd/internal/provision"
)

func ExampleReportedURLs() {
	fmt.Println(provision.ReportedURLs("healthy: http://192.0.2.7:9001/"))
	fmt.Println(provision.ReportedURLs("healthy: http://elsewhere.example/")) // a guest can write anything
	// Output:
	// [http://192.0.2.7:9001/]
	// []
}
