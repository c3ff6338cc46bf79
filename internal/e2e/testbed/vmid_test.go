package testbed

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// TestVMIDs gives no id to two askers, whatever the order in which they come.
func TestVMIDs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "vmid")
	var mu sync.Mutex
	seen := map[int]bool{}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			ids, err := takeVMIDs(file, 3)
			mu.Lock()
			defer mu.Unlock()
			if err != nil || len(ids) != 3 {
				t.Errorf("ids %v, error %v", ids, err)
			}
			for _, id := range ids {
				if seen[id] {
					t.Errorf("%d was given twice", id)
				}
				seen[id] = true
			}
		})
	}
	all.Wait()
	if err := os.WriteFile(file, []byte("799999999\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if ids, err := takeVMIDs(file, 2); err != nil || ids[0] != firstVMID {
		t.Errorf("at the end of the range: want %d, got %v %v", firstVMID, ids, err)
	}
}
