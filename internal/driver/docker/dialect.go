package docker

import (
	"regexp"
	"strings"
	"sync"
)

// dialects maps words of the engine's messages to kinds, first match wins. Both
// dialects are side by side: distribution's (engines up to 28) and
// containerd's (29). The texts are those of a fault catalogue taken on 20.10,
// 26.1 and the 29 line; the tests hold them in full.
//
// The order matters: a specific text comes before one that it may quote (a 401
// message quotes a URL, a TLS message the request that failed).
func dialects() []struct {
	kind  Kind
	words []string // all of them
} {
	return []struct {
		kind  Kind
		words []string
	}{
		{APIVersion, []string{"client version", "is too"}},
		{APIVersion, []string{"Minimum supported API version"}},
		{BadReference, []string{"invalid reference format"}},
		{DiskFull, []string{"no space left on device"}},
		{DiskFull, []string{"disk quota exceeded"}},
		{WrongPlatform, []string{"no matching manifest for"}},
		{WrongPlatform, []string{"no match for platform"}},
		{AppArmor, []string{"ip_unprivileged_port_start", "permission denied"}},
		{PortTaken, []string{"address already in use"}},
		{PortTaken, []string{"port is already allocated"}},
		{NetworkMissing, []string{"could not find bridge"}},
		{NetworkMissing, []string{"no such network interface"}},
		{NameTaken, []string{"The container name", "is already in use"}},
		{Corrupt, []string{"filesystem layer verification failed"}},
		{Corrupt, []string{"unexpected commit digest"}},
		{ClockOrExpiry, []string{"certificate has expired or is not yet valid"}},
		{UntrustedTLS, []string{"x509:"}},
		{UntrustedTLS, []string{"tls: failed to verify certificate"}},
		{PlainHTTP, []string{"server gave HTTP response to HTTPS client"}},
		{NotARegistry, []string{"unable to decode token response"}},
		{NotARegistry, []string{"error unmarshalling content"}},
		{NotARegistry, []string{"unexpected media type text/html"}},
		{NotARegistry, []string{"media type", ": text/html"}},
		{NotARegistry, []string{"404 page not found"}},
		{NoName, []string{"no such host"}},
		{NoNameServer, []string{"lookup ", ":53: "}},
		{NoNameServer, []string{"Temporary failure in name resolution"}},
		{NoNameServer, []string{"lookup ", "server misbehaving"}},
		{NoNameServer, []string{"lookup ", "i/o timeout"}},
		{Unreachable, []string{"connection refused"}},
		{Unreachable, []string{"network is unreachable"}},
		{Unreachable, []string{"no route to host"}},
		{TimedOut, []string{"Client.Timeout exceeded"}},
		{TimedOut, []string{"timeout awaiting response headers"}},
		{TimedOut, []string{"TLS handshake timeout"}},
		{TimedOut, []string{"request canceled while waiting for connection"}},
		{TimedOut, []string{"i/o timeout"}},
		{NoCredential, []string{"no basic auth credentials"}},
		// Layers are checked against their digest before they are read.
		{ZstdLayers, []string{"invalid tar header"}},
		{ZstdLayers, []string{"failed to register layer", "unexpected EOF"}},
		{ZstdLayers, []string{"failed to extract layer", "unexpected EOF"}},
		{NotAnImage, []string{"Encountered remote", "when fetching"}},
		{NotAnImage, []string{"unsupported media type"}},
		{NotAnImage, []string{"invalid media type"}},
		{NotAnImage, []string{"mismatched image rootfs"}},
		{NotAnImage, []string{"missing signature key"}},
		{RateLimited, []string{"toomanyrequests"}},
		{RateLimited, []string{"Too Many Requests"}},
		{RateLimited, []string{"pull rate limit"}},
		{RateLimited, []string{"rate limit exceeded"}},
		{PolicyDenied, []string{"412 Precondition Failed"}},
		{PolicyDenied, []string{"configured policy"}},
		{PolicyDenied, []string{"PROJECTPOLICYVIOLATION"}},
		{PolicyDenied, []string{"policy violation"}},
		{PolicyDenied, []string{"denied: ", "image is not signed"}}, // engines drop the status 412
		{ProxyRefused, []string{"Proxy Authentication Required"}},
		{Credential401, []string{"oken has expired"}},
		{Credential401, []string{"token is expired"}},
		{Credential401, []string{"token expired"}},
		{Credential401, []string{"ExpiredToken"}},
		{RateLimited, []string{"429 Too Many Requests"}},
		{Credential401, []string{"401 Unauthorized"}},
		{Credential401, []string{"unauthorized:"}},
		{Credential401, []string{"authorization failed"}},
		{Denied, []string{"403 Forbidden"}},
		{Denied, []string{"pull access denied"}},
		{Denied, []string{"denied:"}},
		{Denied, []string{"registry: denied"}},
		{BlobMissing, []string{"unknown blob"}},
		{BlobMissing, []string{"could not fetch content descriptor"}},
		{UnknownImage, []string{"manifest unknown"}},
		{UnknownImage, []string{"failed to resolve reference", "not found"}},
		{UnknownImage, []string{"name unknown"}},
		{RegistryBusy, []string{"received unexpected HTTP status: 5"}},
		{RegistryBusy, []string{"500 Internal Server Error"}},
		{RegistryBusy, []string{"502 Bad Gateway"}},
		{RegistryBusy, []string{"503 Service Unavailable"}},
		{RegistryBusy, []string{"504 Gateway Timeout"}},
		{EngineGone, []string{"failed to send write: EOF"}},
		{CutShort, []string{"unexpected EOF"}},
		{CutShort, []string{"connection reset by peer"}},
		{CutShort, []string{"expected HTTP 206 from byte range request"}}, // a cut transfer, from a registry without ranges
	}
}

func fromText(text string) Kind {
	trimmed := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(text), "Error response from daemon:"))
	switch trimmed { // whole messages of engines up to 28
	case "denied": // 403
		return Denied
	case "unauthorized": // 401 to the password of the Basic method
		return Credential401
	}
	if kind := fromElsewhere(text); kind != Unknown {
		return kind
	}
	for _, d := range dialects() {
		if containsAll(text, d.words) {
			return d.kind
		}
	}
	return Unknown
}

// The expressions are made when an error is looked at: most runs have none.

// strangeBody matches how engines up to 28 quote an answer that is not the
// registry API's: the status, the JSON error, and the body.
var strangeBody = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`error parsing HTTP ([0-9]{3}) response body: `)
})

// statusWord matches a status in the engines' own words. The text of a registry,
// a proxy or a page follows it.
var statusWord = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?:unexpected HTTP status|failed with status|unexpected status from [A-Z]+ request to \S+|unexpected status code \S*|unexpected status):? ([0-9]{3})\b`)
})

// fromElsewhere returns the kind of an answer that does not come from a
// registry: a page or a text of a proxy, firewall or login. Its text is ignored
// and says nothing about the credential; its status decides whether a later try
// may succeed.
func fromElsewhere(text string) Kind {
	isPage := pageWord().MatchString(text)
	status := strangeBody().FindStringSubmatch(text)
	if status == nil {
		if status = statusWord().FindStringSubmatch(text); status == nil && !isPage {
			return Unknown
		}
		switch {
		case isPage:
		case status[1] == "407", status[1] == "412", status[1] == "429", status[1][0] == '5':
		default:
			return Unknown // the registry's own answer: its text says more
		}
	}
	code := ""
	if status != nil {
		code = status[1]
	}
	switch {
	case code == "407":
		return ProxyRefused
	case code == "412":
		return PolicyDenied
	case code == "429":
		return RateLimited
	case strings.HasPrefix(code, "5"), code == "408", code == "425":
		return RegistryBusy
	}
	return NotARegistry
}

// pageWord matches the start of a page in HTML.
var pageWord = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)<(!doctype html|html|head|body|title)\b|invalid character '<' looking for beginning of value|unexpected media type text/html`)
})

func containsAll(text string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}
