package docker

import (
	"cmp"
	"context"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// names are what a request gives the engine, and what the engine or a registry may
// quote in a message: an image "denied:1" says nothing about a right.
type names struct {
	unique []string // cannot be the words of a message: taken out wherever they are
	words  []string // can be: taken out where a message quotes a name
}

// maxNames bounds the names of each list that are looked for: an image can have any
// number of variables.
const maxNames = 4096

// aName takes the place of a name in a message. No dialect knows it.
const aName = "NAME"

// imageNames returns the forms in which a message quotes an image's reference.
func imageNames(ref string) names {
	if ref == "" {
		return names{}
	}
	plain, digest, _ := strings.Cut(ref, "@")
	path, host := plain, ""
	if first, rest, hasSlash := strings.Cut(plain, "/"); hasSlash && (strings.ContainsAny(first, ".:") || first == "localhost") {
		host, path = first, rest
	}
	path, tag, _ := strings.Cut(path, ":")
	tag = cmp.Or(tag, "latest")
	short := strings.TrimPrefix(path, "library/")
	var n names
	n.add(ref, digest, plain)
	for _, p := range []string{path, short, "library/" + path} {
		for _, prefix := range []string{"", host + "/", "docker.io/"} {
			n.add(prefix+p+":"+tag, prefix+p)
		}
	}
	parts := strings.Split(path, "/")
	n.add(parts[len(parts)-1] + ":" + tag)
	n.add(parts...)
	n.add(tag, host)
	if host, _, _ = strings.Cut(host, ":"); strings.Contains(host, ".") {
		n.unique = append(n.unique, host)
	} else {
		n.add(host)
	}
	return n
}

// add adds names of which each is one word, or a path.
func (n *names) add(list ...string) {
	for _, name := range list {
		switch {
		case strings.Trim(name, "/") == "":
		case strings.ContainsAny(name, ":@="), strings.Contains(name, "/") && !ownPath().MatchString(name):
			n.unique = append(n.unique, name)
		default:
			n.words = append(n.words, name)
		}
	}
}

// ownPath matches what has a slash and is the engine's own: "i/o timeout",
// "unexpected media type text/html".
var ownPath = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(?:i/o|net/http|archive/tar|(?:text|application)/.*)$`)
})

// names returns what a container's Spec gives.
func (s Spec) names() names {
	n := imageNames(s.Image)
	n.add(s.Name)
	n.unique = append(n.unique, "network "+s.Network+" not found")
	n.add(s.Environment...)
	for _, bind := range s.Binds {
		n.add(bind)
		n.add(strings.Split(bind, ":")...)
	}
	n.words = append(n.words, s.Command...)
	n.words = append(n.words, s.ExtraHosts...)
	return n
}

// namesOf returns what the container with that ID was made from, its image's part
// included; none if the engine does not say.
func (c *Client) namesOf(ctx context.Context, id string) names {
	var n names
	n.add(id)
	got, err := c.api().ContainerInspect(ctx, id)
	if err != nil || got.Config == nil || got.ContainerJSONBase == nil {
		return n
	}
	spec := Spec{
		Name: strings.TrimPrefix(got.Name, "/"), Image: got.Config.Image, Environment: got.Config.Env,
		Command: append(slices.Clone(got.Config.Cmd), got.Config.Entrypoint...),
	}
	if h := got.HostConfig; h != nil {
		spec.Binds, spec.ExtraHosts, spec.Network = h.Binds, h.ExtraHosts, string(h.NetworkMode)
	}
	n = n.and(spec.names())
	n.words = append(n.words, strings.Split(got.Config.User, ":")...)
	n.add(got.Config.WorkingDir)
	for path := range got.Config.Volumes {
		n.add(path)
	}
	return n
}

func (n names) and(others ...names) names {
	for _, o := range others {
		n.unique, n.words = slices.Concat(n.unique, o.unique), slices.Concat(n.words, o.words)
	}
	return n
}

// containerFault is fault for a request that has a container's ID alone. A failed
// start quotes what the container was made from.
func (c *Client) containerFault(ctx context.Context, op, id string, err error) error {
	if err == nil {
		return nil
	}
	return c.fault(op, err, c.namesOf(ctx, id))
}

// quotedURL matches a URL without the punctuation of the message after it.
var quotedURL = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(https?://)[^\s"'<>\\]*[^\s"'<>\\:,;.)\]]`)
})

// takenFrom returns the message without the names, and without the hosts, paths and
// queries of URLs.
func (n names) takenFrom(text string) string {
	text = quotedURL().ReplaceAllString(text, "${1}"+aName)
	longestFirst := func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) }
	for _, list := range []struct {
		names []string
		is    func(before, after string) bool
	}{{n.unique, isWhole}, {n.words, isQuoted}} {
		sorted := slices.Clone(list.names[:min(len(list.names), maxNames)])
		slices.SortFunc(sorted, longestFirst)
		for _, name := range slices.Compact(sorted) {
			text = take(text, name, list.is)
		}
	}
	return text
}

// take replaces name where is accepts what comes before and after it.
func take(text, name string, is func(before, after string) bool) string {
	if strings.TrimSpace(name) == "" {
		return text
	}
	var out strings.Builder
	done, at := 0, 0
	for {
		next := strings.Index(text[at:], name)
		if next < 0 {
			return out.String() + text[done:]
		}
		begin, end := at+next, at+next+len(name)
		at = begin + 1
		if is(text[:begin], text[end:]) {
			out.WriteString(text[done:begin] + aName)
			done, at = end, end
		}
	}
}

func isWord(b byte) bool {
	return b == '_' || '0' <= b && b <= '9' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z'
}

// isWhole reports whether a name between the two texts is not a part of a word.
func isWhole(before, after string) bool {
	return (before == "" || !isWord(before[len(before)-1])) && (after == "" || !isWord(after[0]))
}

// quotingWords are before a name in the messages of engines, runtimes and
// registries. None of them is before a word that a dialect needs.
var quotingWords = []string{
	"denied for ", "manifest for ", "repository ", "repository: ", "project ", "artifact ", "such image: ",
	"tag ", "tag: ", "tag=", "Tag:", "Name:", "lookup ", "endpoint ", "create ", "volume ", "plugin ", "user ", "group ", "access to ",
}

// isQuoted reports whether a message quotes a name between the two texts.
func isQuoted(before, after string) bool {
	if !isWhole(before, after) || before == "" {
		return false
	}
	switch quote := before[len(before)-1]; quote {
	case '"', '\'', '`':
		after = strings.TrimPrefix(after, `\`) // in a quoted body
		return after != "" && after[0] == quote
	case '/':
		return !ownDirectory().MatchString(before)
	}
	return slices.ContainsFunc(quotingWords, func(w string) bool {
		rest, ok := strings.CutSuffix(before, w)
		return ok && isWhole(rest, " ")
	})
}

// ownDirectory matches a text that ends with the first part of an ownPath.
var ownDirectory = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?:^|\W)(?:i|net|archive|text|application)/$`)
})
