// Package archtest has the rules of docs/design.md that no compiler checks, as
// tests: who may import whom on the transitive list, that each package has a doc,
// and that JSON in the docs is valid. It has no code.
package archtest
