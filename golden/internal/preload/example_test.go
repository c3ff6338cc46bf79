package preload_test

import (
	"os"

	"github.com/felhom/felhom-golden/golden/internal/preload"
)

func ExampleIndex() {
	index, err := preload.Index([]preload.Image{{
		Reference: "registry.example/team/app:v1", File: "app.tar",
		ConfigDigest: "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
	}})
	if err != nil {
		panic(err)
	}
	_, _ = os.Stdout.Write(index)
	// Output:
	// {
	//   "images": [
	//     {
	//       "reference": "registry.example/team/app:v1",
	//       "config_digest": "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
	//       "file": "app.tar"
	//     }
	//   ]
	// }
}
