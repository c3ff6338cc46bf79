package jsondoc_test

import (
	"fmt"
	"net/netip"

	"github.com/felhom/felhom-golden/internal/jsondoc"
)

func Example() {
	data := []byte(`{
  "hots": "192.0.2.7",
  "port": 70000
}
`)
	doc := jsondoc.Read(data, jsondoc.Format{
		Name: "file", MaxBytes: 1 << 10,
		Public: func(path, _ string) bool { return path == "port" },
	})
	if o := doc.Root([]string{"host", "port"}); o != nil {
		o.Need("host", "it is where the server listens")
		host, _ := jsondoc.Text(o, "host", "host", netip.ParseAddr)
		port := o.IntIn("port", "port", 1, 65535)
		fmt.Println(host.IsValid(), port)
	}
	findings := doc.Findings()
	fmt.Println(findings.Err())
	fmt.Print(findings.Format("server.json"))
	// Output:
	// false 0
	// line 2, column 3: hots: unknown key; did you mean "host"? (and 1 more error)
	// server.json:2:3: error: hots: unknown key; did you mean "host"?
	//       "hots": …,
	//       ^
	// server.json:3:11: error: port: write a whole number from 1 to 65535, not 70000
	//       "port": 70000
	//               ^
}
