package localapi

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/regular"
)

// BootstrapFile is where the host puts the file in a guest.
const BootstrapFile = "/etc/felhom-bootstrap/bootstrap.json"

// source is a bootstrap.json that the host may replace.
type source struct {
	file string
	info fs.FileInfo // of what was read last
	data []byte
}

// read returns the options of the file. changed is false if it is the one that
// was read before; its content is compared if always is set or its times differ.
func (s *source) read(always bool) (o Options, changed bool, err error) {
	info, err := os.Stat(s.file)
	if err != nil {
		return o, false, err
	}
	if !always && s.info != nil && os.SameFile(info, s.info) && info.ModTime().Equal(s.info.ModTime()) && info.Size() == s.info.Size() {
		return o, false, nil
	}
	data, err := regular.Read(s.file, contract.MaxBootstrapBytes)
	if err != nil {
		return o, false, err
	}
	if s.data != nil && bytes.Equal(data, s.data) {
		s.info = info
		return o, false, nil
	}
	b, findings := contract.Parse(data)
	if err := findings.Err(); err != nil {
		return o, false, fmt.Errorf("%s: %w", s.file, err)
	}
	s.info, s.data = info, data
	o = Options{Endpoint: b.LocalAPIEndpoint.URL(), Token: b.LocalAPIToken.Reveal()}
	for _, p := range b.LocalAPIPins {
		o.Pins = append(o.Pins, p.String())
	}
	return o, true, nil
}
