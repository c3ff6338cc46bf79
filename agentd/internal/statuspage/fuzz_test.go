package statuspage_test

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/overview"
	"github.com/felhom/felhom-golden/agentd/internal/statuspage"
	"github.com/felhom/felhom-golden/internal/termtext"
)

// maxPage bounds a page about one guest, and maxPicture its picture.
const (
	maxPage    = 64 << 10
	maxPicture = 64 << 10
)

var (
	tag       = regexp.MustCompile(`<[^>]*>`)
	shownName = regexp.MustCompile(` title="[^"]*"`)
	ownLink   = regexp.MustCompile(`<a href="https?://192\.0\.2\.21(?::\d*)?(?:/[^"<>]*)?" rel="noreferrer noopener">[^<]*</a>`)
)

// FuzzPages: whatever guests and their files say, a page has the same elements as if they had
// said "x"; each character can be shown; and its size is bounded.
func FuzzPages(f *testing.F) {
	for _, s := range []string{
		"pulling, 12.0 MiB of 80.3 MiB", hostile, "\"><script>", "' onload='x", "&lt;b&gt;&#60;", "\xff\xc0<", "\u2028\ufeff\u202e<!--", "{{.}}${x}`", "-->", "]]>", strings.Repeat("\U0001f600", 5000), "http://192.0.2.21/\"onmouseover=x", " ",
	} {
		f.Add(s, "http://192.0.2.21:80/")
		f.Add("a", s)
	}
	f.Fuzz(func(t *testing.T, text, address string) {
		if text == "" || address == "" {
			return // what is empty has no element
		}
		got, want := pages(t, text, address), pages(t, "x", "x")
		for i := range got {
			if got, want := elements(got[i]), elements(want[i]); got != want {
				t.Errorf("%q and %q: the elements are\n%s\nwant\n%s", text, address, got, want)
			}
		}
	})
}

// pages returns the list of guests and the page of one, each of whose texts is text.
func pages(t *testing.T, text, address string) (bodies []string) {
	t.Helper()
	row := overview.Row{
		Guest: 8201, Name: text, State: "running", Image: text, Running: text, Controller: overview.Failed, Class: text, Address: "192.0.2.21", Version: text, Golden: text,
		URLs: []string{address}, Since: began, Step: "image", Message: text, Hint: text, Console: text, Now: text,
	}
	h := statuspage.New(statuspage.Options{
		Host: "pve1", Version: "v1", Now: sample().Now,
		Rows: func(context.Context) ([]overview.Row, map[string]error, error) {
			return []overview.Row{row}, map[string]error{"8202.json": errors.New(text)}, nil
		},
		Row:      func(context.Context, int) (overview.Row, error) { return row, nil },
		Progress: func(int) (guests.Progress, error) { return progress(text), nil },
	})
	for _, path := range []string{"/status", "/status/guests/8201"} {
		w := get(t, h, path, "localhost")
		body := w.Body.String()
		if w.Code != http.StatusOK || len(body) > maxPage {
			t.Fatalf("%s: %d, %d bytes", path, w.Code, len(body))
		}
		if bad := strings.IndexFunc(body, func(r rune) bool { return r != '\n' && !termtext.IsSafe(r) }); bad >= 0 {
			t.Errorf("%s has %q", path, body[bad:min(bad+20, len(body))])
		}
		bodies = append(bodies, body)
	}
	if picture := get(t, h, "/status/guests/8201/timeline.svg", "localhost").Body.Bytes(); len(picture) > maxPicture || !isXML(picture) {
		t.Errorf("the picture has %d bytes, and is XML: %t", len(picture), isXML(picture))
	}
	return bodies
}

// elements returns what is markup in a page, without the texts of guests.
func elements(page string) string {
	page = shownName.ReplaceAllString(ownLink.ReplaceAllString(page, ""), "")
	return strings.Join(tag.FindAllString(page, -1), "\n")
}

func isXML(picture []byte) bool {
	for d := xml.NewDecoder(bytes.NewReader(picture)); ; {
		if _, err := d.Token(); err != nil {
			return errors.Is(err, io.EOF)
		}
	}
}
