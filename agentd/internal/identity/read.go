package identity

import (
	"crypto/x509"
	"fmt"
	"os"

	"github.com/felhom/felhom-golden/internal/regular"
)

// Certificates returns the certificates below root as they are, for those who
// only look: nothing is made or renewed.
func Certificates(root *os.Root) (current, next *x509.Certificate, err error) {
	for _, slot := range []struct {
		name string
		into **x509.Certificate
	}{{"current.crt", &current}, {"next.crt", &next}} {
		text, err := regular.ReadIn(root, slot.name, maxFileBytes)
		if err != nil {
			return nil, nil, err
		}
		if *slot.into = parseCertificate(text); *slot.into == nil {
			return nil, nil, fmt.Errorf("%s holds no certificate", slot.name)
		}
	}
	return current, next, nil
}
