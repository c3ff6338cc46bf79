package audit

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// maxQueue limits the events that wait for their write.
const maxQueue = 1024

// Queue adds events in the background, because requests of guests must not wait
// for a disk. An event for which there is no room is lost, and the log has the
// number of lost events.
type Queue struct {
	log    *Log
	events chan Event
	lost   atomic.Int64
	failed func(error)
	stop   chan struct{}
	ended  chan struct{}
}

// closePatience is how long Close waits for the log's lock and disk.
const closePatience = 5 * time.Second

// NewQueue returns a queue for log. failed is called with the error of events
// that could not be written.
func NewQueue(log *Log, failed func(error)) *Queue {
	q := &Queue{log: log, events: make(chan Event, maxQueue), failed: failed, stop: make(chan struct{}), ended: make(chan struct{})}
	go q.run()
	return q
}

// Add queues e and returns at once.
func (q *Queue) Add(e Event) {
	select {
	case q.events <- e:
	default:
		q.lost.Add(1)
	}
}

// AddMinor is Add for an event that must not take the room of others: it reports
// false, and keeps nothing, if half of the room is used.
func (q *Queue) AddMinor(e Event) bool {
	if len(q.events) >= maxQueue/2 {
		return false
	}
	q.Add(e)
	return true
}

// Close returns once all events are written, or the log did not take them in
// time. What is added after it is lost.
func (q *Queue) Close() {
	close(q.stop)
	<-q.ended
}

func (q *Queue) run() {
	defer close(q.ended)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-ctx.Done():
		case <-q.stop:
			select {
			case <-ctx.Done():
			case <-time.After(closePatience):
				cancel()
			}
		}
	}()
	for {
		select {
		case e := <-q.events:
			q.write(ctx, e)
		case <-q.stop:
			for len(q.events) > 0 {
				q.write(ctx, <-q.events)
			}
			return
		}
	}
}

func (q *Queue) write(ctx context.Context, first Event) {
	events := []Event{first}
	for len(q.events) > 0 {
		events = append(events, <-q.events)
	}
	batch, lost := events, q.lost.Swap(0)
	if lost > 0 {
		batch = append(batch, Event{Kind: eventsLost, Detail: fmt.Sprintf("%d events", lost)})
	}
	if err := q.log.Add(ctx, batch...); err != nil {
		q.lost.Add(lost + int64(len(events)))
		q.failed(err)
	}
}
