package command

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/typo"
)

// line is a command line in its parts.
type line struct {
	path          []*cli.Command // from the program down to the command
	global, flags []string       // flags with their values, in the order given
	args          []string       // the arguments, without the "--" that ended the flags
	help, version bool
	isUnknown     bool // a word of the path names no command
}

// words returns the line in the one order that the library reads: global
// flags, command, its flags, its arguments.
func (l line) words(program string) []string {
	words := slices.Concat([]string{program}, l.global)
	for _, c := range l.path[1:] {
		words = append(words, c.Name)
	}
	return slices.Concat(words, l.flags, []string{"--"}, l.args)
}

// parse splits words into a line. The error is the first mistake in the order
// of the words; parse returns the line with it, because help needs it.
func parse(global []cli.Flag, root *cli.Command, words []string) (line, error) {
	p := parser{global: global, line: line{path: []*cli.Command{root}}, words: words}
	for len(p.words) > 0 {
		word := p.next()
		if word == "--" {
			p.line.args = append(p.line.args, p.words...)
			break
		}
		p.word(word)
	}
	if p.err == nil && !p.line.version {
		p.err = p.checkArgs()
	}
	return p.line, p.err
}

type parser struct {
	global []cli.Flag
	line   line
	words  []string // not read yet
	err    error    // the first one
}

func (p *parser) next() string {
	word := p.words[0]
	p.words = p.words[1:]
	return word
}

func (p *parser) command() *cli.Command { return p.line.path[len(p.line.path)-1] }

func (p *parser) word(word string) {
	switch command := p.command(); {
	case word == "-h" || word == "--help":
		p.line.help = true
	case word == "--version" && len(p.line.path) == 1:
		p.line.version = true
	case len(word) > 1 && word[0] == '-':
		p.flag(word)
	case word == "help" && len(p.line.path) == 1 && !p.line.help:
		p.line.help = true
	case len(command.Subcommands) == 0:
		p.line.args = append(p.line.args, word)
	default:
		p.subcommand(command, word)
	}
}

func (p *parser) subcommand(group *cli.Command, name string) {
	at := slices.IndexFunc(group.Subcommands, func(c *cli.Command) bool { return c.HasName(name) })
	if at >= 0 {
		p.line.path = append(p.line.path, group.Subcommands[at])
		return
	}
	p.line.isUnknown = true
	if p.err != nil {
		return
	}
	hint := p.name() + " --help lists the commands"
	var known []string
	for _, c := range group.Subcommands {
		known = append(known, c.Names()...)
	}
	if meant := closest(name, known); meant != "" {
		hint = fmt.Sprintf("did you mean %q?", p.name()+" "+meant)
	}
	p.fail(fmt.Sprintf("unknown command %q", name), hint)
}

// synonyms are names that other tools have for the commands here.
var synonyms = map[string]string{
	"rm": "remove", "delete": "remove", "del": "remove", "destroy": "remove",
	"ls": "list", "ps": "list", "create": "add", "new": "add", "check": "verify", "validate": "verify", "run": "serve",
}

func closest(name string, known []string) string {
	if meant := synonyms[name]; slices.Contains(known, meant) {
		return meant
	}
	return typo.Closest(name, known)
}

// flag reads word, which starts with a dash, and its value.
func (p *parser) flag(word string) {
	dashed, value, hasValue := strings.Cut(word, "=")
	name := strings.TrimLeft(dashed, "-")
	found, to := find(p.command().Flags, name), &p.line.flags
	if found == nil {
		found, to = find(p.global, name), &p.line.global
	}
	if found == nil {
		p.unknownFlag(dashed)
		return
	}
	_, isBool := found.(*cli.BoolFlag)
	if !isBool && !hasValue {
		if len(p.words) == 0 || p.isFlag(p.words[0]) {
			p.fail("option "+dashed+" needs a value", "")
			return
		}
		value = p.next()
	}
	if isBool && !hasValue {
		value = "true"
	}
	if allowed := mismatch(found, value); allowed != "" {
		p.fail(fmt.Sprintf("option %s: %q is not %s", dashed, value, allowed), "")
		return
	}
	*to = append(*to, "--"+name+"="+value)
}

// isFlag reports whether word is a flag of the command, and so not the value of
// the flag before it.
func (p *parser) isFlag(word string) bool {
	name, _, _ := strings.Cut(word, "=")
	if !strings.HasPrefix(name, "--") {
		return false
	}
	name = name[2:]
	return name == "help" || find(p.command().Flags, name) != nil || find(p.global, name) != nil
}

func (p *parser) unknownFlag(dashed string) {
	known := []string{"help"}
	if len(p.line.path) == 1 {
		known = append(known, "version")
	}
	for _, f := range slices.Concat(p.command().Flags, p.global) {
		known = append(known, f.Names()...)
	}
	hint := ""
	if meant := typo.Closest(strings.TrimLeft(dashed, "-"), known); meant != "" {
		hint = fmt.Sprintf("did you mean --%s?", meant)
	}
	p.fail("unknown option "+dashed, hint)
}

func find(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

// mismatch returns what f wants if value is something else, and "" if it is
// not.
func mismatch(f cli.Flag, value string) string {
	switch f.(type) {
	case *cli.BoolFlag:
		if _, err := strconv.ParseBool(value); err != nil {
			return "true or false"
		}
	case *cli.DurationFlag:
		if _, err := time.ParseDuration(value); err != nil {
			return "a valid duration such as 90s or 5m"
		}
	case *cli.IntFlag, *cli.Int64Flag:
		if _, err := strconv.ParseInt(value, 10, 64); err != nil {
			return "a whole number"
		}
	case *cli.UintFlag, *cli.Uint64Flag:
		if _, err := strconv.ParseUint(value, 10, 64); err != nil {
			return "a whole number of 0 or more"
		}
	}
	return ""
}

func (p *parser) checkArgs() error {
	command := p.command()
	if len(command.Subcommands) > 0 && command.Action == nil {
		p.fail("no command given", p.name()+" --help lists the commands")
		return p.err
	}
	least, most := arguments(command.ArgsUsage)
	switch got := p.line.args; {
	case len(got) < len(least):
		p.fail(missing(least[len(got)]), "")
	case most >= 0 && len(got) > most:
		p.fail(fmt.Sprintf("unexpected argument %q", got[most]), "")
	}
	return p.err
}

// arguments reads an ArgsUsage such as "ROOT [-- COMMAND [ARG...]]": the names
// of the arguments that must be given, and how many may be, -1 for any number.
// A note in parentheses may follow.
func arguments(usage string) (least []string, most int) {
	usage, _, _ = strings.Cut(usage, "(")
	depth := 0
	for word := range strings.FieldsSeq(usage) {
		depth += strings.Count(word, "[")
		name, many := strings.CutSuffix(strings.Trim(word, "[]"), "...")
		switch {
		case name == "--":
		case many:
			most = -1
		case most >= 0:
			most++
		}
		if depth == 0 && name != "--" {
			least = append(least, name)
		}
		depth -= strings.Count(word, "]")
	}
	return least, most
}

// name returns the words that lead to the command.
func (p *parser) name() string { return pathName(p.line.path) }

func pathName(path []*cli.Command) string {
	names := make([]string, len(path))
	for i, c := range path {
		names[i] = c.Name
	}
	return strings.Join(names, " ")
}

// fail keeps the first mistake. An empty hint points to the command's help.
func (p *parser) fail(message, hint string) {
	if p.err != nil {
		return
	}
	if hint == "" {
		hint = "see " + p.name() + " --help"
	}
	p.err = fault.WrapHint(fault.Misuse, fmt.Errorf("%s", message), hint)
}
