package provision

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/fuzztest"
)

// FuzzReportedURLs: of a guest's words only plain addresses are shown, few of them, and
// they are read as they were written.
func FuzzReportedURLs(f *testing.F) {
	for _, s := range []string{
		"answers at http://192.0.2.9:9001/, https://[2001:db8::1]:443/", "http://user:secret@192.0.2.9:80/", "http://192.0.2.9:80/../x http://192.0.2.9:80/?a=b http://192.0.2.9:80/#x", "http://host.example:80/", "http://[fe80::1%25eth0]:80/",
		"http://[::ffff:192.0.2.9]:80/", "http://192.0.2.9:99999/ http://192.0.2.9/ http://192.0.2.9:080/", "HTTP://192.0.2.9:80/", "javascript://192.0.2.9:80/", "http://192.0.2.9:80/\u202e", "http://192.0.2.9:80/?", strings.Repeat("(http://192.0.2.9:80/),", 20), strings.Repeat("http://192.0.2.9:80/ ", 20),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, message string) {
		list := ReportedURLs(message)
		if len(list) > maxURLs {
			t.Errorf("%q has %d URLs", message, len(list))
		}
		for _, text := range list {
			u, err := url.Parse(text)
			if err != nil || u.User != nil || u.Path != "/" || u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(text, " \"'<>&%") || u.Scheme != "http" && u.Scheme != "https" {
				t.Fatalf("%q has %q, %v", message, text, err)
			}
			if addr, err := netip.ParseAddr(u.Hostname()); err != nil || addr.Zone() != "" || addr.String() != u.Hostname() {
				t.Errorf("%q has %q, %v", message, text, err)
			}
		}
		if again := ReportedURLs(strings.Join(list, ", ")); !slices.Equal(again, list) {
			t.Errorf("%q is shown as %q and read as %q", message, list, again)
		}
	})
}

func TestReportedURLsTakeTimeThatGrowsWithTheMessage(t *testing.T) {
	fuzztest.Long(t, "", func(text string) { ReportedURLs(text) }, "http://192.0.2.9:80/ ", "http://[::1]:80/ ", "( ", ",", "%00", "a:")
}
