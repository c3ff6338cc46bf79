package rules

import (
	"fmt"
	"strconv"

	"github.com/docker/go-units"
)

// LogProblem returns what lets the logs of containers fill the disk, or keeps
// containers from starting, in log-driver and log-opts of daemon.json. It returns
// "" if the logs are bounded. key is the option at fault, or "". dockerd itself
// looks at these values with each container, not when it validates.
func LogProblem(driver string, opts map[string]any) (key, problem string) {
	parse := units.RAMInBytes
	switch driver {
	case "", "json-file":
		if opts["max-size"] == nil {
			return "", fmt.Sprintf("log-driver %q without log-opts max-size, want a limit: containers' logs fill the disk", "json-file")
		}
		parse = units.FromHumanSize
	case "local": // bounded by its own defaults
	default:
		return "", "" // keeps nothing on the disk, or what journald bounds
	}
	if v, ok := opts["max-size"]; ok {
		text, isText := v.(string)
		if n, err := parse(text); !isText || err != nil || n <= 0 {
			return "max-size", fmt.Sprintf("log-opts max-size %v: want a size such as \"10m\"", v)
		}
	}
	if v, ok := opts["max-file"]; ok {
		text, isText := v.(string)
		if n, err := strconv.Atoi(text); !isText || err != nil || n < 1 {
			return "max-file", fmt.Sprintf("log-opts max-file %v: want a number of files such as \"3\"", v)
		}
	}
	return "", ""
}
