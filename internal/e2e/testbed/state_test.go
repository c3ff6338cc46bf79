package testbed

import (
	"os"
	"os/exec"
	"testing"
)

func TestParseStartTime(t *testing.T) {
	const tail = " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20 21"
	for _, name := range []string{"(sh)", "(a b)", "(a) 1 (b)"} {
		if got, err := parseStartTime("77 " + name + tail); err != nil || got != 4242 {
			t.Errorf("%s: %d, error %v; want 4242", name, got, err)
		}
	}
	for _, bad := range []string{"", "77 (sh) S 1", "77 sh" + tail} {
		if got, err := parseStartTime(bad); err == nil {
			t.Errorf("%q: %d and no error", bad, got)
		}
	}
}

func TestProcessIsAliveUntilItEndedAndNotUnderAnotherStartTime(t *testing.T) {
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := findProcess(cmd.Process.Pid)
	if err != nil || !p.alive() {
		t.Errorf("running child: %+v, error %v, alive %v", p, err, p.alive())
	}
	if other := (process{PID: p.PID, Start: p.Start + 1}); other.alive() {
		t.Error("the same number with another start time counts as alive")
	}
	_ = in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if p.alive() {
		t.Error("ended child counts as alive")
	}
	self, err := findProcess(os.Getpid())
	if err != nil || !self.alive() {
		t.Errorf("this process: %+v, error %v", self, err)
	}
}
