package docker

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/felhom/felhom-golden/internal/regular"
)

// StallLimit is how long a pull may move nothing. The older engines report each
// 512 KiB or each hundredth of a layer, so that silence alone proves nothing on
// a link of a few KiB/s: a silent pull continues while the network still
// receives, for up to silenceLimits of this time.
const StallLimit = 2 * time.Minute

const (
	// silenceLimits times StallLimit is the longest silence: other traffic must
	// not keep a dead pull.
	silenceLimits = 10
	// leastRate is what the network must receive for a silent pull to continue,
	// in bytes a second: more than the chatter of a quiet network.
	leastRate = 512
	// looksPerLimit is how often a pull is looked at within StallLimit.
	looksPerLimit = 8
)

// stallWatch calls giveUp with the length of the silence if a pull or load moves
// nothing for limit, and the network receives next to nothing meanwhile.
type stallWatch struct {
	limit    time.Duration
	received func() (int64, error)
	giveUp   func(silence time.Duration)

	mu     sync.Mutex
	timer  *time.Timer
	ended  bool
	work   int64     // of the last progress
	since  time.Time // when that was
	seen   int64     // work at the last look
	base   int64     // what the network had received at baseAt
	baseAt time.Time // the first look after the last progress; zero: base is not known
}

func newStallWatch(limit time.Duration, received func() (int64, error), giveUp func(silence time.Duration)) *stallWatch {
	w := &stallWatch{limit: limit, received: received, giveUp: giveUp, since: time.Now()}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(limit/looksPerLimit, w.look)
	return w
}

func (w *stallWatch) progress(p Progress) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.Work > w.work {
		w.work, w.since = p.Work, time.Now()
	}
}

// moved notes that something moved, of work without Progress.
func (w *stallWatch) moved() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since = time.Now()
}

func (w *stallWatch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return
	}
	now := time.Now()
	got, err := w.received()
	if w.work != w.seen || w.baseAt.IsZero() || err != nil {
		w.seen, w.base, w.baseAt = w.work, got, now
	}
	if err != nil {
		w.baseAt = time.Time{}
	}
	silence := now.Sub(w.since)
	if silence < w.limit || silence < silenceLimits*w.limit && w.receives(now, got) {
		w.timer.Reset(w.limit / looksPerLimit)
		return
	}
	w.ended = true
	w.giveUp(silence)
}

// receives reports whether the network received enough since the pull fell
// silent. It is false if that was not measured for long enough.
func (w *stallWatch) receives(now time.Time, got int64) bool {
	span := now.Sub(w.baseAt)
	return !w.baseAt.IsZero() && span >= w.limit/2 && float64(got-w.base) >= span.Seconds()*leastRate
}

func (w *stallWatch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	w.timer.Stop()
}

// The kernel's counters of the interfaces of this process's network, which is
// the engine's.
const (
	interfacesFile    = "/proc/self/net/dev"
	maxInterfacesFile = 1 << 20
)

// received returns how many bytes came from outside.
func received() (int64, error) {
	data, err := regular.Read(interfacesFile, maxInterfacesFile)
	if err != nil {
		return 0, fmt.Errorf("bytes received: %w", err)
	}
	return sumReceived(data)
}

// sumReceived adds up the received bytes of all interfaces but the loopback and
// those that lead to containers.
func sumReceived(table []byte) (sum int64, err error) {
	for line := range bytes.Lines(table) {
		name, counters, isInterface := strings.Cut(string(line), ":")
		name = strings.TrimSpace(name)
		if !isInterface || name == "lo" || name == "docker0" || strings.HasPrefix(name, "br-") || strings.HasPrefix(name, "veth") {
			continue
		}
		first, _, _ := strings.Cut(strings.TrimSpace(counters), " ")
		n, err := strconv.ParseUint(first, 10, 63)
		if err == nil && int64(n) > math.MaxInt64-sum {
			err = strconv.ErrRange
		}
		if err != nil {
			return 0, fmt.Errorf("%s: interface %s: %w", interfacesFile, name, err)
		}
		sum += int64(n)
	}
	return sum, nil
}
