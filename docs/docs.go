// Package docs has the pages that a program takes something from. Call
// [ExampleConfig].
package docs

import (
	_ "embed"
	"strings"
)

//go:embed agentd.md
var agentd string

// ExampleConfig returns the full agentd.yaml of docs/agentd.md.
func ExampleConfig() string {
	const fence = "```"
	_, rest, _ := strings.Cut(agentd, fence+"yaml\n")
	example, _, _ := strings.Cut(rest, fence)
	return example
}
