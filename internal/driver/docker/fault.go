package docker

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/client"
)

// Kind is the meaning of a failure of the engine, or of a registry behind it.
// The engine answers HTTP 500 for nearly all of them, so a Kind is derived from
// structured facts first and from text second.
type Kind string

// The kinds. The verdict of each is in the table of kinds below.
const (
	Unknown        Kind = "unknown"               // unknown text
	Credential401  Kind = "credential-refused"    // wrong or expired credential
	NoCredential   Kind = "credential-missing"    // the registry wants a credential, none was given
	Denied         Kind = "access-denied"         // valid credential, missing right
	UnknownImage   Kind = "image-unknown"         // no such tag, digest or repository
	WrongPlatform  Kind = "wrong-platform"        // image for another architecture
	Unreachable    Kind = "registry-unreachable"  // refused, no route, reset
	NoName         Kind = "name-unknown"          // DNS
	NoNameServer   Kind = "name-server-down"      // no name server answers
	PolicyDenied   Kind = "policy-denied"         // 412: the registry's policy blocks the image
	ProxyRefused   Kind = "proxy-refused"         // 407
	ProxyDown      Kind = "proxy-unreachable"     // the engine's proxy, or what it says it cannot reach
	TLSRefused     Kind = "tls-refused"           // the other side ended the handshake
	NotAnImage     Kind = "not-an-image"          // a chart or another artifact
	OldImage       Kind = "image-too-old"         // manifest of schema 1
	UnmappedIDs    Kind = "ids-unmapped"          // files of ids that the guest does not have
	ZstdLayers     Kind = "zstd-unsupported"      // an engine before 23
	BadLayer       Kind = "layer-unreadable"      // digest right, content not a tar archive
	UntrustedTLS   Kind = "certificate-untrusted" // unknown authority, wrong name
	ClockOrExpiry  Kind = "certificate-time"      // expired or not yet valid
	PlainHTTP      Kind = "registry-plain-http"   // HTTP where HTTPS was expected
	RateLimited    Kind = "rate-limited"          // 429
	RegistryBusy   Kind = "registry-error"        // 5xx
	BlobMissing    Kind = "registry-damaged"      // manifest there, blob gone
	NotARegistry   Kind = "not-a-registry"        // captive portal, wrong port
	Corrupt        Kind = "layer-corrupt"         // digest of a layer wrong
	CutShort       Kind = "transfer-cut"          // truncated or reset mid layer
	TimedOut       Kind = "registry-timeout"      // accepted, never answered
	Stalled        Kind = "transfer-stalled"      // no bytes, by our own rule
	DiskFull       Kind = "disk-full"             //
	EngineAbsent   Kind = "engine-absent"         // no socket, or no process listens
	EngineGone     Kind = "engine-gone"           // stopped during the request
	EngineDenied   Kind = "engine-permission"     // EACCES on the socket
	NameTaken      Kind = "name-taken"            // container name in use
	PortTaken      Kind = "port-taken"            // host port in use
	NetworkMissing Kind = "network-missing"       // docker0 vanished
	AppArmor       Kind = "apparmor"              // runc against AppArmor in LXC
	BadReference   Kind = "reference-invalid"     // refused locally
	APIVersion     Kind = "api-version"           // no common API version
	NotFoundHere   Kind = "not-found"             // engine has no such object
	Timeout        Kind = "engine-timeout"        // our deadline
)

// Verdict is what to do after a fault.
type Verdict int

// The verdicts.
const (
	Retry     Verdict = iota // temporary: retry with backoff
	RetryFew                 // may be temporary, or need a person: few retries, then report
	Permanent                // until configuration or host change
)

// Verdict returns the verdict for the kind. An unknown kind is retried a few
// times.
func (k Kind) Verdict() Verdict {
	switch k {
	case Credential401, NoCredential, Denied, WrongPlatform, UntrustedTLS, PlainHTTP, BlobMissing, EngineDenied,
		NameTaken, AppArmor, BadReference, APIVersion, PolicyDenied, NotAnImage, OldImage, UnmappedIDs, ZstdLayers:
		return Permanent
	case UnknownImage, NoName, NotARegistry, ProxyRefused, TLSRefused, Corrupt, BadLayer, DiskFull, PortTaken, NetworkMissing, Unknown, NotFoundHere:
		return RetryFew
	}
	return Retry
}

// FaultError is a failed call: what was tried, what the failure means, and the
// engine's own words, which hold no credential.
type FaultError struct {
	Op   string
	Kind Kind
	Err  error
}

func (e *FaultError) Error() string { return fmt.Sprintf("%s: %v", e.Op, e.Err) }

// Unwrap returns the cause.
func (e *FaultError) Unwrap() error { return e.Err }

// KindOf returns the kind of the first FaultError in the chain, or Unknown.
func KindOf(err error) Kind {
	if f, ok := errors.AsType[*FaultError](err); ok {
		return f.Kind
	}
	return Unknown
}

// classify returns the kind of an error of the client library or of a stream. The
// names of the request, if it has any, are not what decides.
func classify(err error, of ...names) Kind {
	said := names{}.and(of...).takenFrom(err.Error())
	// Structured facts first. EACCES before "cannot connect": the client
	// library gives both the same class.
	switch {
	case errors.Is(err, syscall.EACCES), errors.Is(err, os.ErrPermission):
		return EngineDenied
	case client.IsErrConnectionFailed(err):
		if strings.Contains(said, "permission denied") {
			return EngineDenied
		}
		return EngineAbsent
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		return EngineAbsent
	case errors.Is(err, io.ErrUnexpectedEOF) && !isStream(err), errors.Is(err, syscall.ECONNRESET) && isNet(err):
		return EngineGone
	case isTimeout(err):
		return Timeout
	}
	if kind := fromText(said); kind != Unknown {
		return kind
	}
	switch {
	case errdefs.IsNotFound(err):
		return NotFoundHere
	case errdefs.IsConflict(err):
		return NameTaken
	case errdefs.IsUnauthorized(err):
		return inContext(Credential401, said)
	case errdefs.IsPermissionDenied(err) && strings.Contains(said, "error from registry: "): // others are the engine's own
		return inContext(Denied, said)
	case errdefs.IsResourceExhausted(err):
		return RateLimited
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return EngineGone
	// containerd has the registry's text alone, for a 500 and a 429 of a blob as
	// well. It may be anything; what is final has a class or known words.
	case strings.Contains(said, "error from registry: "):
		return RegistryBusy
	}
	return Unknown
}

func isStream(err error) bool {
	_, ok := errors.AsType[*streamError](err)
	return ok
}

func isNet(err error) bool {
	_, ok := errors.AsType[*net.OpError](err)
	return ok
}

func isTimeout(err error) bool {
	n, ok := errors.AsType[net.Error](err)
	return ok && n.Timeout()
}
