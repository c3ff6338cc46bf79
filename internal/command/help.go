package command

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
)

// width is how many columns help may take.
const width = 80

// printHelp writes the help of the last command of path.
func (a App) printHelp(path []*cli.Command) error {
	c := path[len(path)-1]
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s\n\nUsage:\n", strings.Join(wrap(pathName(path)+" - "+lowerFirst(c.Usage), width), "\n"))
	usage := pathName(path)
	switch {
	case len(c.Subcommands) > 0 && c.Action != nil:
		usage += " [COMMAND] [OPTIONS]"
	case len(c.Subcommands) > 0:
		usage += " COMMAND [OPTIONS]"
	default:
		usage = strings.TrimRight(usage+" [OPTIONS] "+c.ArgsUsage, " ")
	}
	fmt.Fprintf(&out, "  %s\n", usage)
	if c.Description != "" {
		fmt.Fprintf(&out, "\n%s\n", paragraphs(c.Description))
	}
	rows := make([][2]string, 0, len(c.Subcommands))
	for _, sub := range c.Subcommands {
		if !sub.Hidden {
			rows = append(rows, [2]string{sub.Name, upperFirst(sub.Usage)})
		}
	}
	table(&out, "Commands", rows)
	table(&out, "Options", flagRows(c.Flags))
	global := flagRows(a.Flags)
	global = append(global, [2]string{"--help, -h", "Print this help"})
	if len(path) == 1 {
		global = append(global, [2]string{"--version", "Print the version"})
	}
	table(&out, "Global options", global)
	_, err := a.Stdout.Write(out.Bytes())
	return err
}

func flagRows(flags []cli.Flag) [][2]string {
	rows := make([][2]string, 0, len(flags))
	for _, f := range flags {
		doc, ok := f.(cli.DocGenerationFlag)
		if v, canHide := f.(cli.VisibleFlag); !ok || canHide && !v.IsVisible() {
			continue
		}
		usage, value := unquote(doc.GetUsage())
		name := "--" + strings.Join(f.Names(), ", --")
		if doc.TakesValue() {
			if value == "" {
				value = placeholder(f)
			}
			name += " " + value
			if text := defaultText(doc); text != "" {
				usage += " (default: " + text + ")"
			}
		}
		rows = append(rows, [2]string{name, upperFirst(usage)})
	}
	return rows
}

// unquote takes the word in backquotes out of a flag's usage: its value's name.
func unquote(usage string) (text, value string) {
	before, rest, ok := strings.Cut(usage, "`")
	if !ok {
		return usage, ""
	}
	value, after, _ := strings.Cut(rest, "`")
	return before + value + after, value
}

// defaultText returns the default of a flag that has one, as a user writes it.
func defaultText(f cli.DocGenerationFlag) string {
	text := strings.Trim(f.GetDefaultText(), `"`)
	if _, ok := f.(*cli.DurationFlag); ok {
		if short, ok := strings.CutSuffix(text, "m0s"); ok {
			text = short + "m"
		}
	}
	if text == "0" || text == "0s" {
		return ""
	}
	return text
}

func placeholder(f cli.Flag) string {
	switch f.(type) {
	case *cli.DurationFlag:
		return "DURATION"
	case *cli.IntFlag, *cli.Int64Flag, *cli.UintFlag, *cli.Uint64Flag:
		return "NUMBER"
	}
	return "VALUE"
}

// table writes rows of a name and its text, wrapped, under a title. A name too
// long for its column has a line of its own.
func table(out *bytes.Buffer, title string, rows [][2]string) {
	if len(rows) == 0 {
		return
	}
	const longest = 26
	column := 0
	for _, row := range rows {
		if n := utf8.RuneCountInString(row[0]); n <= longest {
			column = max(column, n)
		}
	}
	fmt.Fprintf(out, "\n%s:\n", title)
	indent := strings.Repeat(" ", 2+column+2)
	for _, row := range rows {
		lines := wrap(row[1], width-len(indent))
		name := "  " + row[0]
		if n := utf8.RuneCountInString(row[0]); n <= column {
			name += strings.Repeat(" ", column-n+2) + lines[0]
			lines = lines[1:]
		}
		fmt.Fprintln(out, strings.TrimRight(name, " "))
		for _, text := range lines {
			fmt.Fprintln(out, strings.TrimRight(indent+text, " "))
		}
	}
}

// paragraphs wraps text; a line that starts with a space stays as it is.
func paragraphs(text string) string {
	var out, block []string
	flush := func() {
		if len(block) > 0 {
			out = append(out, wrap(strings.Join(block, " "), width)...)
			block = nil
		}
	}
	for _, l := range strings.Split(text, "\n") {
		if l == "" || l[0] == ' ' {
			flush()
			out = append(out, l)
			continue
		}
		block = append(block, l)
	}
	flush()
	return strings.Join(out, "\n")
}

// wrap breaks text at spaces into lines of at most columns runes, where its
// words allow; at least one line, which may be empty.
func wrap(text string, columns int) []string {
	lines := []string{""}
	for word := range strings.FieldsSeq(text) {
		last := &lines[len(lines)-1]
		switch {
		case *last == "":
			*last = word
		case utf8.RuneCountInString(*last)+1+utf8.RuneCountInString(word) <= columns:
			*last += " " + word
		default:
			lines = append(lines, word)
		}
	}
	return lines
}

func lowerFirst(s string) string { return mapFirst(s, strings.ToLower) }

func upperFirst(s string) string { return mapFirst(s, strings.ToUpper) }

// mapFirst changes the first letter of s, unless the word continues in
// capitals, as an abbreviation or the name of a value does.
func mapFirst(s string, change func(string) string) string {
	if s == "" || len(s) > 1 && s[1] >= 'A' && s[1] <= 'Z' {
		return s
	}
	return change(s[:1]) + s[1:]
}
