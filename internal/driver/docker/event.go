package docker

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
)

// Event is something that happened to a watched container.
type Event struct {
	Container string // ID
	Action    string // "start", "die", "healthy", "unhealthy", "destroy"
	ExitCode  int    // of a die
	Time      time.Time
}

// Watch delivers the events of the containers that have the label, until ctx
// ends or the connection is lost; then the channel is closed. The engine has
// the subscription when Watch returns, so a container started afterwards cannot
// die unseen. A lost connection, or an engine that does not answer, is not an error
// here: the caller inspects.
func (c *Client) Watch(ctx context.Context, label string) <-chan Event {
	args := filters.NewArgs(filters.Arg("type", "container"), filters.Arg("label", label))
	for _, action := range []string{"start", "die", "health_status", "destroy"} {
		args.Add("event", action)
	}
	ctx, cancel := context.WithCancel(ctx)
	hung := time.AfterFunc(c.limit, cancel) // Events returns once the answer has started
	in, errs := c.api().Events(ctx, events.ListOptions{Filters: args})
	hung.Stop()
	out := make(chan Event, 16)
	go func() {
		defer close(out)
		defer cancel()
		for {
			select {
			case m := <-in:
				select {
				case out <- event(m):
				case <-ctx.Done():
					return
				}
			case <-errs: //nolint:errcheck // see above: the caller inspects
				return
			}
		}
	}()
	return out
}

func event(m events.Message) Event {
	action := string(m.Action)
	if status, ok := strings.CutPrefix(action, "health_status: "); ok {
		action = status
	}
	code, _ := strconv.Atoi(m.Actor.Attributes["exitCode"]) // absent but for a die
	return Event{Container: m.Actor.ID, Action: action, ExitCode: code, Time: time.Unix(0, m.TimeNano)}
}
