package pctconf

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of a file that is not trusted; PVE's own files have a few dozen lines.
const (
	maxBytes = 1 << 20
	maxLines = 10_000
	maxLine  = 64 << 10
)

var (
	sectionPattern = regexp.MustCompile(`^\[([A-Za-z][A-Za-z0-9_-]+)\]\s*$`)
	settingPattern = regexp.MustCompile(`^([a-z][a-z_]*[0-9]*):\s*(.*?)\s*$`)
	lxcPattern     = regexp.MustCompile(`^(lxc\.[a-z0-9_\-.]+)(?::|\s*=)\s*(.*?)\s*$`)
)

// Parse reads a file. It always returns what it could read; the findings are in
// the order of lines. A line with a finding stays in the result, because PVE
// keeps a wrong value too: the caller sees what a restored guest would get.
func Parse(data []byte) (*Config, []Finding) {
	p := parser{config: &Config{}}
	if len(data) > maxBytes {
		p.fail(1, "", "the file has %d bytes, which exceeds the limit of %d", len(data), maxBytes)
		return p.config, p.findings
	}
	p.enter(nil, 0)
	for n, line := range bytes.Split(data, []byte("\n")) {
		if n >= maxLines {
			p.fail(n+1, "", "more than %d lines", maxLines)
			break
		}
		p.line(n+1, string(line))
	}
	p.leave()
	return p.config, p.findings
}

// odd returns the first character of a line that this parser, PVE's and LXC's
// may read differently, and its index; -1 if there is none. These are control
// characters, blanks other than space and tab, and all bytes above ASCII
// outside of the notes: PVE encodes those there.
func odd(line string) (at int, r rune) {
	note := strings.HasPrefix(line, "#")
	for i, r := range line {
		switch {
		case r == '\t', r == utf8.RuneError && note:
		case r < 0x20, r == 0x7f, r > 0x7f && !note, unicode.IsSpace(r) && r != ' ', unicode.Is(unicode.Cf, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r):
			return i, r
		}
	}
	return -1, 0
}

// keyOf returns the key of a line that may be invalid, for its finding.
func keyOf(line string) string {
	key, _, _ := strings.Cut(line, ":")
	if settingPattern.MatchString(key + ":") {
		return key
	}
	return ""
}

type parser struct {
	config   *Config
	findings []Finding

	section *Section // nil: the current configuration
	notes   []string
	seen    map[string]int // key to line
}

func (p *parser) fail(line int, key, format string, args ...any) {
	p.findings = append(p.findings, Finding{Line: line, Key: key, Severity: Error, Message: fmt.Sprintf(format, args...)})
}

func (p *parser) warn(line int, key, format string, args ...any) {
	p.findings = append(p.findings, Finding{Line: line, Key: key, Severity: Warning, Message: fmt.Sprintf(format, args...)})
}

func (p *parser) enter(s *Section, line int) {
	p.section, p.notes, p.seen = s, nil, map[string]int{}
	if s != nil {
		s.Line = line
	}
}

func (p *parser) leave() {
	text := strings.Join(p.notes, "\n")
	switch s := p.section; {
	case s == nil:
		p.config.Description = text
	case s.Name == "":
		s.Description = text
		p.config.Pending = s
	default:
		s.Description = text
		p.config.Snapshots = append(p.config.Snapshots, *s)
	}
}

func (p *parser) line(n int, line string) {
	if len(line) > maxLine {
		p.fail(n, "", "the line has %d bytes, which exceeds the limit of %d", len(line), maxLine)
		return
	}
	if at, r := odd(line); at >= 0 {
		p.fail(n, keyOf(line), "%U at byte %d: want printable characters and spaces; PVE and LXC read others in different ways", r, at+1)
	}
	line = strings.TrimRight(line, " \t")
	switch {
	case line == "":
	case line[0] == '#':
		note := decode(line[1:])
		if strings.Contains(note, "\x00") {
			p.fail(n, "", "the description has a NUL byte")
		}
		p.notes = append(p.notes, note)
	case strings.EqualFold(line, "[pve:pending]"):
		p.leave()
		if p.config.Pending != nil {
			p.fail(n, "", "a second pending section; the first is on line %d", p.config.Pending.Line)
		}
		p.enter(&Section{}, n)
	case line[0] == '[':
		m := sectionPattern.FindStringSubmatch(line)
		if m == nil {
			p.fail(n, "", "%q is not a section: want [name] with a letter first, then letters, digits, _ and -", line)
			return
		}
		p.leave()
		for _, s := range p.config.Snapshots {
			if s.Name == m[1] {
				p.fail(n, "", "a second section [%s]; the first is on line %d", m[1], s.Line)
			}
		}
		p.enter(&Section{Name: m[1]}, n)
	default:
		p.setting(n, line)
	}
}

func (p *parser) setting(n int, line string) {
	if m := lxcPattern.FindStringSubmatch(line); m != nil {
		if err := checkLXC(m[1]); err != nil {
			p.fail(n, m[1], "%s", err)
		}
		lxc := &p.config.LXC
		if p.section != nil {
			lxc = &p.section.LXC
		}
		*lxc = append(*lxc, Setting{Key: m[1], Value: m[2], Line: n})
		return
	}
	m := settingPattern.FindStringSubmatch(line)
	if m == nil {
		p.fail(n, "", "%q is not a setting: want key: value", line)
		return
	}
	key, value := m[1], m[2]
	if key == "description" { // notes of older versions
		p.notes = append(p.notes, decode(value))
		return
	}
	if first, ok := p.seen[key]; ok {
		p.fail(n, key, "set again; the first is on line %d and the last one counts", first)
		p.store(key, value, n, true)
		return
	}
	p.seen[key] = n
	p.store(key, value, n, false)
}

func (p *parser) store(key, value string, n int, replace bool) {
	if p.section == nil || !sectionKeys[key] {
		canonical, err := Canonical(key, value)
		switch {
		case err != nil:
			p.fail(n, key, "%s", strings.TrimPrefix(err.Error(), key+": "))
		case canonical != value && keyName(key) != "net" && !isProperty(key):
			p.warn(n, key, "%q is not the canonical form, which is %q", value, canonical)
		}
	}
	settings := &p.config.Settings
	if p.section != nil {
		settings = &p.section.Settings
	}
	if replace {
		for i := range *settings {
			if (*settings)[i].Key == key {
				(*settings)[i] = Setting{Key: key, Value: value, Line: n}
				return
			}
		}
	}
	*settings = append(*settings, Setting{Key: key, Value: value, Line: n})
}

// sectionKeys are valid only in a pending section or a snapshot.
var sectionKeys = map[string]bool{"delete": true, "snapstate": true, "snaptime": true, "parent": true}

// encodeDescription returns text as the "#" lines of a file: control bytes,
// bytes from 0x7f on, ":" and "%" become %XX. Empty lines at the end are left out, as PVE
// does, and an empty text has no line.
func encodeDescription(text string) string {
	if text = strings.TrimRight(text, "\n"); text == "" {
		return ""
	}
	var b strings.Builder
	for line := range strings.SplitSeq(text, "\n") {
		b.WriteByte('#')
		// A final blank would be lost if the line is trimmed.
		for i := range len(line) {
			if c := line[i]; c < 0x20 || c >= 0x7f || c == ':' || c == '%' || c == ' ' && i == len(line)-1 {
				fmt.Fprintf(&b, "%%%02X", c)
			} else {
				b.WriteByte(c)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// decode reverses the percent-encoding; what is not encoded stays.
func decode(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			hi, lo := unhex(s[i+1]), unhex(s[i+2])
			if hi >= 0 && lo >= 0 {
				b.WriteByte(byte(hi<<4 | lo))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func unhex(c byte) int {
	return strings.IndexByte("0123456789abcdef", c|0x20)
}
