package pin_test

import (
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/felhom/felhom-golden/internal/pin"
)

func ExampleSet_Verify() {
	p, err := pin.ParseSPKI("uSSmg6cuEJj9CF7hiBdQ5OEJKOs0NszXJXjRNBwq8DM=")
	if err != nil {
		panic(err)
	}
	pins := pin.Set{p} // the current pin, and the next one if there is one
	fmt.Println(pins.Curl())

	// Verify is made for tls.Config.VerifyConnection; a server without a certificate is refused.
	err = pins.Verify(tls.ConnectionState{})
	fmt.Println(errors.Is(err, pin.ErrNoCertificate))
	// Output:
	// sha256//uSSmg6cuEJj9CF7hiBdQ5OEJKOs0NszXJXjRNBwq8DM=
	// true
}
