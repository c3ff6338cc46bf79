package command

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/urfave/cli/v2"
)

// point is a place on a command line: the program, a group or a command, and
// what may follow it.
type point struct {
	path     string      // the commands that lead here, without the program
	commands [][2]string // name and what it does
	flags    []completedFlag
	args     []string // kind of each argument; the last one may repeat
	many     bool
}

type completedFlag struct {
	name, text string
	kind       string // of its value; "" is a flag without one
}

// Kinds of values. The scripts know how to complete each of them.
const (
	kindFile      = "file"
	kindDirectory = "directory"
	kindArchive   = "archive"
	kindGuest     = "guest" // the guests that the daemon knows
	kindOther     = "other" // nothing is offered
)

// points lists all places of the program, each group before its commands.
func points(a App) []point {
	root := &cli.Command{Name: a.Name, Subcommands: a.commands()}
	global := append(completedFlags(a.Flags), completedFlag{name: "--help", text: "Print help"})
	var all []point
	var walk func(path []*cli.Command)
	walk = func(path []*cli.Command) {
		c := path[len(path)-1]
		p := point{path: pathName(path[1:]), flags: append(completedFlags(c.Flags), global...)}
		if len(path) == 1 {
			p.flags = append(p.flags, completedFlag{name: "--version", text: "Print the version"})
		}
		for _, sub := range c.Subcommands {
			if !sub.Hidden {
				p.commands = append(p.commands, [2]string{sub.Name, upperFirst(sub.Usage)})
			}
		}
		if len(c.Subcommands) == 0 {
			p.args, p.many = argumentKinds(c.ArgsUsage)
		}
		all = append(all, p)
		for _, sub := range c.Subcommands {
			if !sub.Hidden {
				walk(append(path[:len(path):len(path)], sub))
			}
		}
	}
	walk([]*cli.Command{root})
	return all
}

func completedFlags(flags []cli.Flag) (list []completedFlag) {
	for _, row := range flagRows(flags) {
		names, value, takesValue := strings.Cut(row[0], " ")
		for strings.HasSuffix(names, ",") { // an alias follows
			var next string
			next, value, takesValue = strings.Cut(value, " ")
			names += next
		}
		for name := range strings.SplitSeq(names, ",") {
			f := completedFlag{name: name, text: row[1]}
			if takesValue {
				f.kind = kindOf(strings.TrimLeft(name, "-"), value)
			}
			list = append(list, f)
		}
	}
	return list
}

var variable = regexp.MustCompile(`[A-Z]+`)

// kindOf decides from a flag's name and its value's name what may be given.
func kindOf(name, value string) string {
	switch {
	case name == "vmid" || value == "VMID":
		return kindGuest
	case name == "golden" || value == "ARCHIVE" || value == "A" || value == "B":
		return kindArchive
	case value == "DIRECTORY" || value == "ROOT" || name == "out" || name == "root":
		return kindDirectory
	case value == "FILE" || value == "PATH" || value == "SCRIPT" || strings.HasSuffix(name, "-file"):
		return kindFile
	}
	return kindOther
}

// argumentKinds reads an ArgsUsage as [arguments] does.
func argumentKinds(usage string) (kinds []string, many bool) {
	usage, _, _ = strings.Cut(usage, "(")
	for word := range strings.FieldsSeq(usage) {
		name := variable.FindString(word)
		if name == "" {
			continue
		}
		kinds = append(kinds, kindOf("", name))
		many = strings.Contains(word, "...")
	}
	return kinds, many
}

// completion returns the program's completion for a shell: bash, zsh or fish.
func completion(a App, shell string) string {
	write := map[string]func(App, []point) string{"bash": bash, "zsh": zsh, "fish": fish}[shell]
	return write(a, points(a))
}

// identifier is the program's name as part of a function's.
func identifier(a App) string { return strings.ReplaceAll(a.Name, "-", "_") }

// patterns writes, for a shell's case, where each command and each flag with a
// value is on the way through the words of a line. set gives the statement.
func patterns(all []point, indent, enter, skip string) string {
	var out strings.Builder
	for _, p := range all {
		for _, c := range p.commands {
			fmt.Fprintf(&out, "%s%s) %s ;;\n", indent, quote(p.path+":"+c[0]), fmt.Sprintf(enter, quote(strings.TrimSpace(p.path+" "+c[0]))))
		}
	}
	for _, p := range all {
		var names []string
		for _, f := range p.flags {
			if f.kind != "" {
				names = append(names, quote(p.path+":"+f.name))
			}
		}
		if len(names) > 0 {
			fmt.Fprintf(&out, "%s%s) %s ;;\n", indent, strings.Join(names, " | "), skip)
		}
	}
	return out.String()
}

// valueKinds writes, for a shell's case, the kind of each flag's value.
func valueKinds(all []point, indent string) string {
	var out strings.Builder
	for _, kind := range []string{kindArchive, kindDirectory, kindFile, kindGuest, kindOther} {
		var names []string
		for _, p := range all {
			for _, f := range p.flags {
				if f.kind == kind {
					names = append(names, quote(p.path+":"+f.name))
				}
			}
		}
		if len(names) > 0 {
			fmt.Fprintf(&out, "%s%s) kind='%s' ;;\n", indent, strings.Join(names, " | "), kind)
		}
	}
	return out.String()
}

// argumentCases writes, for a shell's case, the kind of each argument by its number.
func argumentCases(all []point, indent string) string {
	var out strings.Builder
	for _, p := range all {
		for i, kind := range p.args {
			pattern := quote(fmt.Sprintf("%s:%d", p.path, i))
			if p.many && i == len(p.args)-1 {
				pattern = quote(p.path+":") + "*"
			}
			fmt.Fprintf(&out, "%s%s) kind='%s' ;;\n", indent, pattern, kind)
		}
	}
	return out.String()
}

// quote gives text as one word of any of the three shells.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
