package testbed_test

import (
	"context"
	"fmt"

	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

// It needs root and installs Debian packages, and is compiled only.
func Example() {
	bed, err := testbed.Start(context.Background(), testbed.Options{Images: []string{"v1"}})
	if err != nil {
		panic(err)
	}
	defer func() { _ = bed.Close() }()
	image, err := bed.Image("v1")
	fmt.Println(bed.Engine, bed.DockerHost, image.Reference, err)
}
