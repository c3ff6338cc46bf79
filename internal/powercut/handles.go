package powercut

import "sync"

// handles are the open files and directories of one mount. Those that the kernel has not
// released when the mount is ended by force it never releases.
type handles struct {
	mu      sync.Mutex
	release map[any]func()
}

func (h *handles) add(handle any, release func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.release == nil {
		h.release = map[any]func(){}
	}
	h.release[handle] = release
}

func (h *handles) remove(handle any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.release, handle)
}

// close releases what is open. Call it when no request is served any more.
func (h *handles) close() {
	h.mu.Lock()
	left := h.release
	h.release = nil
	h.mu.Unlock()
	for _, release := range left {
		release()
	}
}
