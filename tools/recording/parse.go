package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// session is a recording as lines: this tool draws no cursor and no colours.
type session struct {
	title   string
	columns int
	lines   []line
}

type line struct {
	at   float64 // seconds from the start of the picture
	text string
}

const (
	maxColumns = 200
	maxLines   = 500
	maxPause   = 1.2 // seconds: a longer wait is shortened to this
)

type header struct {
	Version int    `json:"version"`
	Width   int    `json:"width"`
	Title   string `json:"title"`
}

// parse reads an asciicast. Output must be whole lines of text.
func parse(data []byte) (s session, err error) {
	first, rest, _ := strings.Cut(string(data), "\n")
	var h header
	if err := json.Unmarshal([]byte(first), &h); err != nil {
		return s, fmt.Errorf("line 1: %w", err)
	}
	if h.Version != 2 || h.Width < 20 || h.Width > maxColumns {
		return s, fmt.Errorf("line 1: want version 2 and a width of 20 to %d, got %d and %d", maxColumns, h.Version, h.Width)
	}
	s.title, s.columns = h.Title, h.Width
	before, at := 0.0, 0.0
	n := 1
	for text := range strings.Lines(rest) {
		n++
		e, err := parseEvent(text)
		if err != nil {
			return s, fmt.Errorf("line %d: %w", n, err)
		}
		if e.at < before {
			return s, fmt.Errorf("line %d: its time is before the one of the line above", n)
		}
		at += min(e.at-before, maxPause)
		before = e.at
		for _, text := range strings.Split(strings.TrimSuffix(e.text, "\r\n"), "\r\n") {
			s.lines = append(s.lines, wrap(at, text, s.columns)...)
		}
	}
	if len(s.lines) == 0 || len(s.lines) > maxLines {
		return s, fmt.Errorf("want 1 to %d lines, got %d", maxLines, len(s.lines))
	}
	return s, nil
}

type event struct {
	at   float64
	text string
}

// parseEvent reads [SECONDS, "o", "LINES\r\n"].
func parseEvent(text string) (e event, err error) {
	var raw []json.RawMessage
	var kind string
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		return e, err
	}
	if len(raw) != 3 {
		return e, fmt.Errorf("want three values, got %d", len(raw))
	}
	if err := errors.Join(json.Unmarshal(raw[0], &e.at), json.Unmarshal(raw[1], &kind), json.Unmarshal(raw[2], &e.text)); err != nil {
		return e, err
	}
	switch {
	case kind != "o":
		return e, fmt.Errorf("want output, got %q", kind)
	case !strings.HasSuffix(e.text, "\r\n"):
		return e, errors.New("want whole lines")
	case strings.ContainsFunc(strings.ReplaceAll(e.text, "\r\n", ""), unicode.IsControl):
		return e, errors.New("want text without control characters")
	}
	return e, nil
}

// wrap breaks a line at the width of the terminal.
func wrap(at float64, text string, columns int) (lines []line) {
	for utf8.RuneCountInString(text) > columns {
		cut := string([]rune(text)[:columns])
		lines = append(lines, line{at, cut})
		text = text[len(cut):]
	}
	return append(lines, line{at, text})
}
