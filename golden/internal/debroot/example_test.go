package debroot_test

import (
	"context"
	"fmt"
	"os"

	"github.com/felhom/felhom-golden/golden/internal/apt"
	"github.com/felhom/felhom-golden/golden/internal/debroot"
)

// It needs root and Debian's archive, and is compiled only.
func ExampleFill() {
	source := apt.Source{
		URI: "http://mirror.example/debian", Suites: []string{"trixie"}, Components: []string{"main"},
		SignedBy: "/usr/share/keyrings/debian-archive-keyring.gpg",
	}
	err := debroot.Fill(context.Background(), "/var/tmp/root", debroot.Request{
		Suite: "trixie", Arch: "amd64", Sources: []apt.Source{source}, Packages: []string{"docker.io"}, Cache: "/var/tmp/store",
		State: "trixie", Key: "trixie-docker.io",
	}, debroot.Watch{Log: os.Stderr})
	fmt.Println(err)
}
