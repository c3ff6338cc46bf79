package provision_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/configmount"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
)

// configured is a rig whose bootstrap.json comes from a configuration.
func configured(t *testing.T, cfg *config.Config) *rig {
	t.Helper()
	r := newRig(t)
	cfg.ControllerImage, cfg.Profile = "registry.example/app:1", contract.ProfilePlain
	r.Bootstrap = func(vmid int, asked provision.Asked) (contract.Bootstrap, error) {
		return provision.BootstrapFrom(*cfg, provision.Host{Endpoint: "https://192.0.2.1:8443", Pins: pins})(vmid, asked)
	}
	return r
}

// mounted returns the guest's bootstrap.json.
func (r *rig) mounted(t *testing.T) contract.Bootstrap {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(r.Mounts.Path(vmid), configmount.BootstrapFile))
	no(t, err)
	boot, findings := contract.Parse(data)
	no(t, findings.Err())
	return boot
}

// The repositories of a guest stay until others are asked for; they are in no
// mount, and reach the proxy by the record.
func TestRepositories(t *testing.T) {
	cfg := &config.Config{}
	r := configured(t, cfg)
	for _, c := range []struct {
		name    string
		asked   []string
		want    []string
		outcome provision.Outcome
	}{
		{"made", []string{"registry.example/db:1", "registry.example/tools"}, []string{"registry.example/db:1", "registry.example/tools"}, provision.Provisioned},
		{"not asked for", nil, []string{"registry.example/db:1", "registry.example/tools"}, provision.Unchanged},
		{"replaced", []string{"registry.example/db:2"}, []string{"registry.example/db:2"}, provision.Unchanged},
		{"none", []string{}, nil, provision.Unchanged},
	} {
		j := job()
		j.Repositories = c.asked
		before := ""
		if c.outcome == provision.Unchanged {
			before = r.mounted(t).LocalAPIToken.Reveal()
		}
		r.apply(t, j, c.outcome)
		record, err := r.store.Get(vmid)
		no(t, err)
		var kept []string
		if record.Asked != nil {
			kept = record.Asked.Repositories
		}
		settings, err := provision.New(r.Options).Settings(*cfg, vmid)
		no(t, err)
		if d := cmp.Diff([][]string{c.want, c.want}, [][]string{kept, settings.Repositories}); d != "" {
			t.Errorf("%s: record and settings (-want +got):\n%s", c.name, d)
		}
		if before != "" && before != r.mounted(t).LocalAPIToken.Reveal() {
			t.Errorf("%s: the mount was written", c.name)
		}
	}
}

// The layers of the container's settings, in their order, and how long each stays.
func TestContainerSettings(t *testing.T) {
	cfg := &config.Config{Container: &contract.Container{Ports: []string{"80:80"}, Environment: map[string]string{"A": "config", "B": "config"}, Memory: "64m"}}
	r := configured(t, cfg)
	spec := job()
	spec.IsWhole = true
	spec.Container = &contract.Container{Environment: map[string]string{"B": "spec", "C": "spec"}}
	spec.Secrets = map[string]string{"S": "hunter2", "T": "hunter2"}
	r.apply(t, spec, provision.Provisioned)
	want := contract.Container{Ports: []string{"80:80"}, Memory: "64m", Environment: map[string]string{"A": "config", "B": "spec", "C": "spec", "S": "hunter2", "T": "hunter2"}}
	check := func() {
		t.Helper()
		if d := cmp.Diff(&want, r.mounted(t).Container); d != "" {
			t.Errorf("container (-want +got):\n%s", d)
		}
		r.isWhole(t, driver.Running)
	}
	check()
	// The record holds no secret; the file that does is root's alone.
	data, err := os.ReadFile(filepath.Join(r.StateDir, "guests/8200.json"))
	if err != nil || strings.Contains(string(data), "hunter2") {
		t.Errorf("record %s, %v", data, err)
	}
	secrets := func() string {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(r.StateDir, "guests/8200-*.secrets"))
		if err != nil || len(files) != 1 {
			t.Fatalf("secrets %v, %v; want one file", files, err)
		}
		if info, err := os.Stat(files[0]); err != nil || info.Mode() != 0o600 {
			t.Errorf("secrets: %v, %v", info, err)
		}
		data, err := os.ReadFile(files[0])
		no(t, err)
		return string(data)
	}
	secrets()

	// Flags change single settings of one guest, and they stay.
	flags := job()
	flags.Container = &contract.Container{Environment: map[string]string{"C": "flag", "T": "plain"}, Ports: []string{"81:80"}}
	r.apply(t, flags, provision.Updated)
	want.Ports, want.Environment["C"], want.Environment["T"] = []string{"81:80"}, "flag", "plain"
	check()
	if text := secrets(); strings.Contains(text, `"T"`) || !strings.Contains(text, `"S"`) {
		t.Errorf("secrets %s, want S alone", text)
	}
	r.apply(t, job(), provision.Unchanged)
	if _, err := provision.New(r.Options).Register(t.Context(), vmid); err != nil {
		t.Fatal(err)
	}
	check()

	// The configuration's own change reaches the guest, where nothing else was asked for.
	cfg.Container = &contract.Container{Ports: []string{"90:80"}, Environment: map[string]string{"A": "new"}}
	r.apply(t, job(), provision.Updated)
	want.Memory, want.Environment["A"] = "", "new"
	check()

	// A specification says all of its guest again.
	spec.Container, spec.Secrets = &contract.Container{Memory: "32m"}, nil
	r.apply(t, spec, provision.Updated)
	want = contract.Container{Ports: []string{"90:80"}, Environment: map[string]string{"A": "new"}, Memory: "32m"}
	check()
	if files, _ := filepath.Glob(filepath.Join(r.StateDir, "guests/*.secrets")); len(files) > 0 {
		t.Errorf("secrets %v stay", files)
	}
}

// A failed change leaves the settings, and the file of the secrets, as they were.
func TestSettingsOfAFailedUpdate(t *testing.T) {
	r := configured(t, &config.Config{})
	j := job()
	j.Secrets = map[string]string{"S": "one"}
	r.apply(t, j, provision.Provisioned)
	before := r.left(t)
	j.Secrets = map[string]string{"S": "two"}
	whole := r.Mounts
	r.Mounts = full{whole}
	if _, err := r.Apply(t.Context(), j); err == nil {
		t.Fatal("no error")
	}
	if d := cmp.Diff(before, r.left(t)); d != "" {
		t.Errorf("what exists (-before +after):\n%s", d)
	}
	r.Mounts = whole
	r.apply(t, job(), provision.Unchanged)
	r.apply(t, j, provision.Updated)
	if got := r.mounted(t).Container.Environment["S"]; got != "two" {
		t.Errorf("S is %q, want two", got)
	}
	if _, err := r.Remove(t.Context(), vmid, true); err != nil || len(r.left(t)) > 0 {
		t.Errorf("error %v, left %v", err, r.left(t))
	}
}

// A job that is undone leaves what was asked for before it, and nothing of its own:
// neither the next job nor the registry proxy may take it for confirmed.
func TestSettingsOfAnUndoneJob(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(*testing.T, *rig)
		want    *contract.Container // after the next job
		secrets int                 // files
	}{
		"of a guest that was only added": {func(t *testing.T, r *rig) { t.Helper(); r.add(t) }, nil, 0},
		"of a guest that was removed by hand": {func(t *testing.T, r *rig) {
			t.Helper()
			j := job()
			j.Start, j.Image, j.Secrets, j.Repositories = false, "registry.example/own:1", map[string]string{"S": "one"}, []string{"registry.example/db:1"}
			r.apply(t, j, provision.Provisioned)
			no(t, r.hv.Destroy(t.Context(), vmid))
		}, &contract.Container{Environment: map[string]string{"S": "one"}}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := configured(t, &config.Config{})
			c.prepare(t, r)
			before, err := r.store.Get(vmid)
			no(t, err)
			wrong := job()
			wrong.Image, wrong.Repositories = "registry.example/wrong:1", []string{"registry.example/wrong"}
			wrong.Container = &contract.Container{Environment: map[string]string{"X": "1"}}
			wrong.Secrets = map[string]string{"S": "two", "T": "two"}
			r.hv.Fail("Restore", errBroken)
			if _, err := r.Apply(t.Context(), wrong); !errors.Is(err, errBroken) {
				t.Fatalf("error %v, want %v", err, errBroken)
			}
			after, err := r.store.Get(vmid)
			no(t, err)
			want(t, "image", after.ControllerImage, before.ControllerImage)
			want(t, "asked", after.Asked, before.Asked)
			files, err := filepath.Glob(filepath.Join(r.StateDir, "guests/*.secrets"))
			no(t, err)
			want(t, "files of secrets", len(files), c.secrets)
			r.hv.Fail("Restore", nil)
			r.apply(t, job(), provision.Provisioned)
			want(t, "container", r.mounted(t).Container, c.want)
		})
	}
}

// Everything in the mount that is not what would be written now is written again.
func TestConvergeComparesTheMount(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, r *rig, cfg *config.Config, file string){
		"credential": func(t *testing.T, r *rig, cfg *config.Config, _ string) {
			no(t, os.WriteFile(cfg.Registry.TokenFile, []byte("corrected\n"), 0o600))
		},
		"image": func(_ *testing.T, _ *rig, cfg *config.Config, _ string) {
			cfg.ControllerImage = "registry.example/app:2"
		},
		"hub":      func(_ *testing.T, _ *rig, cfg *config.Config, _ string) { cfg.HubURL = "https://hub.example" },
		"deadline": func(_ *testing.T, _ *rig, cfg *config.Config, _ string) { cfg.ReadyWait = time.Minute },
		"endpoint": func(_ *testing.T, r *rig, cfg *config.Config, _ string) {
			r.Bootstrap = provision.BootstrapFrom(*cfg, provision.Host{Endpoint: "https://192.0.2.9:8443", Pins: pins})
		},
		"file removed":   func(t *testing.T, _ *rig, _ *config.Config, file string) { no(t, os.Remove(file)) },
		"file cut off":   func(t *testing.T, _ *rig, _ *config.Config, file string) { no(t, os.Truncate(file, 100)) },
		"file too large": func(t *testing.T, _ *rig, _ *config.Config, file string) { no(t, os.Truncate(file, 1<<20)) },
		"file is a link": func(t *testing.T, _ *rig, _ *config.Config, file string) {
			no(t, os.Remove(file))
			no(t, os.Symlink("/etc/passwd", file))
		},
		"token of no use": func(t *testing.T, _ *rig, _ *config.Config, file string) {
			data, err := os.ReadFile(file)
			no(t, err)
			var boot map[string]any
			no(t, json.Unmarshal(data, &boot))
			boot["local_api_token"] = "fgt_8200_dead"
			data, err = json.Marshal(boot)
			no(t, err)
			no(t, os.WriteFile(file, data, 0o640))
		},
		"bootstrap failed for good": func(t *testing.T, r *rig, _ *config.Config, _ string) {
			r.report(t, with(report("a", contract.StepRun, contract.StateFailed), "refused", "no such tag", ""))
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := &config.Config{Registry: &config.Registry{Host: "registry.example", Username: "puller", TokenFile: filepath.Join(t.TempDir(), "token")}}
			no(t, os.WriteFile(cfg.Registry.TokenFile, []byte("wrong\n"), 0o600))
			r := configured(t, cfg)
			r.apply(t, job(), provision.Provisioned)
			r.apply(t, job(), provision.Unchanged)
			change(t, r, cfg, filepath.Join(r.Mounts.Path(vmid), configmount.BootstrapFile))
			r.apply(t, job(), provision.Updated)
			r.isWhole(t, driver.Running)
			if name != "bootstrap failed for good" {
				r.apply(t, job(), provision.Unchanged)
			}
		})
	}
}

// What was asked for by --image or a specification stays until it is asked again.
// What only agentd.yaml says, a guest that is there need not match; and it is
// not restored again, so that it needs no archive.
func TestExistingGuestIsNotComparedWithDefaults(t *testing.T) {
	r := newRig(t)
	r.apply(t, job(), provision.Provisioned)
	no := false
	j := provision.Job{
		VMID: vmid, Start: true, Asked: provision.Asked{Image: "registry.example/controller:v2"},
		Spec:  driver.Spec{Net: driver.Net{Bridge: "vmbr7", VLAN: 12}, OnBoot: &no},
		Given: &driver.Spec{},
	}
	if outcome, err := provision.New(r.Options).Check(t.Context(), j); err != nil || outcome != provision.Updated {
		t.Errorf("check: %s %v", outcome, err)
	}
	r.apply(t, j, provision.Updated)
	j.Given = &driver.Spec{Net: driver.Net{Bridge: "vmbr7"}}
	_, err := r.Apply(t.Context(), j)
	wantError(t, err, fault.Invalid, "leave those options out", "bridge vmbr0 and not vmbr7")
	if strings.Contains(err.Error(), "VLAN") {
		t.Errorf("a default is compared: %v", err)
	}
}

func TestNewGuestNeedsAnArchive(t *testing.T) {
	r := newRig(t)
	j := job()
	j.Spec.Archive = ""
	_, err := r.Apply(t.Context(), j)
	wantError(t, err, fault.Invalid, "set provision.golden", "golden: is missing")
	if left := r.left(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestImageRule(t *testing.T) {
	cfg := &config.Config{}
	r := configured(t, cfg)
	j := job()
	j.Image = "registry.example/other:1"
	r.apply(t, j, provision.Provisioned)
	cfg.ControllerImage = "registry.example/app:2"
	r.apply(t, job(), provision.Unchanged)
	if _, err := provision.New(r.Options).Register(t.Context(), vmid); err != nil {
		t.Fatal(err)
	}
	if got := r.mounted(t).ControllerImage.String(); got != j.Image {
		t.Errorf("image %s, want %s", got, j.Image)
	}
	j.Image = "registry.example/app:2"
	r.apply(t, j, provision.Updated)
}

// Reports from before the command are not told again, and an unchanged guest that
// is up is not waited for.
func TestNoOldReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.running()
		r.report(t, report("a", contract.StepChannel, contract.StateDone), report("a", contract.StepRun, contract.StateDone))
		last, err := r.store.Progress(vmid)
		no(t, err)
		<-time.After(3 * time.Hour)
		start := time.Now()
		no(t, provision.New(r.Options).Wait(t.Context(), vmid, provision.Result{Last: &last}, time.Minute))
		if took := time.Since(start); took != 0 || len(r.steps.notes) != 0 {
			t.Errorf("waited %v, notes %q; want neither", took, r.steps.notes)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.running()
		r.report(t, with(report("a", contract.StepImage, contract.StateFailed), "not-ready", "no registry", ""))
		last, err := r.store.Progress(vmid)
		no(t, err)
		wait := later(time.Second, func() {
			r.report(t, report("a", contract.StepImage, contract.StateDone), report("a", contract.StepRun, contract.StateDone))
		})
		no(t, provision.New(r.Options).Wait(t.Context(), vmid, provision.Result{Last: &last}, time.Minute))
		wait()
		if d := cmp.Diff([]string{"report: image done", "report: run done"}, r.steps.notes); d != "" {
			t.Errorf("notes (-want +got):\n%s", d)
		}
	})
}

func TestReportedURLs(t *testing.T) {
	for message, want := range map[string][]string{
		"ready": nil,
		"ready: http://192.0.2.7:9001/ https://[2001:db8::7]:8443/":       {"http://192.0.2.7:9001/", "https://[2001:db8::7]:8443/"},
		"ready, http://192.0.2.7:9001/, publishes udp":                    {"http://192.0.2.7:9001/"},
		"http://evil.example:80/ http://192.0.2.7/ http://u@192.0.2.7:1/": nil,
		"http://192.0.2.7:99999/ ftp://192.0.2.7:1/ http://192.0.2.7:1/x": nil,
		"http://192.0.2.7:1/\x1b[2J":                                      nil,
	} {
		if d := cmp.Diff(want, provision.ReportedURLs(message)); d != "" {
			t.Errorf("%q (-want +got):\n%s", message, d)
		}
	}
}
