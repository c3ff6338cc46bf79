// Command standin is the program of a test's Proxmox VE node that it is started
// as: pct, pvesh, pvesm or dpkg-query.
package main

import (
	"os"

	"github.com/felhom/felhom-golden/internal/driver/pct/pcttest"
)

func main() { os.Exit(pcttest.Run()) }
