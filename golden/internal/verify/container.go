package verify

import (
	"strings"

	"github.com/felhom/felhom-golden/internal/containerspec"
)

// containerFile has the settings of the controller's container.
const containerFile = "etc/felhom/controller-container.yaml"

// checkContainer refuses what the guest would refuse, by the guest's own code.
func checkContainer(c *check) {
	text, ok := c.Text(containerFile)
	if !ok {
		if e, _ := c.Lookup(containerFile); e != nil {
			c.fail(containerFile, "is not a small regular file, want one that the guest can read")
		}
		return
	}
	if _, err := containerspec.Parse("line", []byte(text)); err != nil {
		for line := range strings.Lines(err.Error()) {
			c.fail(containerFile, "%s", strings.TrimSpace(line))
		}
	}
}

// checkContainerSecrets warns of secrets that every copy of the image would have.
func checkContainerSecrets(c *check) {
	text, _ := c.Text(containerFile)
	settings, err := containerspec.Parse("", []byte(text))
	if err != nil {
		return // checkContainer says so
	}
	for _, path := range containerspec.SecretLooking(settings) {
		c.fail(containerFile, "%s %s", path, containerspec.SecretAdvice)
	}
}
