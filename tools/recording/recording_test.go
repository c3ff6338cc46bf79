package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The pictures of docs are what their recordings give: "make pictures" draws them.
func TestPicturesAreCurrent(t *testing.T) {
	casts, err := filepath.Glob("../../docs/*.cast")
	if err != nil || len(casts) == 0 {
		t.Fatalf("no recording: %v, %v", casts, err)
	}
	for _, cast := range casts {
		data, err := os.ReadFile(cast)
		if err != nil {
			t.Fatal(err)
		}
		var drawn bytes.Buffer
		if err := run(bytes.NewReader(data), &drawn); err != nil {
			t.Errorf("%s: %v", cast, err)
			continue
		}
		picture := strings.TrimSuffix(cast, ".cast") + ".svg"
		got, err := os.ReadFile(picture)
		if err != nil || !bytes.Equal(got, drawn.Bytes()) {
			t.Errorf("%s is not what %s gives (%v): make pictures draws it", picture, cast, err)
		}
	}
}

const sample = `{"version": 2, "width": 20, "height": 24, "title": "a <b>"}
[0.1, "o", "$ one\r\n"]
[9.5, "o", "two & three\r\nfour\r\n"]
[9.6, "o", "123456789012345678901234\r\n"]
`

func TestDraw(t *testing.T) {
	var out bytes.Buffer
	if err := run(strings.NewReader(sample), &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`aria-label="a &lt;b&gt;"`, ">two &amp; three<", `class="typed"`, ">12345678901234567890<", ">1234<", "prefers-color-scheme: dark", "prefers-reduced-motion",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing:\n%s", want, out.String())
		}
	}
	for d := xml.NewDecoder(&out); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	s, err := parse([]byte(sample))
	if err != nil || len(s.lines) != 5 || s.lines[1].at != 0.1+maxPause {
		t.Errorf("got %+v, %v, want five lines, and a pause of %v at most", s, err, maxPause)
	}
}

func TestRecordingsThatAreRefused(t *testing.T) {
	head := sample[:strings.Index(sample, "\n")+1]
	for _, text := range []string{
		"", "{}", `{"version": 1, "width": 80}` + "\n", `{"version": 2, "width": 1000}` + "\n", head, head + "x\n", head + `[1, "o"]` + "\n",
		head + `[1, "i", "x\r\n"]` + "\n", head + `[1, "o", "no end"]` + "\n", head + `[1, "o", "\u001b[31mx\r\n"]` + "\n",
		head + `[2, "o", "a\r\n"]` + "\n" + `[1, "o", "b\r\n"]` + "\n", head + strings.Repeat(`[1, "o", "a\r\n"]`+"\n", maxLines+1),
		head + strings.Repeat(" ", maxRecording),
	} {
		var out bytes.Buffer
		if err := run(strings.NewReader(text), &out); err == nil || out.Len() > 0 {
			t.Errorf("%.60q: error %v, wrote %d bytes", text, err, out.Len())
		}
	}
}
