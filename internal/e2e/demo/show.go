package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/term"

	"github.com/felhom/felhom-golden/internal/driver/run"
)

func (d *demo) head(text string) {
	d.heading++
	_, _ = fmt.Fprintf(d.stdout, "\n%d. %s\n\n", d.heading, text)
}

func (d *demo) say(format string, args ...any) {
	_, _ = fmt.Fprintf(d.stdout, format+"\n", args...)
}

// check counts a statement that must hold, and prints it with what was found.
func (d *demo) check(holds bool, statement string, args ...any) {
	d.checks++
	text := fmt.Sprintf(statement, args...)
	if holds {
		d.say("  OK    %s", text)
		return
	}
	d.say("  FAIL  %s", text)
	d.failed = append(d.failed, text)
}

func join(texts []string) string { return strings.Join(texts, "; ") }

// program runs one of the product's binaries in front of the viewer, as typed,
// and returns its exit status. Its output goes to the terminal as it comes.
func (d *demo) program(ctx context.Context, name string, args ...string) (int, error) {
	return d.run(ctx, run.Quote(name, args...), append([]string{d.binary(name)}, args...))
}

// run runs a command line that the viewer sees as typed.
func (d *demo) run(ctx context.Context, typed string, argv []string) (int, error) {
	d.say("$ %s", d.short(typed))
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = d.stdout, d.stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	err := cmd.Run()
	if cmd.ProcessState == nil {
		return -1, err
	}
	if ctx.Err() != nil {
		return -1, context.Cause(ctx)
	}
	return cmd.ProcessState.ExitCode(), nil
}

func (d *demo) binary(name string) string { return d.dist + "/" + name }

// short writes the demo's long directory as $DEMO.
func (d *demo) short(text string) string { return strings.ReplaceAll(text, d.dir, "$DEMO") }

// shown are the keys of bootstrap.json whose values may be printed. Everything
// else is hidden: a key that is added later is a secret until this list has it.
var shown = []string{
	"schema_version", "hub_url", "host_id", "guest_id", "local_api_endpoint",
	"local_api_pin_spki_sha256", "local_api_pin_spki_sha256_next", "local_api_pin_leaf_sha256", "local_api_pin_leaf_sha256_next",
	"registry_access", "registry", "host", "username", "registry_mirror",
	"controller_image", "controller_image_manifest_digest", "controller_image_config_digest",
}

var member = regexp.MustCompile(`^(\s*"([^"]*)": )(".*"|[^{\[]*?)(,?)$`)

// redact hides the values of all other members in indented JSON.
func redact(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i, line := range lines {
		if m := member.FindStringSubmatch(line); m != nil && !slices.Contains(shown, m[2]) {
			lines[i] = fmt.Sprintf(`%s(hidden, %d characters)%s`, m[1], len(strings.Trim(m[3], `"`)), m[4])
		}
	}
	return strings.Join(lines, "\n")
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n    ")
}

// wait leaves everything up until Enter or Ctrl-C, if --keep is set; hints are
// commands to try.
func (d *demo) wait(ctx context.Context, hints string) error {
	if d.keep == nil {
		return nil
	}
	d.head("Yours to play with")
	d.say("%s", indent("DEMO="+d.dir+"\n"+hints+"\n"+d.binary("felhom-agentd")+" --config $DEMO/host/agentd.yaml guest list"))
	if f, ok := d.keep.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		d.say("\nEnter or Ctrl-C takes everything down.")
	}
	done := make(chan struct{})
	go func() {
		_, _ = bufio.NewReader(d.keep).ReadString('\n')
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done(): // the usual way out, and no failure
	}
	return nil
}
