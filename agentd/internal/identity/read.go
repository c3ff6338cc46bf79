package identity

import (
	"crypto/x509"
	"errors"
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

// CheckKeys returns what is wrong with the two keys below root, for those who only
// look. No error has bytes of a key.
func CheckKeys(root *os.Root) error {
	var all []error
	for _, slot := range []string{currentSlot, nextSlot} {
		file := slot + keySuffix
		text, err := regular.ReadIn(root, file, maxFileBytes)
		if err == nil {
			_, err = parseKey(file, text)
		}
		all = append(all, err)
	}
	return errors.Join(all...)
}
