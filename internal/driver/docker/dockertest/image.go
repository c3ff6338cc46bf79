package dockertest

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
)

// Images returns the references of the images in the store, sorted.
func (e *Engine) Images() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Sorted(maps.Keys(e.images))
}

// removeImage removes one name; the last one stays while a container uses the image.
func (e *Engine) removeImage(w http.ResponseWriter, name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	img := e.images[name]
	if img == nil {
		problem(w, 404, "No such image: "+name)
		return
	}
	for _, c := range e.containers {
		if c.ImageID == img.id {
			problem(w, 409, "conflict: unable to remove repository reference \""+name+"\" (must force) - container "+c.ID[:12]+" is using its referenced image "+img.id)
			return
		}
	}
	delete(e.images, name)
	_ = json.NewEncoder(w).Encode([]map[string]string{{"Untagged": name}})
}
