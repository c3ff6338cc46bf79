package lineage_test

import (
	"fmt"

	"github.com/felhom/felhom-golden/agentd/internal/lineage"
)

func Example() {
	var s lineage.State
	known := map[int]lineage.Known{8200: {Mount: "/var/lib/felhom/mounts/8200"}}
	isElsewhere := func(int) bool { return false }
	s.Compare(map[int]lineage.Guest{8200: {}}, known, isElsewhere)
	for _, e := range s.Compare(map[int]lineage.Guest{8200: {Lock: "rollback"}}, known, isElsewhere) {
		fmt.Println(e.VMID, e.Kind == lineage.RolledBack, e.Detail)
	}
	// Output: 8200 true the hypervisor rolls it back
}
