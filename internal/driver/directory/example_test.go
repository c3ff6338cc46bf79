package directory_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/directory"
)

func Example() {
	guests := directory.New("/nonexistent/guests")
	_, err := guests.Storage(context.Background(), 8200)
	fmt.Println(err, errors.Is(err, driver.ErrNotFound))
	// Output:
	// guest 8200: no such guest true
}
