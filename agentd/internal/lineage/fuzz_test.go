package lineage

import (
	"encoding/json"
	"testing"

	"github.com/felhom/felhom-golden/internal/pctconf"
)

// FuzzNotices: the kernel's events are read to the end, however long their names are.
func FuzzNotices(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, '8', '2', '0', '0', '.', 'c', 'o', 'n', 'f', 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{1, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0x80})
	f.Add([]byte{1, 0, 0})
	f.Fuzz(func(t *testing.T, events []byte) {
		if last := isLast(events); last && len(events) < 16 {
			t.Errorf("%x is the last", events)
		}
	})
}

// FuzzCompare: after any look that a file kept, a look at the same guests reports nothing
// the second time, and is kept as the same.
func FuzzCompare(f *testing.F) {
	const plain = "description: felhom-agentd%3A id 0a\nhostname: a\nnet0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:0A,type=veth\nmp0: /var/lib/felhom/mounts/8200,mp=/etc/felhom-bootstrap,ro=1\nparent: s2\n\n[s1]\nsnaptime: 1700000000\n\n[s2]\nsnaptime: 1700000100\n"
	f.Add([]byte(`{"guests":{"8200":{"id":"0a","macs":["bc:24:11:00:00:0a"],"parent":"s1","snapshots":{"s1":"1700000000"}}}}`), []byte(plain))
	f.Add([]byte(`{"guests":{"8200":{"gone":true}},"copies":{"8200 8201":"x"}}`), []byte(plain))
	f.Add([]byte(`{"guests":null}`), []byte("lock: rollback\n"))
	f.Add([]byte(`{"guests":{"-1":{}}}`), []byte(""))
	known := map[int]Known{8200: {ID: "0a", Mount: "/var/lib/felhom/mounts/8200"}, 8201: {}}
	f.Fuzz(func(t *testing.T, kept, conf []byte) {
		var s State
		if json.Unmarshal(kept, &s) != nil {
			return
		}
		c, _ := pctconf.Parse(conf)
		if c == nil {
			return
		}
		g := Of(c, func(string) string { return c.Description })
		if len(g.Snapshots) > maxSnapshots {
			t.Errorf("%d snapshots", len(g.Snapshots))
		}
		now := map[int]Guest{8200: g, 8300: g}
		isHere := func(int) bool { return false }
		for _, e := range s.Compare(now, known, isHere) {
			if _, isKnown := known[e.VMID]; !isKnown || e.Kind < RolledBack || e.Kind > Copied || e.Detail == "" {
				t.Errorf("event %+v", e)
			}
		}
		if again := s.Compare(now, known, isHere); len(again) > 0 {
			t.Errorf("the same guests again: %+v", again)
		}
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var restarted State
		if err := json.Unmarshal(data, &restarted); err != nil {
			t.Fatalf("%s cannot be read: %v", data, err)
		}
		if events := restarted.Compare(now, known, isHere); len(events) > 0 {
			t.Errorf("the same guests after a restart: %+v", events)
		}
	})
}
