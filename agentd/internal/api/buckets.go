package api

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxBuckets bounds the memory that many sources can take.
const maxBuckets = 4096

// buckets is one token bucket per key.
type buckets[K comparable] struct {
	rate  rate.Limit
	burst int

	mu       sync.Mutex
	byKey    map[K]*rate.Limiter
	overflow *rate.Limiter // shared by the keys beyond maxBuckets
}

func newBuckets[K comparable](perSecond float64, burst int) *buckets[K] {
	return &buckets[K]{
		rate: rate.Limit(perSecond), burst: burst,
		byKey: map[K]*rate.Limiter{}, overflow: rate.NewLimiter(rate.Limit(perSecond), burst),
	}
}

// allow takes one token out of key's bucket, if there is one.
func (b *buckets[K]) allow(key K, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.byKey[key]
	if l == nil {
		if len(b.byKey) >= maxBuckets {
			b.evict(now)
		}
		if len(b.byKey) >= maxBuckets {
			return b.overflow.AllowN(now, 1)
		}
		l = rate.NewLimiter(b.rate, b.burst)
		b.byKey[key] = l
	}
	return l.AllowN(now, 1)
}

// evict removes full buckets: a new one would be as full.
func (b *buckets[K]) evict(now time.Time) {
	for key, l := range b.byKey {
		if l.TokensAt(now) >= float64(b.burst) {
			delete(b.byKey, key)
		}
	}
}

// pause returns how long an empty bucket takes to have one token.
func (b *buckets[K]) pause() time.Duration {
	return time.Duration(float64(time.Second) / float64(b.rate))
}
