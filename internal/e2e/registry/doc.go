// Package registry has the tests that guests pull private images through
// felhom-agentd: with Debian's registry behind a password and behind a token
// server, the product's own programs, and the bed's engine with its image store.
package registry
