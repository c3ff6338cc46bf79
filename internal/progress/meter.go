package progress

import (
	"fmt"
	"time"
)

// Meter turns byte counts into a rate and a time left. The zero Meter is ready.
// It is not for use by several goroutines at once.
type Meter struct {
	Now func() time.Time // nil: time.Now

	started, last time.Time
	bytes         int64
	rate          float64
}

// Estimate is the result of a Meter.
type Estimate struct {
	Done, Total int64         // bytes; Total is 0 if it is not known
	Rate        float64       // bytes per second, smoothed; 0 if it is not known yet
	Left        time.Duration // until done; 0 if it is not known
	Idle        time.Duration // since the last new byte
}

// smoothing is the time over which the rate is averaged: long enough that the
// engine's coarse reports (each 512 KiB) do not make the figure jump.
const smoothing = 5 * time.Second

// idleAfter is the time without a new byte after which no rate is shown: an
// engine's reports of a slow pull are up to this far apart.
const idleAfter = 20 * time.Second

// Update takes the bytes done so far and the total, 0 if it is not known. If
// the count decreases, as after a retry, the rate is measured again. The same
// count again only shows how long nothing has been new.
func (m *Meter) Update(done, total int64) Estimate {
	now := time.Now()
	if m.Now != nil {
		now = m.Now()
	}
	switch {
	case m.started.IsZero() || done < m.bytes:
		m.started, m.last, m.bytes, m.rate = now, now, done, 0
	case done == m.bytes: // the next bytes count over the whole time since the last ones
	case now.Sub(m.last) >= 100*time.Millisecond:
		span := now.Sub(m.last).Seconds()
		current := float64(done-m.bytes) / span
		weight := min(1, max(span/smoothing.Seconds(), span/now.Sub(m.started).Seconds()))
		m.rate += (current - m.rate) * weight
		m.last, m.bytes = now, done
	}
	e := Estimate{Done: done, Total: total, Rate: m.rate, Idle: now.Sub(m.last)}
	if e.IsIdle() {
		e.Rate = 0
	}
	if e.Rate >= 1 && total > done {
		e.Left = time.Duration(float64(total-done) / m.rate * float64(time.Second))
	}
	return e
}

// IsIdle reports whether nothing was new for so long that there is no rate.
func (e Estimate) IsIdle() bool { return e.Idle >= idleAfter && (e.Total == 0 || e.Done < e.Total) }

// String returns "12.3 MiB of 27.0 MiB, 4.2 MiB/s, 4s left" without the parts that are
// not known, or "12.3 MiB of 27.0 MiB, nothing new for 42s".
func (e Estimate) String() string {
	text := Bytes(e.Done)
	if e.Total > 0 {
		text += " of " + Bytes(e.Total)
	}
	if e.Rate >= 1 {
		text += ", " + Bytes(int64(e.Rate)) + "/s"
	}
	if e.Left > 0 {
		text += ", " + e.Left.Round(time.Second).String() + " left"
	}
	if e.IsIdle() {
		text += ", nothing new for " + e.Idle.Round(time.Second).String()
	}
	return text
}

// Bytes returns a size in binary units with one decimal: "512 B", "27.0 MiB".
func Bytes(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/1024, 0
	for value >= 1024 && unit < 4 {
		value, unit = value/1024, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTP"[unit])
}

// Duration returns a time with about three digits: "850µs", "12ms", "1.25s",
// "2m3s".
func Duration(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
