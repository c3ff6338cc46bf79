package engineapi_test

import (
	"context"
	"fmt"

	"github.com/felhom/felhom-golden/internal/e2e/engineapi"
)

// It needs an engine, and is compiled only.
func Example() {
	engine, err := engineapi.New("unix:///run/docker.sock")
	if err != nil {
		panic(err)
	}
	defer engine.Close()
	ids, err := engine.Labelled(context.Background(), "org.felhom.bootstrap=controller")
	fmt.Println(ids, err)
}
