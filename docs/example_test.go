package docs_test

import (
	"fmt"
	"strings"

	"github.com/felhom/felhom-golden/docs"
)

func ExampleExampleConfig() {
	fmt.Println(strings.Contains(docs.ExampleConfig(), "\ncontroller_image: "))
	// Output: true
}
