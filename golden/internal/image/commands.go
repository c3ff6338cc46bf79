package image

import (
	"fmt"
	"slices"
	"strings"
)

// Limits for all commands of one unit after variables are expanded. A short name can stand for
// a long value, and a unit can name one file many times.
const (
	maxCommandWords = 1 << 16
	maxCommandBytes = 2 << 20
	maxVariables    = 1 << 20 // bytes of the files of variables
)

// Command is one command line of a unit.
type Command struct {
	Argv    []string // the program and its arguments, with the values of variables; never empty
	MayFail bool     // systemd ignores its failure
}

// Commands returns the command lines of some keys of the section Service, in their order, as
// systemd.service(5) describes them. Two things are not handled: backslash escapes in words, and
// ";" between two commands. read returns the text of an EnvironmentFile, or "" if it does not
// exist. It is an error if the commands exceed maxCommandWords or maxCommandBytes, or the files
// maxVariables.
func (f UnitFile) Commands(read func(name string) string, keys ...string) ([]Command, error) {
	env, err := f.variables(read)
	if err != nil {
		return nil, err
	}
	var list []Command
	words, size := 0, 0
	for _, line := range f.All("Service", keys...) {
		rest := strings.TrimLeft(line, commandPrefixes)
		prefix := line[:len(line)-len(rest)]
		if len(rest) > maxCommandBytes {
			return nil, errTooLong
		}
		argv := splitWords(rest)
		if strings.Contains(prefix, "@") && len(argv) > 1 {
			argv = slices.Delete(argv, 1, 2) // the name that the program sees
		}
		c := Command{MayFail: strings.Contains(prefix, "-")}
		for i, word := range argv {
			add := []string{word}
			if i > 0 && !strings.Contains(prefix, ":") { // the program itself is never a variable
				if add, err = env.expand(word, maxCommandBytes-size); err != nil {
					return nil, err
				}
			}
			words += len(add)
			for _, w := range add {
				size += len(w)
			}
			if words > maxCommandWords || size > maxCommandBytes {
				return nil, errTooLong
			}
			c.Argv = append(c.Argv, add...)
		}
		if len(c.Argv) > 0 {
			list = append(list, c)
		}
	}
	return list, nil
}

// Program returns the program that the first ExecStart names, without its prefixes, or "".
func (f UnitFile) Program() string {
	for _, line := range f.All("Service", "ExecStart") {
		if words := splitWords(strings.TrimLeft(line, commandPrefixes)); len(words) > 0 {
			return words[0]
		}
	}
	return ""
}

var errTooLong = fmt.Errorf("has more than %d words or %d bytes of commands", maxCommandWords, maxCommandBytes)

// commandPrefixes can be in front of the program (systemd.service(5), "Special executable prefixes").
const commandPrefixes = "@-:+!|"

// variables are those of a unit by name.
type variables map[string]variable

type variable struct {
	value string
	words []string // value split into words; split once, because a command can use it many times
}

func (f UnitFile) variables(read func(name string) string) (variables, error) {
	env := variables{}
	set := func(name, value string) { env[name] = variable{value, splitWords(value)} }
	for _, line := range f.All("Service", "Environment") {
		for _, word := range splitWords(line) {
			if name, value, ok := strings.Cut(word, "="); ok {
				set(name, value)
			}
		}
	}
	size := 0
	for _, name := range f.All("Service", "EnvironmentFile") { // they win over Environment
		text := read(strings.TrimPrefix(name, "-"))
		if size += len(text); size > maxVariables {
			return nil, fmt.Errorf("has more than %d bytes of variables for its commands", maxVariables)
		}
		for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", "")) {
			line = strings.TrimSpace(line)
			if name, value, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, ";") {
				set(strings.TrimSpace(name), strings.Join(splitWords(value), " "))
			}
		}
	}
	return env, nil
}

// expand returns what systemd makes of one word: the words of the value for $NAME alone, the
// value for each ${NAME}, and $ for $$. A name without a value gives nothing. It is an error
// if that takes more than limit bytes.
func (env variables) expand(word string, limit int) ([]string, error) {
	if name, ok := strings.CutPrefix(word, "$"); ok && !strings.HasPrefix(name, "{") && !strings.HasPrefix(name, "$") {
		return env[name].words, nil
	}
	if !strings.Contains(word, "$") {
		return []string{word}, nil
	}
	var b strings.Builder
	for {
		plain, rest, found := strings.Cut(word, "$")
		b.WriteString(plain)
		if !found {
			return []string{b.String()}, nil
		}
		// The next $ ends the search as well: a long word is not searched again from each.
		if end := strings.IndexAny(rest, "}$"); strings.HasPrefix(rest, "{") && end > 0 && rest[end] == '}' {
			b.WriteString(env[rest[1:end]].value)
			word = rest[end+1:]
		} else {
			b.WriteByte('$')
			word = strings.TrimPrefix(rest, "$")
		}
		if b.Len() > limit {
			return nil, errTooLong
		}
	}
}

// splitWords splits a line of a unit into words; quotes hold one together.
func splitWords(line string) []string {
	var list []string
	var word []byte
	quote, in := byte(0), false
	for i := range len(line) {
		c := line[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, in = c, true
		case quote == 0 && (c == ' ' || c == '\t'):
			if in {
				list = append(list, string(word))
			}
			word, in = word[:0], false
		default:
			word, in = append(word, c), true
		}
	}
	if in {
		list = append(list, string(word))
	}
	return list
}
