package main

import "io/fs"

// guestUnits are the unit files that go into every image; nil is none.
func guestUnits() fs.FS { return nil }
