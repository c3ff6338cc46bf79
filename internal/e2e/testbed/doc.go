// Package testbed owns the real parts that tests, the demo and the benchmarks
// run against: a bridge of its own, a Docker Engine, Debian's docker-registry
// with a password and TLS on the bridge's address, and the sample controller's
// images in it. It makes them, names them in the environment, and takes down
// what it made: also when making them fails halfway, on SIGTERM, and, at the
// next start, after a SIGKILL.
//
// It never touches what it did not make. Nothing of it is reachable from, or
// has a route to, another machine. It is not part of the product: only
// internal/e2e and tests behind the build tag "integration" import it.
package testbed
