package docker

import (
	"encoding/json"
	"errors"
	"io"
)

// Progress is the sum over the layers of one pull.
type Progress struct {
	Done, Total int64 // bytes downloaded, of those announced so far; layers that exist already do not count
	Moved       int64 // bytes downloaded and extracted in all; never decreases
	Work        int64 // grows whenever anything moved: bytes, extraction or a layer's state
}

// message is one line of the engine's stream (JSONMessage).
type message struct {
	ID       string `json:"id"`
	Status   string `json:"status"`
	Stream   string `json:"stream"`
	Error    string `json:"error"`
	Progress struct {
		Current int64 `json:"current"`
		Total   int64 `json:"total"`
	} `json:"progressDetail"`
	ErrorDetail struct {
		Message string `json:"message"`
	} `json:"errorDetail"`
}

// streamError is a failure that the engine reports inside a stream that started
// with 200. It has only a text.
type streamError struct{ text string }

func (e *streamError) Error() string { return e.text }

// The sizes of a stream are those that a registry names. An image has some hundred
// layers; those that exceed the limit are not counted, and nothing overflows.
const (
	maxLayers = 1 << 12
	maxLayer  = 1 << 50 // bytes
	maxMoved  = maxLayers * maxLayer
)

type layer struct {
	status             string
	done, total, moved int64
}

// readStream reads messages to the end and reports each time something moved.
// A stream that ends in the middle of a message ends in an error.
func readStream(r io.Reader, report func(Progress)) error {
	return readMessages(r, report, func(string) {})
}

// readMessages is readStream; said gets the engine's plain text.
func readMessages(r io.Reader, report func(Progress), said func(string)) error {
	layers := map[string]*layer{}
	sum := Progress{}
	dec := json.NewDecoder(r)
	for {
		var m message
		switch err := dec.Decode(&m); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if m.ErrorDetail.Message != "" {
			return &streamError{m.ErrorDetail.Message}
		}
		if m.Error != "" {
			return &streamError{m.Error}
		}
		if m.Stream != "" {
			said(m.Stream)
		}
		if m.ID == "" {
			continue
		}
		l := layers[m.ID]
		if l == nil {
			if len(layers) == maxLayers {
				continue
			}
			l = &layer{}
			layers[m.ID] = l
		}
		if l.update(m, &sum) {
			report(sum)
		}
	}
}

// update adds one message of the layer to the sum and reports whether anything moved.
func (l *layer) update(m message, sum *Progress) bool {
	moved := m.Status != l.status
	if moved {
		l.moved = 0
	}
	l.status = m.Status
	current, total := min(max(m.Progress.Current, 0), maxLayer), min(max(m.Progress.Total, 0), maxLayer)
	if current > l.moved {
		sum.Moved = min(sum.Moved+current-l.moved, maxMoved)
		l.moved, moved = current, true
	}
	switch m.Status {
	case "Downloading":
		if total > 0 {
			sum.Total += total - l.total
			l.total = total
		}
		sum.Done += current - l.done // may decrease: a retry starts again
		l.done = current
	case "Download complete", "Pull complete":
		sum.Done += l.total - l.done
		l.done = l.total
	}
	if moved {
		sum.Work++
	}
	return moved
}
