package settings

import (
	"fmt"
	"io"
	"maps"
	"regexp"
	"strings"
	"sync"
	"text/template"
	"text/template/parse"
)

// MaxOutput is the limit for controller.yaml in bytes.
const MaxOutput = 1 << 20

// The bounds of one rendering. A template comes from the golden image or the
// mount and is written by hand; what exceeds them is a mistake or an attack.
const (
	maxRounds = 100_000 // rounds of all ranges, and templates called
	maxText   = 8 << 20 // bytes that functions made, and may make by their formats
	maxWidth  = 3       // digits of a width or precision
	maxNested = 64      // nested ranges, over all templates
)

// roundName is the function that is called first in the body of each range and
// of each template. No template can call it itself: the name is not a valid
// one.
const roundName = "round"

// bounds counts what one rendering uses.
type bounds struct {
	rounds, output, text int
	out                  io.Writer
}

// Write passes output on up to the limit.
func (b *bounds) Write(data []byte) (int, error) {
	if b.output += len(data); b.output > MaxOutput {
		return 0, fmt.Errorf("the result exceeds the limit of %d bytes", MaxOutput)
	}
	return b.out.Write(data)
}

// errRounds is the only error of round, whose place in the template means
// nothing to its author.
var errRounds = fmt.Errorf("its ranges and templates exceed the limit of %d rounds", maxRounds)

func (b *bounds) round() (string, error) {
	if b.rounds++; b.rounds > maxRounds {
		return "", errRounds
	}
	return "", nil
}

// charge counts text before it is made: a loop that doubles a variable reaches
// any size in few rounds and without output.
func (b *bounds) charge(size int) error {
	if b.text += size; b.text > maxText || size > maxText {
		return fmt.Errorf("texts exceed the limit of %d bytes", maxText)
	}
	return nil
}

// oversize matches a verb with a width or precision that is large or an argument. Most
// templates have no printf, so it is compiled when it is first used.
var oversize = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(fmt.Sprintf(`%%[-+# 0-9.\[\]]*(\*|[0-9]{%d,})`, maxWidth+1))
})

func (b *bounds) printf(format string, args ...any) (string, error) {
	if oversize().MatchString(format) {
		return "", fmt.Errorf("printf: a width has at most %d digits and is not an argument", maxWidth)
	}
	most := 1000
	for _, arg := range args {
		most += sizeOf(arg)
	}
	if err := b.charge(len(format) + strings.Count(format, "%")*most); err != nil {
		return "", err
	}
	return fmt.Sprintf(format, args...), nil
}

// sizeOf returns the largest length that v can have as text.
func sizeOf(v any) int {
	switch v := v.(type) {
	case string:
		return 6 * len(v) // every byte escaped
	case []string:
		size := 0
		for _, s := range v {
			size += 6*len(s) + 4
		}
		return size
	}
	return 1 << 12 // numbers, and Values itself
}

// escaping bounds a function whose result is at most six times its input.
func (b *bounds) escaping(f func(...any) string) func(...any) (string, error) {
	return func(args ...any) (string, error) {
		size := 0
		for _, arg := range args {
			size += sizeOf(arg) + 2
		}
		if err := b.charge(size); err != nil {
			return "", err
		}
		return f(args...), nil
	}
}

// funcs are the functions of a template: our own, and the built-in ones that make
// text, within the bounds.
func (b *bounds) funcs() template.FuncMap {
	funcs := template.FuncMap{
		"print":    b.escaping(fmt.Sprint),
		"println":  b.escaping(fmt.Sprintln),
		"html":     b.escaping(template.HTMLEscaper),
		"js":       b.escaping(template.JSEscaper),
		"urlquery": b.escaping(template.URLQueryEscaper),
		"printf":   b.printf,
		"list":     list,
		"quote": func(s string) (string, error) {
			if err := b.charge(sizeOf(s)); err != nil {
				return "", err
			}
			return Quote(s), nil
		},
	}
	maps.Copy(funcs, template.FuncMap{roundName: b.round})
	return funcs
}

// nesting is the depth of the ranges of each template. Package text/template
// raises an error again in each range that it leaves, and looks through the whole
// stack each time: with thousands of nested ones that takes hours.
type nesting struct {
	templates *template.Template
	known     map[string]int // -1: in progress
}

var errNested = fmt.Errorf("its ranges within each other exceed the limit of %d", maxNested)

func (n nesting) of(name string) (int, error) {
	depth, isKnown := n.known[name]
	if depth < 0 {
		return 0, fmt.Errorf("its template %q calls itself", name)
	}
	t := n.templates.Lookup(name)
	if isKnown || t == nil || t.Tree == nil {
		return depth, nil
	}
	n.known[name] = -1
	depth, err := n.ofList(t.Root)
	n.known[name] = depth
	return depth, err
}

func (n nesting) ofList(list *parse.ListNode) (deepest int, err error) {
	if list == nil {
		return 0, nil
	}
	for _, node := range list.Nodes {
		depth, more := 0, 0
		switch node := node.(type) {
		case *parse.RangeNode:
			more = 1
			depth, err = n.ofBranch(node.BranchNode)
		case *parse.IfNode:
			depth, err = n.ofBranch(node.BranchNode)
		case *parse.WithNode:
			depth, err = n.ofBranch(node.BranchNode)
		case *parse.TemplateNode:
			depth, err = n.of(node.Name)
		}
		if err != nil {
			return 0, err
		}
		if deepest = max(deepest, depth+more); deepest > maxNested {
			return 0, errNested
		}
	}
	return deepest, nil
}

func (n nesting) ofBranch(b parse.BranchNode) (int, error) {
	first, err := n.ofList(b.List)
	if err != nil {
		return 0, err
	}
	second, err := n.ofList(b.ElseList)
	return max(first, second), err
}

// bound inserts a call of round at the start of everything in t that can be
// repeated.
func bound(t *template.Template) error {
	if _, err := (nesting{t, map[string]int{}}).of(t.Name()); err != nil {
		return err
	}
	call, err := template.New(roundName).Funcs(template.FuncMap{roundName: func() string { return "" }}).Parse("{{" + roundName + "}}")
	if err != nil {
		return err
	}
	node := call.Root.Nodes[0]
	for _, each := range t.Templates() {
		if each.Tree != nil && each.Root != nil {
			boundList(each.Root, node)
			each.Root.Nodes = append([]parse.Node{node}, each.Root.Nodes...)
		}
	}
	return nil
}

func boundList(list *parse.ListNode, call parse.Node) {
	if list == nil {
		return
	}
	for _, node := range list.Nodes {
		switch n := node.(type) {
		case *parse.RangeNode:
			boundList(n.List, call)
			boundList(n.ElseList, call)
			n.List.Nodes = append([]parse.Node{call}, n.List.Nodes...)
		case *parse.IfNode:
			boundList(n.List, call)
			boundList(n.ElseList, call)
		case *parse.WithNode:
			boundList(n.List, call)
			boundList(n.ElseList, call)
		}
	}
}
