package containerspec

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ParsePair parses NAME=VALUE, the form of a flag; what is "variable" or "label".
// The error holds no value.
func ParsePair(what, text string) (name, value string, err error) {
	name, value, ok := strings.Cut(text, "=")
	if !ok {
		return "", "", fmt.Errorf("want NAME=VALUE for a %s, and there is no \"=\"", what)
	}
	return name, value, Pair(what, name, value)
}

// ParseEnvFile reads variables from the text of a file in the form of docker run's
// --env-file: NAME=VALUE in each line, lines that are empty or begin with "#" are
// skipped, quotes are part of the value. Later lines win. Problems name the line.
func ParseEnvFile(data []byte) (map[string]string, Problems) {
	if len(data) > MaxBytes {
		return nil, Problems{{Message: fmt.Sprintf("the file has %d bytes and exceeds the limit of %d", len(data), MaxBytes)}}
	}
	env := map[string]string{}
	var problems Problems
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(string(data), "\ufeff")) {
		number++
		line = strings.TrimRight(line, "\r\n")
		text := strings.TrimLeftFunc(line, unicode.IsSpace)
		if text == "" || text[0] == '#' {
			continue
		}
		name, value, err := ParsePair("variable", text)
		switch {
		case err != nil:
		case !utf8.ValidString(text):
			err = errors.New("the line is not UTF-8")
		case strings.ContainsFunc(name, unicode.IsSpace):
			err = errors.New("the name of the variable has a blank; write NAME=VALUE")
		}
		if err != nil {
			problems = append(problems, Problem{Line: number, Message: err.Error()})
			continue
		}
		env[name] = value
	}
	return env, problems
}
