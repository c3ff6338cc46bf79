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

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/bootstrapper/internal/record"
	"github.com/felhom/felhom-golden/internal/timeline"
)

func TestPictures(t *testing.T) {
	for _, name := range []string{"boot", "failed", "version1"} {
		t.Run(name, func(t *testing.T) {
			r, err := record.Read(filepath.Join("testdata", name+".json"))
			if err != nil {
				t.Fatal(err)
			}
			got := timeline.SVG(picture(r))
			if !bytes.Equal(got, timeline.SVG(picture(r))) {
				t.Error("the same record gives two pictures")
			}
			for dec := xml.NewDecoder(bytes.NewReader(got)); ; {
				if _, err := dec.Token(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatalf("not well-formed: %v", err)
				}
			}
			for _, outside := range []string{"url(", "href", "@import", "<script", "%!"} {
				if strings.Contains(string(got), outside) {
					t.Errorf("it has %q: a part outside of the file", outside)
				}
			}
			want := filepath.Join("testdata", name+".svg.want")
			if os.Getenv("UPDATE") != "" {
				if err := os.WriteFile(want, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			text, err := os.ReadFile(want)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(text), string(got)); diff != "" {
				t.Errorf("-want +got (UPDATE=1 writes it):\n%s", diff)
			}
		})
	}
}
