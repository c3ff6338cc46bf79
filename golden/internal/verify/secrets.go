package verify

import (
	"bytes"
	"regexp"
	"strings"

	"github.com/felhom/felhom-golden/golden/internal/contents"
	"github.com/felhom/felhom-golden/golden/internal/image"
)

// secret is a place where something was found that must not be there. It never
// holds the thing itself.
type secret struct {
	Path string
	Line int
	What string

	of *image.Entry // nil if it comes from an earlier pass
}

// secretKind is one sort of secret. mark is a text that all of them have; it is
// looked for first, because it is two orders faster than the expression.
type secretKind struct {
	mark     []byte
	what     string
	form     *regexp.Regexp
	settings bool // only in the places of settings: elsewhere it is an example
}

// secretKinds are all that is looked for; not changed.
var secretKinds = []secretKind{
	// The body must follow: programs that read keys hold the first line.
	{mark: []byte("PRIVATE KEY-----"), what: "a private key", form: privateKey},
	{mark: []byte("fgt_"), what: "a token of the local API", form: guestToken},
	{mark: []byte("ghp_"), what: "a GitHub token", form: githubToken},
	{mark: []byte("gho_"), what: "a GitHub token", form: githubToken},
	{mark: []byte("ghs_"), what: "a GitHub token", form: githubToken},
	{mark: []byte("github_pat_"), what: "a GitHub token", form: githubToken},
	{mark: []byte("glpat-"), what: "a GitLab token", form: gitlabToken},
	{mark: []byte("dckr_pat_"), what: "a Docker Hub token", form: dockerToken},
	{mark: []byte("AKIA"), what: "an AWS access key", form: awsKey, settings: true},
	{mark: []byte("xox"), what: "a Slack token", form: slackToken},
	{mark: []byte(`"auth"`), what: "a registry login", form: dockerAuth},
	{mark: []byte("://"), what: "a login in a URL", form: urlLogin, settings: true},
}

var (
	privateKey  = regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----(?:\\n|\s)+(?:[A-Za-z-]+: [^\n]*\n|\s)*[A-Za-z0-9+/]{40}`)
	guestToken  = regexp.MustCompile(`\bfgt_[0-9]{3,9}_[0-9A-Za-z]{49}\b`)
	githubToken = regexp.MustCompile(`\b(?:gh[pousr]_[0-9A-Za-z]{36}|github_pat_[0-9A-Za-z_]{60,})\b`)
	gitlabToken = regexp.MustCompile(`\bglpat-[0-9A-Za-z_-]{20,}`)
	dockerToken = regexp.MustCompile(`\bdckr_pat_[0-9A-Za-z_-]{20,}`)
	awsKey      = regexp.MustCompile(`\bAKIA[0-9A-Z]{16}\b`)
	slackToken  = regexp.MustCompile(`\bxox[abprs]-[0-9A-Za-z-]{20,}`)
	dockerAuth  = regexp.MustCompile(`"auth"\s*:\s*"[A-Za-z0-9+/]{8,}={0,2}"`)
	urlLogin    = regexp.MustCompile(`\b[a-z][a-z0-9+.-]*://[^\s/:@"'<>${}%*]{1,64}:[^\s/@"'<>${}*]{3,128}@[A-Za-z0-9.-]{2,}`)
)

// settingsPlace reports whether a file is where people put settings, not where
// packages put code and examples. The answers that debconf keeps are settings, the
// packages' own templates of its questions are not.
func settingsPlace(name string) bool {
	if name == contents.Path {
		return false // it repeats the names of packages and images, which are nowhere else searched
	}
	for _, dir := range []string{"etc/", "root/", "home/", "var/", "opt/", "srv/", "usr/local/"} {
		if strings.HasPrefix(name, dir) {
			return !strings.HasPrefix(name, "var/lib/dpkg/") && !strings.HasPrefix(name, "var/cache/debconf/templates.dat")
		}
	}
	return false
}

func scanSecrets(name string, data []byte) []secret {
	var found []secret
	for _, kind := range secretKinds {
		if kind.settings && !settingsPlace(name) || !bytes.Contains(data, kind.mark) {
			continue
		}
		if at := kind.form.FindIndex(data); at != nil {
			found = append(found, secret{Path: name, Line: 1 + bytes.Count(data[:at[0]], []byte{'\n'}), What: kind.what})
		}
	}
	return found
}

// scanNames looks for the build machine's names. A name must be a whole word: "vm"
// is not found in "kvm".
func scanNames(name string, data []byte, names []string) []secret {
	if !settingsPlace(name) {
		return nil
	}
	var found []secret
	for _, text := range names {
		if at := wholeWord(data, text); at >= 0 {
			found = append(found, secret{Path: name, Line: 1 + bytes.Count(data[:at], []byte{'\n'}), What: text})
		}
	}
	return found
}

func wholeWord(data []byte, text string) int {
	if text == "" {
		return -1
	}
	for from := 0; ; {
		at := bytes.Index(data[from:], []byte(text))
		if at < 0 {
			return -1
		}
		at += from
		end := at + len(text)
		if (at == 0 || !wordByte(data[at-1])) && (end == len(data) || !wordByte(data[end])) {
			return at
		}
		from = at + 1
	}
}

func wordByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '-' || b == '_'
}
