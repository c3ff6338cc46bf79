package main

import (
	"fmt"
	"regexp"
)

// version is a version in the forms that its readers want.
type version struct {
	text   string // without the v, for names of files
	debian string // in Debian's order: what comes before a release sorts before it, what comes after it sorts after it
}

// described is a tag, or what git describe makes of one: vX.Y.Z[-PRERELEASE][-COMMITS-gHASH][-dirty].
var described = regexp.MustCompile(`^v(\d+\.\d+\.\d+)(?:-((?:alpha|beta|rc)\.?\d+))?(?:-(\d+)-g([0-9a-f]+))?(-dirty)?$`)

func parseVersion(text string) (version, error) {
	m := described.FindStringSubmatch(text)
	if m == nil {
		return version{}, fmt.Errorf("version: want vX.Y.Z, vX.Y.Z-rc1 or what git describe makes of such a tag, got %q\n"+
			"release: hint: tag the commit, or give one: make release VERSION=v0.2.0", text)
	}
	v := version{text: text[1:], debian: m[1]}
	if m[2] != "" {
		v.debian += "~" + m[2]
	}
	if m[3] != "" {
		v.debian += "+" + m[3] + ".g" + m[4]
	}
	if m[5] != "" {
		v.debian += "+dirty"
	}
	return v, nil
}
