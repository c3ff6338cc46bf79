// Package archtest holds, as tests, the rules of docs/design.md that no
// compiler checks: who may import whom on the transitive list, that each
// package says what it is for, and that JSON in the docs is JSON. It has no code.
package archtest
