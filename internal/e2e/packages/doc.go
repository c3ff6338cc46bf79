// Package packages tests the packages for Debian with apt, in real guests with
// systemd: "make test-packages" runs it. A guest has no way to the outside;
// what the packages depend on is in its root file system.
package packages
