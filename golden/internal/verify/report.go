package verify

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"

	"github.com/felhom/felhom-golden/golden/internal/rules"
	"github.com/felhom/felhom-golden/internal/termtext"
)

// WriteText prints the findings for people: one line each, the hint of each
// rule once, and a line that sums up.
func (r Report) WriteText(w io.Writer) error {
	for i, f := range r.Findings {
		// Both may hold names of the archive.
		where := ""
		if f.Path != "" {
			where = termtext.Name(f.Path) + ": "
		}
		if _, err := fmt.Fprintf(w, "%-7s  %s: %s%s\n", f.Severity, f.Rule, where, termtext.Name(f.Message)); err != nil {
			return err
		}
		if i+1 < len(r.Findings) && r.Findings[i+1].Rule == f.Rule {
			continue
		}
		if n := r.More[f.Rule]; n > 0 {
			if _, err := fmt.Fprintf(w, "%-7s  %s: and %d more\n", f.Severity, f.Rule, n); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintf(w, "         hint: %s\n", f.Hint); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%s: %d rules, %d errors, %d warnings; %d members, %d bytes packed, %d unpacked, sha256 %s\n",
		r.Archive, len(r.Rules), r.Errors, r.Warnings, r.Entries, r.Packed, r.Unpacked, r.SHA256)
	return err
}

// WriteJSON prints the report as one JSON object.
func (r Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class    string         `xml:"classname,attr"`
	Name     string         `xml:"name,attr"`
	Failures []junitFailure `xml:"failure"`
	Output   string         `xml:"system-out,omitempty"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// WriteJUnit prints the report as JUnit XML: a test case for each rule, failed
// by its errors; warnings are the case's output, as JUnit knows no warnings.
func (r Report) WriteJUnit(w io.Writer) error {
	suite := junitSuite{Name: r.Archive, Tests: len(r.Rules)}
	for _, id := range r.Rules {
		rule, _ := rules.ByID(id)
		tc := junitCase{Class: string(rule.Group), Name: id}
		for _, f := range r.Findings {
			switch {
			case f.Rule != id:
			case f.Severity == rules.Error:
				tc.Failures = append(tc.Failures, junitFailure{Message: f.Message, Text: f.Path + "\n" + f.Hint})
			default:
				tc.Output += f.Path + ": " + f.Message + "\n"
			}
		}
		if len(tc.Failures) > 0 {
			suite.Failures++
		}
		suite.Cases = append(suite.Cases, tc)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(suite); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}
