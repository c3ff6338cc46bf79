package apt_test

import (
	"os"

	"github.com/felhom/felhom-golden/golden/internal/apt"
)

func ExampleFormat() {
	_, _ = os.Stdout.Write(apt.Format([]apt.Source{{
		URI: "https://mirror.example/debian", Suites: []string{"trixie", "trixie-updates"}, Components: []string{"main"},
		SignedBy: "/usr/share/keyrings/debian-archive-keyring.gpg",
	}}))
	// Output:
	// Types: deb
	// URIs: https://mirror.example/debian
	// Suites: trixie trixie-updates
	// Components: main
	// Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
}
