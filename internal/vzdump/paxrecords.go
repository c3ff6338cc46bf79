package vzdump

import (
	"strconv"
	"strings"
	"time"
)

// The greatest values of octal fields in a ustar header; records have what
// exceeds them.
const (
	maxOctalID   = 1<<21 - 1
	maxOctalSize = 1<<33 - 1
)

// sparseRecords are the four of GNU tar's sparse format 1.0.
var sparseRecords = [...]string{"GNU.sparse.major", "GNU.sparse.minor", "GNU.sparse.name", "GNU.sparse.realsize"}

// parseRecords reads the content of an extended header. Each value is a
// separate copy: keeping one does not keep the memory of the others.
func parseRecords(data string) (map[string]string, error) {
	records := map[string]string{}
	for data != "" {
		text, rest, ok := strings.Cut(data, " ")
		n, err := strconv.Atoi(text)
		if !ok || err != nil || strconv.Itoa(n) != text || n <= len(text)+1 || n > len(data) || data[n-1] != '\n' {
			return nil, refuse(ErrCorrupt, "", "a pax record that is not \"length key=value\": %q", data[:min(len(data), 32)])
		}
		record := rest[:n-len(text)-2]
		data = data[n:]
		key, value, ok := strings.Cut(record, "=")
		if !ok || key == "" || strings.IndexByte(key, 0) >= 0 {
			return nil, refuse(ErrCorrupt, "", "a pax record without a key: %q", record[:min(len(record), 32)])
		}
		if _, twice := records[key]; twice {
			return nil, refuse(ErrUnsupported, "", "the pax record %q is there twice: readers of tar differ in which one they take", key)
		}
		if err := checkRecord(key, value); err != nil {
			return nil, err
		}
		records[strings.Clone(key)] = strings.Clone(value)
	}
	if len(records) == 0 {
		return nil, refuse(ErrUnsupported, "", "an extended header without records")
	}
	return records, nil
}

// checkRecord refuses keys that change what tar makes of the member in a way
// that others do not, and values that are empty or have a NUL byte where a
// text or number belongs.
func checkRecord(key, value string) error {
	switch {
	case strings.HasPrefix(key, xattrPrefix):
		return nil // any bytes
	case !plainKey(key):
		return refuse(ErrUnsupported, "", "the pax record %.64q: want a letter or digit first and no blanks; GNU tar takes \" path\" for \"path\"", key)
	case key == aclPrefix+"access", key == aclPrefix+"default":
	case standardRecords[key], strings.HasPrefix(key, sparsePrefix):
	case key == "charset", key == "hdrcharset":
		return refuse(ErrUnsupported, "", "the pax record %q: not all readers of tar take names by it", key)
	case strings.HasPrefix(key, "GNU."):
		return refuse(ErrUnsupported, "", "the pax record %q: multi-volume and incremental archives are not read", key)
	case strings.HasPrefix(key, aclPrefix):
		return refuse(ErrUnsupported, "", "the pax record %q: want access or default lists only", key)
	default:
		return nil // an oddity; tar ignores it
	}
	if value == "" || strings.IndexByte(value, 0) >= 0 {
		return refuse(ErrUnsupported, "", "the pax record %q is empty or has a NUL byte: readers of tar understand it in different ways", key)
	}
	return nil
}

// plainKey reports whether all readers understand the key in the same way.
func plainKey(key string) bool {
	odd := func(r rune) bool { return r <= ' ' || r > '~' }
	c := key[0]
	return strings.IndexFunc(key, odd) < 0 && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9')
}

// apply overrides the header's fields by the records.
func (h *tarHeader) apply(records map[string]string) error {
	h.records = records
	var err error
	for key, value := range records {
		switch key {
		case "path":
			h.RawName = value
		case "linkpath":
			if h.flag != '1' && h.flag != '2' {
				return refuse(ErrUnsupported, h.RawName, "a pax record linkpath on what is not a link")
			}
			h.RawLink = value
		case "uname":
			h.Uname = value
		case "gname":
			h.Gname = value
		case "uid":
			h.UID, err = override(key, value, h.UID, maxOctalID)
		case "gid":
			h.GID, err = override(key, value, h.GID, maxOctalID)
		case "size":
			h.Size, err = override(key, value, h.Size, maxOctalSize)
		case "mtime":
			h.ModTime, err = parseTime(key, value)
		case "atime", "ctime":
			_, err = parseTime(key, value)
		}
		if err != nil {
			return err
		}
	}
	return h.applySparse()
}

// override returns the number of a record if the header has none: it must be
// too large for the header's field, and the field must be 0.
func override[T int | int64](key, value string, inHeader T, most int64) (T, error) {
	n, err := decimal(value)
	if err != nil || n <= most || n > 1<<62 || inHeader != 0 {
		return 0, refuse(ErrUnsupported, "", "the pax record %s=%s beside %d in the header: want a number in one of the two only, in the record if it exceeds %d",
			key, value, inHeader, most)
	}
	return T(n), nil
}

// decimal reads an unsigned decimal number without leading zeros.
func decimal(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err == nil && strconv.FormatUint(n, 10) != s {
		err = strconv.ErrSyntax
	}
	return int64(n), err
}

// parseTime reads seconds since 1970 with at most nine digits after the point.
func parseTime(key, value string) (time.Time, error) {
	digits, negative := strings.CutPrefix(value, "-")
	whole, fraction, point := strings.Cut(digits, ".")
	sec, err := decimal(whole)
	var nsec uint64
	if err == nil && point {
		nsec, err = strconv.ParseUint((fraction + "000000000")[:9], 10, 32)
	}
	if err != nil || sec > 1<<40 || len(fraction) > 9 || point && fraction == "" {
		return time.Time{}, refuse(ErrUnsupported, "", "the pax record %s=%.40q: want seconds with at most nine digits after the point", key, value)
	}
	if negative {
		return time.Unix(-sec, -int64(nsec)), nil
	}
	return time.Unix(sec, int64(nsec)), nil
}

// applySparse takes name and size of a file in sparse format 1.0, and refuses
// the older formats.
func (h *tarHeader) applySparse() error {
	known := 0
	for _, key := range sparseRecords {
		if _, ok := h.records[key]; ok {
			known++
		}
	}
	for key := range h.records {
		if strings.HasPrefix(key, sparsePrefix) {
			h.sparse = true
			known--
		}
	}
	if !h.sparse {
		return nil
	}
	_, path := h.records["path"]
	complete := h.records["GNU.sparse.name"] != "" && h.records["GNU.sparse.realsize"] != ""
	if known != 0 || !complete || path || h.flag != '0' || h.records["GNU.sparse.major"] != "1" || h.records["GNU.sparse.minor"] != "0" {
		return refuse(ErrUnsupported, h.RawName, "a sparse file that is not in GNU tar's sparse format 1.0: readers of tar understand the older ones in different ways")
	}
	h.RawName = h.records["GNU.sparse.name"]
	return nil
}
