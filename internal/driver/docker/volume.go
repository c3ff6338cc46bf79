package docker

import (
	"fmt"
	"strings"

	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/volume/mounts"
)

// PrefixBind checks a volume in Docker's short syntax with Docker's own parser
// and maps the source of a bind through source. Named volumes stay as they are.
func PrefixBind(text string, source func(path string) string) (string, error) {
	point, err := mounts.NewLinuxParser().ParseMountRaw(text, "")
	if err != nil {
		return "", fmt.Errorf("volume %q: %w", text, err)
	}
	if point.Type != mount.TypeBind {
		return text, nil
	}
	_, rest, _ := strings.Cut(text, ":")
	return source(point.Source) + ":" + rest, nil
}
