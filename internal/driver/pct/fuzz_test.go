package pct

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/termtext"
)

// FuzzOutput reads what PVE's programs print.
func FuzzOutput(f *testing.F) {
	for _, s := range []string{
		"Name             Type     Status           Total            Used       Available        %\nlocal             dir     active        98497780         9215112        84233120    9.36%\n",
		"local dir active 1 1 9223372036854775807 1%\n", "local dir inactive 0 0 0 0.00%\n", "local dir odd 1 1 1 1\n",
		"Volid Format Type Size VMID\nlocal:8200/vm-8200-disk-0.raw raw rootdir 8589934592 8200\n", "Volid Format Type Size VMID\nother:x raw rootdir 1 1\n",
		`{"type":"dir","content":"rootdir,images","enabled":1,"active":"1","avail":1.5e300}`, `{"avail":"NaN"}`, `{"avail":"-Inf"}`, `{"avail":"0x1p62"}`, `{"enabled":true,"active":null}`, "1.5e300", `"1e19"`, `"NaN"`, `"+Inf"`, `"0x1p63"`,
		"CT is locked (backup)\n", "unable to create CT 8200 - CT 8200 already exists on node 'pve'", "tar: ./a: Cannot write: No space left on device\ncommand 'tar xpf -' failed: exit code 2\n", "\x1b[2J",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if st, ok := parseStatus("local", text); ok && (st.Avail < 0 || st.Active != 0 && st.Enabled == 0) {
			t.Errorf("%q is %+v", text, st)
		}
		ids, ok := parseList("local", text)
		for _, id := range ids {
			if !ok || !strings.HasPrefix(id, "local:") || strings.ContainsAny(id, " \t\n") {
				t.Errorf("%q has the volume %q, %v", text, id, ok)
			}
		}
		var n number
		if err := json.Unmarshal([]byte(text), &n); err == nil && !strings.HasPrefix(strings.Trim(text, " \t\r\n\""), "-") && n < 0 {
			t.Errorf("%s is the number %d", text, n)
		}
		for _, err := range []error{classify("pct start 8200", nil, text, ""), classify("pct start 8200", nil, "", text)} {
			words := err.Error()
			if strings.ContainsFunc(words, func(r rune) bool { return !termtext.IsSafe(r) }) || len(words) > maxWords+200 {
				t.Errorf("%q gives the error %q", text, words)
			}
		}
	})
}

// FuzzFiles reads the node's own files. A list that is not understood is asked of PVE:
// if it is taken, all its lines were.
func FuzzFiles(f *testing.F) {
	dir := f.TempDir()
	d := &Driver{o: Options{PVEDir: dir, TaskFile: filepath.Join(dir, "active"), Node: "pve", LocalDir: dir}}
	for _, s := range []string{
		"dir: local\n\tpath /var/lib/vz\n\tcontent iso,vztmpl,backup,rootdir\n\nlvmthin: local-lvm\n\tthinpool data\n\tvgname pve\n\tcontent rootdir,images\n", "dir: local\n\tdisable\n", "dir: local\ndir: local\n", "#\n x y\n",
		"{\n\"version\": 42,\n\"ids\": {\n\"8200\": { \"node\": \"pve2\", \"type\": \"lxc\", \"version\": 12 }}\n\n}\n", `{"ids":{"8200":{"node":"\u001b[2J"}}}`, `{"ids":null}`,
		"UPID:pve:0000C3F7:00B10A8B:66A0F1D2:vzdump:8200:root@pam: 0\n", "UPID:pve:0000C3F7:00B10A8B:66A0F1D2:vzclone:100:root@pam: 1 66A0F1D3 OK\n", "UPID\n",
		"pve-storage-9.0/pve/local:1700000000:100861726720:9436274688\n", "pve2-storage/pve/local:99999999999:999999999999999999:999999999999999999\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, name := range []string{"storage.cfg", ".vmlist", "active", reportFile} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if c, ok := d.storageConfig("local"); ok && (c.kind == "" || c.options == nil) {
			t.Errorf("%q is %+v", data, c)
		}
		if path, ok := d.directory("local"); ok && path != dir {
			t.Errorf("%q: storage local is in %s", data, path)
		}
		if avail, ok := d.reported("local"); ok && avail < 0 {
			t.Errorf("%q: %d bytes are free", data, avail)
		}
		if list, err := d.vmlistFile(); err == nil && list.IDs == nil {
			t.Errorf("%q is a list without guests", data)
		}
		NodeOf(dir, 8200)
		if tasks, ok := d.taskFile(); ok {
			if lines := strings.Count(string(data), "\n"); len(tasks) < lines || len(tasks) > lines+1 {
				t.Errorf("%d tasks in %d lines", len(tasks), lines)
			}
			w, err := d.tasks(t.Context(), 8200)
			for _, task := range tasks {
				if task.ID == "8200" && task.Status == "" && (err != nil || w.own == "") {
					t.Errorf("task %q of the guest is missed: %+v, %v", task.UPID, w, err)
				}
			}
		}
	})
}
