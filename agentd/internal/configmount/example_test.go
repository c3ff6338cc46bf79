package configmount_test

import (
	"fmt"

	"github.com/felhom/felhom-golden/agentd/internal/configmount"
	"github.com/felhom/felhom-golden/internal/driver"
)

// It needs root, and is compiled only.
func Example() {
	mounts := configmount.New("/var/lib/felhom/mounts", configmount.OwnerHost)
	root := driver.IDs{UID: 100000, GID: 100000} // the guest's root on this host
	if err := mounts.Put(8200, root, configmount.BootstrapFile, []byte("{}\n")); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("mount", mounts.Path(8200), "at", configmount.Target)
}
