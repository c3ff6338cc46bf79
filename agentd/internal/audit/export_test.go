package audit

// SetMaxFile makes a file full at the given size.
func (l *Log) SetMaxFile(size int64) { l.maxFile = size }
