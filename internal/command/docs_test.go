package command_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// pages are all Markdown pages of the repository.
func pages(t *testing.T) map[string]string {
	t.Helper()
	list := exec.CommandContext(t.Context(), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md")
	list.Dir = "../.."
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		data, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(data)
	}
	if len(all) < 20 {
		t.Fatalf("only %d pages", len(all))
	}
	return all
}

var (
	fence  = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	link   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	header = regexp.MustCompile(`(?m)^#+ (.*)$`)
	marks  = regexp.MustCompile("[^a-z0-9 _-]")
)

// anchors are the names of a page's headings, as GitHub makes them.
func anchors(page string) (names []string) {
	for _, m := range header.FindAllStringSubmatch(fence.ReplaceAllString(page, ""), -1) {
		text := regexp.MustCompile(`\]\([^)]*\)`).ReplaceAllString(m[1], "")
		names = append(names, strings.ReplaceAll(marks.ReplaceAllString(strings.ToLower(text), ""), " ", "-"))
	}
	return names
}

// Each link within the repository leads to a file, and to a heading of it.
func TestLinks(t *testing.T) {
	all := pages(t)
	n := 0
	for name, page := range all {
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(page, ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			n++
			file, anchor, hasAnchor := strings.Cut(m[1], "#")
			target := name
			if file != "" {
				target = filepath.Join(filepath.Dir(name), file)
			}
			if _, err := os.Stat(filepath.Join("../..", target)); err != nil {
				t.Errorf("%s: link to %s: %v", name, m[1], err)
				continue
			}
			if hasAnchor && !slices.Contains(anchors(all[target]), anchor) {
				t.Errorf("%s: link to %s: the page has no such heading", name, m[1])
			}
		}
	}
	if n < 100 {
		t.Errorf("only %d links were found", n)
	}
}

// grammar is what may follow each command of a program, as its completion has it.
type grammar map[string]struct{ commands, options []string }

func readGrammar(t *testing.T, program string) grammar {
	t.Helper()
	data, err := os.ReadFile("../../contrib/completions/bash/" + program)
	if err != nil {
		t.Fatal(err)
	}
	g := grammar{}
	for _, m := range regexp.MustCompile(`(?m)^ +'([^']*)'\) commands='([^']*)' options='([^']*)' ;;$`).FindAllStringSubmatch(string(data), -1) {
		g[m[1]] = struct{ commands, options []string }{strings.Fields(m[2]), strings.Fields(m[3])}
	}
	if len(g) < 3 {
		t.Fatalf("%s: %d commands", program, len(g))
	}
	return g
}

// wrong returns what is wrong with the words after a program's name.
func (g grammar) wrong(words []string) string {
	at := ""
	for _, w := range words {
		here := g[at]
		w = strings.Trim(w, "[]\"'")
		name, _, _ := strings.Cut(w, "=")
		switch {
		case w == "--", w == "|", strings.HasPrefix(w, "#"), w == ">", w == "&&", w == ";", strings.HasPrefix(w, "<"), w == "&":
			return "" // what follows is another program's
		case strings.HasPrefix(name, "--"):
			if !slices.Contains(here.options, name) {
				return fmt.Sprintf("%q has no option %s", at, name)
			}
		case len(here.commands) > 0 && regexp.MustCompile(`^[a-z-]+$`).MatchString(w) && !strings.HasSuffix(w, ".yaml"):
			if slices.Contains(here.commands, w) {
				at = strings.TrimSpace(at + " " + w)
			} else if w != "help" {
				return fmt.Sprintf("%q has no command %s", at, w)
			}
		}
	}
	return ""
}

// codeLines are the lines of a page's code: indented blocks and fences, and what is in backquotes.
func codeLines(page string) (lines []string) {
	inFence := false
	for line := range strings.SplitSeq(strings.ReplaceAll(page, "\\\n", " "), "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(trimmed, "```"):
			inFence = !inFence
		case inFence || strings.HasPrefix(line, "    "):
			lines = append(lines, strings.TrimPrefix(trimmed, "$ "))
		default:
			for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(line, -1) {
				lines = append(lines, m[1])
			}
		}
	}
	return lines
}

var invocation = regexp.MustCompile(`^(?:[a-z]+=\$\()?(felhom-agentd|felhom-golden|felhom-controller-bootstrap) (.*?)\)?$`)

// Each command of the docs exists, with its options.
func TestCommandsOfDocs(t *testing.T) {
	programs := map[string]grammar{}
	for _, p := range []string{"felhom-agentd", "felhom-golden", "felhom-controller-bootstrap"} {
		programs[p] = readGrammar(t, p)
	}
	n := 0
	for name, page := range pages(t) {
		if name == "CHANGELOG.md" {
			continue // what was
		}
		for _, line := range codeLines(page) {
			m := invocation.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			// Two blanks or more part a command from what the page says of it.
			words := strings.Fields(regexp.MustCompile(`  +[a-z#].*$`).ReplaceAllString(m[2], ""))
			if words[0] == "has" || words[0] == "does" {
				continue // a message about the program
			}
			n++
			if why := programs[m[1]].wrong(words); why != "" {
				t.Errorf("%s: %s: %s", name, line, why)
			}
		}
	}
	if n < 100 {
		t.Errorf("only %d commands were found", n)
	}
	for line, want := range map[string]string{"guest ad 8200": "no command", "guest add --force 8200": "no option", "provision --vmid 8200 --env A=b | cat --x": ""} {
		if got := programs["felhom-agentd"].wrong(strings.Fields(line)); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
}

// The pages that are followed command by command are valid shell.
func TestShellOfDocs(t *testing.T) {
	all := pages(t)
	for _, name := range []string{"README.md", "docs/quickstart.md", "docs/upgrade.md", "docs/your-image.md"} {
		n := 0
		for _, block := range regexp.MustCompile(`(?m)(?:^ {4,}[^ ].*\n|^ {4,}[^ ].*$|^\n)+`).FindAllString(fence.ReplaceAllString(all[name], ""), -1) {
			var script strings.Builder
			indent := -1
			for line := range strings.SplitSeq(block, "\n") {
				if indent < 0 && strings.TrimSpace(line) != "" {
					indent = len(line) - len(strings.TrimLeft(line, " "))
				}
				script.WriteString(line[min(max(indent, 0), len(line)):] + "\n")
			}
			if strings.TrimSpace(script.String()) == "" || strings.Contains(script.String(), "\n$ ") || strings.HasPrefix(strings.TrimSpace(script.String()), "$ ") {
				continue // a session with its output
			}
			n++
			check := exec.CommandContext(t.Context(), "bash", "-n")
			check.Stdin = strings.NewReader(script.String())
			if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("%s: %v\n%s\n%s", name, err, out, script.String())
			}
		}
		if n == 0 {
			t.Errorf("%s: no code was found", name)
		}
	}
}
