// Words lists the words and phrases of the repository that its language rules replace by plainer ones.
//
//	words              report what the directories of checked.txt still have; make lint runs this
//	words -all         report what the whole repository has
//	words -count       print the number of places for each directory
//	words PATH...      report what is at or below the paths, whether they are checked or not
//
// It reads each file that git tracks: names, identifiers (split at capitals and underscores), comments, strings, help texts, docs and
// the file names themselves. What may stay is a line of allow.txt with a reason.
package main

import (
	"context"
	_ "embed"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed allow.txt
var allowText string

//go:embed checked.txt
var checkedText string

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

type options struct {
	all, count bool
	paths      []string
}

// run returns 0 if nothing is to be reported, 1 if something is, and 2 if it could not look.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var o options
	flags := flag.NewFlagSet("words", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.BoolVar(&o.all, "all", false, "report the whole repository")
	flags.BoolVar(&o.count, "count", false, "print the number of places for each directory")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	o.paths = flags.Args()
	root, files, err := tracked(ctx)
	if err != nil {
		fmt.Fprintf(stderr, "words: list the files: %v\nhint: run it inside a clone of the repository\n", err)
		return 2
	}
	report, err := check(os.DirFS(root), files, allowText, checkedText, o)
	if err != nil {
		fmt.Fprintf(stderr, "words: %v\n", err)
		return 2
	}
	for _, line := range report {
		fmt.Fprintln(stdout, line)
	}
	if len(report) > 0 && !o.count {
		fmt.Fprintf(stderr, "words: %d places\nhint: use the plainer words, or add a line with the reason to tools/words/allow.txt\n", len(report))
		return 1
	}
	return 0
}

// tracked returns the root of the work tree and the files in it that git knows and that exist, new ones too.
func tracked(ctx context.Context) (root string, files []string, err error) {
	out, err := exec.CommandContext(ctx, "git", "rev-parse", "--show-toplevel").Output()
	if err != nil {
		return "", nil, err
	}
	root = strings.TrimSuffix(string(out), "\n")
	list := exec.CommandContext(ctx, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = root
	if out, err = list.Output(); err != nil {
		return "", nil, err
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		if info, err := os.Lstat(filepath.Join(root, name)); err == nil && info.Mode().IsRegular() {
			files = append(files, name)
		}
	}
	slices.Sort(files)
	return root, slices.Compact(files), nil
}
