package docker

import (
	"regexp"
	"slices"
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
		{WrongPlatform, []string{"operating system", "cannot be used on this platform"}},
		{WrongPlatform, []string{"cannot download image with operating system"}},
		{AppArmor, []string{"ip_unprivileged_port_start", "permission denied"}},
		{PortTaken, []string{"address already in use"}},
		{PortTaken, []string{"port is already allocated"}},
		{NetworkMissing, []string{"could not find bridge"}},
		{NetworkMissing, []string{"no such network interface"}},
		{NameTaken, []string{"The container name", "is already in use"}},
		{Corrupt, []string{"filesystem layer verification failed"}},
		{Corrupt, []string{"unexpected commit digest"}},
		{Corrupt, []string{"config verification failed for digest"}},
		{Corrupt, []string{"manifest verification failed for digest"}},
		{Corrupt, []string{"failed size validation"}},
		{UnmappedIDs, []string{"chown", ": invalid argument"}},
		{ProxyRefused, []string{"Proxy Authentication Required"}},
		{ProxyDown, []string{"proxyconnect tcp: "}}, // it quotes any fault of the way to the proxy
		{ClockOrExpiry, []string{"certificate has expired or is not yet valid"}},
		{UntrustedTLS, []string{"x509:"}},
		{UntrustedTLS, []string{"tls: failed to verify certificate"}},
		{PlainHTTP, []string{"server gave HTTP response to HTTPS client"}},
		{NotARegistry, []string{"tls: first record does not look like a TLS handshake"}},
		{NotARegistry, []string{"tls: oversized record received"}},
		{NotARegistry, []string{"malformed HTTP response"}},
		{NotARegistry, []string{"stopped after 10 redirects"}},
		{NotARegistry, []string{"response missing Location header"}},
		{NotARegistry, []string{"failed parsing content-type"}},
		{NotARegistry, []string{"did not include a token in the response"}},
		{TLSRefused, []string{"remote error: tls: "}},
		{TLSRefused, []string{"tls: server selected unsupported"}},
		{NotARegistry, []string{"unable to decode token response"}},
		{NotARegistry, []string{"error unmarshalling content"}},
		{NotARegistry, []string{"unexpected media type text/html"}},
		{NotARegistry, []string{"media type", ": text/html"}},
		{NotARegistry, []string{"404 page not found"}},
		{NoName, []string{"no such host"}},
		{NoName, []string{"lookup ", "Name or service not known"}},
		{NoName, []string{"lookup ", "Name does not resolve"}}, // musl
		{NoName, []string{"lookup ", "No address associated with hostname"}},
		{NoNameServer, []string{"lookup ", ": Try again"}}, // musl
		{NoNameServer, []string{"lookup ", ":53: "}},
		{NoNameServer, []string{"Temporary failure in name resolution"}},
		{NoNameServer, []string{"lookup ", "server misbehaving"}},
		{NoNameServer, []string{"lookup ", "i/o timeout"}},
		{Unreachable, []string{"connection refused"}},
		{Unreachable, []string{"network is unreachable"}},
		{Unreachable, []string{"no route to host"}},
		{Unreachable, []string{"cannot assign requested address"}},
		{Unreachable, []string{"address family not supported by protocol"}},
		{Unreachable, []string{"connect: invalid argument"}}, // a link-local address
		{Unreachable, []string{"connect: host is down"}},
		{Unreachable, []string{"connect: network is down"}},
		{Unreachable, []string{"connect: permission denied"}}, // a firewall of the guest
		{Unreachable, []string{"connect: operation not permitted"}},
		{TimedOut, []string{"Client.Timeout exceeded"}},
		{TimedOut, []string{"timeout awaiting response headers"}},
		{TimedOut, []string{"TLS handshake timeout"}},
		{TimedOut, []string{"request canceled while waiting for connection"}},
		{TimedOut, []string{"i/o timeout"}},
		{TimedOut, []string{": connection timed out"}},
		{TimedOut, []string{"\": context deadline exceeded"}},
		{NoCredential, []string{"no basic auth credentials"}},
		{NoCredential, []string{"missing username or secret"}},
		// Layers are checked against their digest before they are read.
		{ZstdLayers, []string{"invalid tar header"}},
		{ZstdLayers, []string{"failed to register layer", "unexpected EOF"}},
		{ZstdLayers, []string{"failed to extract layer", "unexpected EOF"}},
		{NotAnImage, []string{"Encountered remote", "when fetching"}},
		{NotAnImage, []string{"unsupported media type"}},
		{NotAnImage, []string{"invalid media type"}},
		{NotAnImage, []string{"mismatched image rootfs"}},
		{NotAnImage, []string{"missing signature key"}},
		{NotAnImage, []string{"layers from manifest don't match image configuration"}},
		{NotAnImage, []string{"invalid rootfs in image configuration"}},
		{NotAnImage, []string{"unsupported manifest format"}},
		{NotAnImage, []string{"no default available: application/vnd."}},
		{NotARegistry, []string{"no default available: "}},
		{NotAnImage, []string{"AI models are not yet supported"}},
		{OldImage, []string{"manifest version 2, schema 1"}},
		{OldImage, []string{"is no longer supported since containerd"}},
		{RateLimited, []string{"toomanyrequests"}},
		{RateLimited, []string{"Too Many Requests"}},
		{RateLimited, []string{"TOOMANYREQUESTS"}},
		{RateLimited, []string{"too many requests"}},
		{RateLimited, []string{"too many failed login attempts"}},
		{RateLimited, []string{"rate limit"}},
		{RateLimited, []string{"Rate exceeded"}},
		{RateLimited, []string{"Quota exceeded"}},
		{PolicyDenied, []string{"412 Precondition Failed"}},
		{PolicyDenied, []string{"configured policy"}},
		{PolicyDenied, []string{"PROJECTPOLICYVIOLATION"}},
		{PolicyDenied, []string{"policy violation"}},
		{PolicyDenied, []string{"image is not signed"}},                         // engines drop the status 412
		{PolicyDenied, []string{"QUARANTINED"}},                                 // Nexus
		{PolicyDenied, []string{"blocking policy"}},                             // Artifactory
		{UnknownImage, []string{"unauthorized: project ", " not found"}},        // Harbor
		{Denied, []string{"unauthorized to access repository", "action: pull"}}, // Harbor
		{Credential401, []string{"oken has expired"}},
		{Credential401, []string{"token is expired"}},
		{Credential401, []string{"token expired"}},
		{Credential401, []string{"ExpiredToken"}},
		{Credential401, []string{"Token failed verification"}}, // Artifactory
		{Credential401, []string{"unknown: Authentication is required"}},
		{Credential401, []string{"unknown: Bad credentials"}},
		{Credential401, []string{"401 Unauthorized"}},
		{Credential401, []string{"unauthorized:"}},
		{Credential401, []string{"authorization failed"}},
		{Denied, []string{"403 Forbidden"}},
		{Denied, []string{"pull access denied"}},
		{Denied, []string{"denied:"}},
		{Denied, []string{"registry: denied"}},
		{Denied, []string{"unknown: Forbidden"}}, // Artifactory
		{BlobMissing, []string{"unknown blob"}},
		{BlobMissing, []string{"could not fetch content descriptor"}},
		{UnknownImage, []string{"manifest unknown"}},
		{UnknownImage, []string{"failed to resolve reference", "not found"}},
		{UnknownImage, []string{"name unknown"}},
		{UnknownImage, []string{"unknown: artifact ", " not found"}}, // Harbor
		{UnknownImage, []string{"unknown: repository ", " not found"}},
		{UnknownImage, []string{"unknown: resource not found"}},
		{RegistryBusy, []string{"received unexpected HTTP status: 5"}},
		{RegistryBusy, []string{"500 Internal Server Error"}},
		{RegistryBusy, []string{"502 Bad Gateway"}},
		{RegistryBusy, []string{"503 Service Unavailable"}},
		{RegistryBusy, []string{"504 Gateway Timeout"}},
		{EngineGone, []string{"failed to send write: EOF"}},
		{CutShort, []string{"unexpected EOF"}},
		{CutShort, []string{"connection reset by peer"}},
		{CutShort, []string{"\": EOF"}}, // of a request that it names
		{CutShort, []string{"http2: server sent GOAWAY"}},
		{CutShort, []string{"http2: client connection lost"}},
		{CutShort, []string{"stream error: stream ID "}},
		{CutShort, []string{"write: broken pipe"}},
		{CutShort, []string{"unexpected commit size"}},
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
	if kind := fromProxy(text); kind != Unknown {
		return kind
	}
	for _, d := range dialects() {
		if containsAll(text, d.words) {
			return inContext(d.kind, text)
		}
	}
	return Unknown
}

// inContext corrects the kind that one row gave, by what else the text says.
func inContext(kind Kind, text string) Kind {
	switch kind {
	case Denied, Credential401, PolicyDenied:
		if passingWord().MatchString(text) { // no credential is blamed for it
			return RegistryBusy
		}
		if kind == Denied && expiredWord().MatchString(text) {
			return Credential401
		}
	case DiskFull, UntrustedTLS, ClockOrExpiry, PlainHTTP, NoName, NoNameServer, Unreachable, TimedOut, TLSRefused, ProxyDown:
		// The registry quotes what it met itself, for example on the way to another one.
		if strings.Contains(text, "error from registry: ") {
			return RegistryBusy
		}
	}
	return kind
}

// passingWord matches a registry's refusal that it will not repeat for ever. The
// name of the image comes before the word of refusal.
var passingWord = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)(?:denied|unauthorized|unknown|registry): .*\b(?:maintenance|temporarily|try again later|retry later)\b`)
})

// expiredWord matches what a registry says of a credential that was valid once.
var expiredWord = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)(?:denied|registry): .*\b(?:token|jwt|credentials?|password)\b.* expired\b|(?:denied|registry): .*\bjwt expired\b`)
})

// connectAnswer matches a proxy's answer to CONNECT. The engine shows the words of
// the status alone, where each other answer has more.
var connectAnswer = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?m)(?:Get|Head|Post) "https://[^"\s]*": (?:(Forbidden|Unauthorized|Bad Request|Not Found|Method Not Allowed)|Internal Server Error|Bad Gateway|Service Unavailable|Gateway Timeout)$`)
})

// fromProxy returns the kind of a proxy's answer to CONNECT.
func fromProxy(text string) Kind {
	answer := connectAnswer().FindStringSubmatch(text)
	switch {
	case answer == nil:
		return Unknown
	case answer[1] != "":
		return ProxyRefused
	}
	return ProxyDown
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
		case slices.Contains([]string{"407", "408", "412", "425", "429", "451"}, status[1]), status[1][0] == '5':
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
	case code == "412", code == "451":
		return PolicyDenied
	case code == "429", strings.Contains(text, "toomanyrequests: <"): // engines since 23 have a word for 429
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
