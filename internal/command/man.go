package command

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

// manPage returns the manual page of the program in the section, in the language
// of man(7): every command with every flag, as --help has them. more is the
// rest of the page in the same language, such as FILES and SEE ALSO.
func manPage(a App, section int, more string) string {
	m := &manual{root: &cli.Command{Name: a.Name, Subcommands: a.commands()}}
	title := map[int]string{1: "User commands", 8: "System administration"}[section]
	m.line(".\\\" Written by \"make docs\" from the source of --help.")
	m.line(`.TH %s %d "" felhom %q`, strings.ToUpper(escape(a.Name)), section, title)
	m.line(".SH NAME")
	m.line(`%s \- %s`, escape(a.Name), escape(lowerFirst(a.Usage)))
	m.line(".SH SYNOPSIS")
	m.synopsis([]*cli.Command{m.root})
	m.line(".SH DESCRIPTION")
	m.text(a.Description)
	m.line(".SH COMMANDS")
	for _, c := range m.root.Subcommands {
		m.command([]*cli.Command{m.root, c})
	}
	m.line(".SH GLOBAL OPTIONS")
	m.flags(append(flagRows(a.Flags), [2]string{"--help, -h", "Print help, of the program or of a command."}, [2]string{"--version", "Print the version."}))
	return m.String() + more
}

type manual struct {
	strings.Builder
	root *cli.Command
}

func (m *manual) line(format string, args ...any) { fmt.Fprintf(m, format+"\n", args...) }

// synopsis writes a line for each command that does something.
func (m *manual) synopsis(path []*cli.Command) {
	c := path[len(path)-1]
	for _, sub := range c.Subcommands {
		if !sub.Hidden {
			m.synopsis(append(path[:len(path):len(path)], sub))
		}
	}
	if len(c.Subcommands) == 0 {
		m.line(`\fB%s\fR%s`, escape(pathName(path)), operands(c))
		m.line(".br")
	}
}

// operands are what follows a command.
func operands(c *cli.Command) string {
	text := ""
	if len(flagRows(c.Flags)) > 0 {
		text += " [OPTIONS]"
	}
	usage, _, _ := strings.Cut(c.ArgsUsage, " (")
	return strings.TrimRight(text+" "+escape(usage), " ")
}

func (m *manual) command(path []*cli.Command) {
	c := path[len(path)-1]
	if c.Hidden {
		return
	}
	if len(c.Subcommands) > 0 {
		for _, sub := range c.Subcommands {
			m.command(append(path[:len(path):len(path)], sub))
		}
		return
	}
	m.line(".SS %s%s", escape(pathName(path[1:])), operands(c))
	m.line("%s.", escape(strings.TrimSuffix(upperFirst(c.Usage), ".")))
	if c.Description != "" {
		m.line(".PP")
		m.text(c.Description)
	}
	m.flags(flagRows(c.Flags))
}

func (m *manual) flags(rows [][2]string) {
	for _, row := range rows {
		m.line(".TP")
		m.line(`\fB%s\fR`, escape(row[0]))
		m.line("%s", escape(row[1]))
	}
}

// text writes paragraphs; lines that start with a space stay as they are.
func (m *manual) text(text string) {
	asItIs := false
	for l := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		if l != "" && (l[0] == ' ') != asItIs {
			asItIs = !asItIs
			if asItIs {
				m.line(".nf")
			} else {
				m.line(".fi")
			}
		}
		if l == "" {
			l = ".PP"
		} else {
			l = escape(l)
		}
		m.line("%s", l)
	}
	if asItIs {
		m.line(".fi")
	}
}

// escape gives text that man(7) shows as it is.
func escape(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", "...").Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}
