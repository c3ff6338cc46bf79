package bootstrap

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/bootstrapper/internal/hostapi"
	"github.com/felhom/felhom-golden/internal/contract"
)

// answering is a host that gives one status to everybody.
type answering int

func (code answering) Guest(context.Context) (contract.Guest, error) {
	return contract.Guest{}, &hostapi.StatusError{Method: "GET", Path: contract.PathGuest, Code: int(code)}
}

// TestAHostInTroubleIsReached: an answer proves address, port and firewall, so
// the message must not send anybody there.
func TestAHostInTroubleIsReached(t *testing.T) {
	for _, code := range []int{421, 429, 500, 503} {
		out, err := channelStep{host: answering(code), endpoint: "192.0.2.1:8443"}.run(t.Context())
		if err != nil || out.Outcome != Degraded {
			t.Fatalf("%d: %+v, %v, want degraded", code, out, err)
		}
		if want := fmt.Sprintf("the host answers %d, going on without it", code); !strings.Contains(out.Message, want) {
			t.Errorf("message %q, want %q", out.Message, want)
		}
		if want := "look at felhom-agentd's log on the host"; out.Hint != want {
			t.Errorf("hint %q, want %q", out.Hint, want)
		}
	}
}
