package blobcache

import "time"

// SetPatience sets how long a request waits for the check of a blob. Call it
// before the first one.
func (c *Cache) SetPatience(d time.Duration) { c.patience = d }
