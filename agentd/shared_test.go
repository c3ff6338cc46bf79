package main

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
)

// Nodes that share key_dir and store_dir show the same key, whichever made it,
// and a guest that moves from one to the other keeps pin and token.
func TestSharedKeyOfNodes(t *testing.T) {
	t.Parallel()
	shared := t.TempDir()
	text := fmt.Sprintf("key_dir: %[1]s/keys\nstore_dir: %[1]s/guests\n", shared)
	one, two := newBed(t, text), newBed(t, text)
	var all sync.WaitGroup
	pins := map[*bed][2]string{}
	var mu sync.Mutex
	for _, b := range []*bed{one, two} { // both find no key
		all.Go(func() {
			current, next := b.keys(t)
			mu.Lock()
			defer mu.Unlock()
			pins[b] = [2]string{current, next}
		})
	}
	all.Wait()
	if pins[one] != pins[two] {
		t.Fatalf("pins %v and %v", pins[one], pins[two])
	}
	boot := one.add(t, "8200")
	two.startProcess(t)
	if status, body := two.do(t, client(t, boot), "GET", "/storage", boot.LocalAPIToken.Reveal(), ""); status != 200 {
		t.Errorf("at the other node: %d %s", status, body)
	}
	// The other node's daemon follows a rotation, and guests of that node are not
	// named as missing where a hypervisor says that they are not here.
	one.command(t, "pin", "rotate")
	current, next := one.keys(t)
	if c, n := two.keys(t); c != current || n != next || c != pins[two][1] {
		t.Errorf("after a rotation: %s %s and %s %s", current, next, c, n)
	}
	until(t, two, "the other node shows the new key", func() bool {
		c := client(t, one.mounted(t, "8200"))
		res, err := c.Get(two.url + "/storage")
		if err == nil {
			_ = res.Body.Close()
		}
		c.CloseIdleConnections()
		return err == nil
	})
	if names, err := filepath.Glob(filepath.Join(one.dir, "state/tls/*.key")); err != nil || len(names) > 0 {
		t.Errorf("keys beside the shared ones: %v, %v", names, err)
	}
}
