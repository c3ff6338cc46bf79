package docker

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestNamesInAMessageDoNotDecideItsKind fills the engines' messages with references
// whose hosts, names and tags are words of other messages.
func TestNamesInAMessageDoNotDecideItsKind(t *testing.T) {
	refs := []string{
		"denied:1", "denied:latest", "denied", "unauthorized:2", "reg.example/denied:1", "reg.example:5000/team/denied:v1",
		"denied:5000/app:1", "unauthorized:5000/app:1", "x509:5000/app:1", "x509:1", "reg.example/x509:1", "toomanyrequests:1",
		"toomanyrequests.example/app:1", "reg.example/toomanyrequests/app:1", "app:toomanyrequests", "app:TOOMANYREQUESTS",
		"reg.example/app:QUARANTINED", "reg.example/app:ExpiredToken", "chown:1", "reg.example/team/chown:1",
		"reg.example/maintenance:1", "reg.example/maintenance/app:1", "maintenance/app:temporarily", "token/expired:1", "jwt:expired",
		"i/o:timeout", "o:1", "text/html:1", "html:1", "not:found", "unknown:1", "manifest:unknown", "registry:denied",
		"reg.example/a:PROJECTPOLICYVIOLATION", "lookup:53", "is:1", "endpoint:1", "[::1]:5000/denied:1", "reg.example/does:not", "reg.example/a.b/connection:1", "localhost/unauthorized:1", "timeout:1", "connection:reset", "digest:1",
		"docker.io/library/denied:1", "docker.io/team/unauthorized:1", "denied@sha256:" + strings.Repeat("0", 64),
		"reg.example/unauthorized:1@sha256:" + strings.Repeat("a", 64), "access/denied:1", "ip_unprivileged_port_start:1",
	}
	messages := []struct {
		text string // with R reference, F its short form, P path, L last part of the path, T tag, H host
		want Kind
	}{
		{"manifest for {R} not found: manifest unknown: manifest unknown", UnknownImage},
		{`failed to resolve reference "{R}": {R}: not found`, UnknownImage},
		{"unknown: artifact {P}:{T} not found", UnknownImage},
		{"unknown: repository {P} not found", UnknownImage},
		{"name unknown: The repository with name '{P}' does not exist in the registry with id '1'", UnknownImage},
		{`Get "https://{H}/v2/": dial tcp 192.0.2.1:443: connect: connection refused`, Unreachable},
		{`Get "https://{H}/v2/": dial tcp 192.0.2.1:443: connect: invalid argument`, Unreachable},
		{`failed to do request: Head "https://{H}/v2/{P}/manifests/{T}": dial tcp 192.0.2.1:443: connect: no route to host`, Unreachable},
		{`Get "https://{H}/v2/": dial tcp: lookup {N} on 192.0.2.53:53: no such host`, NoName},
		{`Get "https://{H}/v2/": dial tcp: lookup {N}: no such host`, NoName},
		{`Get "https://{H}/v2/": dial tcp: lookup {N}: Temporary failure in name resolution`, NoNameServer},
		{`Head "https://{H}/v2/{P}/manifests/{T}": Get "http://192.0.2.9/token?account=u&scope=repository%3A{P}%3Apull": dial tcp 192.0.2.1:80: i/o timeout`, TimedOut},
		{`Get "https://{H}/v2/": x509: certificate signed by unknown authority`, UntrustedTLS},
		{`Get "https://{H}/v2/": x509: certificate is valid for a.example, not {N}`, UntrustedTLS},
		{`Get "https://{H}/v2/": http: server gave HTTP response to HTTPS client`, PlainHTTP},
		{"failed to resolve: unexpected media type text/html for sha256:0: not found", NotARegistry},
		{"failed to resolve reference \"{R}\": unexpected status from HEAD request to https://{H}/v2/{P}/manifests/{T}: 403 Forbidden", Denied},
		{"failed to resolve reference \"{R}\": unexpected status from HEAD request to https://{H}/v2/{P}/manifests/{T}: 401 Unauthorized", Credential401},
		{"failed to resolve reference \"{R}\": unexpected status from HEAD request to https://{H}/v2/{P}/manifests/{T}: 429 Too Many Requests", RateLimited},
		{"failed to resolve reference \"{R}\": unexpected status from HEAD request to https://{H}/v2/{P}/manifests/{T}: 503 Service Unavailable", RegistryBusy},
		{`Head "https://{H}/v2/{P}/manifests/{T}": no basic auth credentials`, NoCredential},
		{`Head "https://{H}/v2/{P}/manifests/{T}": unauthorized: authentication required`, Credential401},
		{"pull access denied for {F}, repository does not exist or may require 'docker login': denied: requested access to the resource is denied", Denied},
		{"denied: requested access to {P} is denied", Denied},
		{"denied: {R} waits: the registry is in maintenance", RegistryBusy},
		{"unauthorized to access repository: {P}, action: pull: unauthorized to access repository: {P}, action: pull", Denied},
		{"toomanyrequests: slow down, {P}", RateLimited},
		{"no matching manifest for linux/amd64 in the manifest list entries of {R}", WrongPlatform},
		{"filesystem layer verification failed for digest sha256:0 of {R}", Corrupt},
		{"failed to pull {R}: write /blob: no space left on device", DiskFull},
		{"unable to copy {R}: unexpected EOF", CutShort},
		{"{R}: the moon is full", Unknown},
		{"the moon is full, says {R}", Unknown},
		{`the moon is full at https://{H}/v2/{P}/manifests/{T}`, Unknown},
		{`the moon is full: tag "{T}" of "{P}" at "{H}"`, Unknown},
	}
	for _, ref := range refs {
		of := imageNames(ref)
		for _, m := range messages {
			text := fill(m.text, ref)
			if got := classify(&streamError{text}, of); got != m.want {
				t.Errorf("%s: kind %q, want %q: %s", ref, got, m.want, text)
			}
		}
	}
}

// fill puts the parts of the reference into a message.
func fill(text, ref string) string {
	plain, _, _ := strings.Cut(ref, "@")
	host, path := "registry-1.docker.io", plain
	if first, rest, ok := strings.Cut(plain, "/"); ok && (strings.ContainsAny(first, ".:") || first == "localhost") {
		host, path = first, rest
	}
	path, tag, _ := strings.Cut(path, ":")
	if tag == "" {
		tag = "latest"
	}
	familiar, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(plain, "docker.io/"), "library/"), ":"+tag)
	name, _, _ := strings.Cut(host, ":")
	if plain == ref && !strings.Contains(plain[strings.LastIndex(plain, "/")+1:], ":") {
		ref += ":latest" // as each engine does
	}
	return strings.NewReplacer("{R}", ref, "{F}", familiar, "{P}", path, "{T}", tag, "{H}", host, "{N}", name).Replace(text)
}

// TestNamesOfAContainerDoNotDecideAKind does the same with what a container is
// created from.
func TestNamesOfAContainerDoNotDecideAKind(t *testing.T) {
	for _, test := range []struct {
		text string
		spec Spec
		want Kind
	}{
		{"No such image: denied:1", Spec{Image: "denied:1"}, Unknown},
		{`Conflict. The container name "/x509" is already in use by container "ID".`, Spec{Name: "x509"}, NameTaken},
		{"driver failed programming external connectivity on endpoint toomanyrequests (ID): the moon is full", Spec{Name: "toomanyrequests"}, Unknown},
		{
			`OCI runtime create failed: error mounting "/srv/no space left on device" to rootfs at "/data": not a directory: unknown`,
			Spec{Binds: []string{"/srv/no space left on device:/data"}},
			Unknown,
		},
		{
			"OCI runtime create failed: mount src=/srv/x, dst=/address already in use, flags=MS_BIND: not a directory",
			Spec{Binds: []string{"/srv/x:/address already in use:ro"}},
			Unknown,
		},
		{
			"OCI runtime create failed: mount src=/srv/x, dst=/data, flags=MS_BIND: no space left on device",
			Spec{Binds: []string{"/srv/x:/data"}},
			DiskFull,
		},
		{`bind source path does not exist: /srv/x509: a`, Spec{Binds: []string{"/srv/x509: a:/data"}}, Unknown},
		{"create denied: error while mounting volume '/var/lib/docker/volumes/denied/_data': not a directory", Spec{Binds: []string{"denied:/data"}}, Unknown},
		{`exec: "denied:": executable file not found in $PATH`, Spec{Command: []string{"denied:"}}, Unknown},
		{`exec: "no space left on device": executable file not found in $PATH`, Spec{Command: []string{"no space left on device"}}, Unknown},
		{`exec: "a": write /x: no space left on device`, Spec{Command: []string{"no space left on device", "a"}}, DiskFull},
		{"network toomanyrequests not found", Spec{Network: "toomanyrequests"}, Unknown},
		{`bad format for add-host: "denied:"`, Spec{ExtraHosts: []string{"denied:"}}, Unknown},
		{"invalid environment variable: A=unauthorized: x509:", Spec{Environment: []string{"A=unauthorized: x509:"}}, Unknown},
		{"listen tcp4 0.0.0.0:8080: bind: address already in use", Spec{Name: "address", Command: []string{"already", "in use"}}, PortTaken},
	} {
		if got := classify(&streamError{test.text}, test.spec.names()); got != test.want {
			t.Errorf("%q: kind %q, want %q", test.text, got, test.want)
		}
	}
}

// TestStartKnowsTheContainersNames: the engine quotes the image's own words at the
// start, and Start has only an ID.
func TestStartKnowsTheContainersNames(t *testing.T) {
	inspect := `{"Id":"c1","Name":"/app","HostConfig":{"Binds":["/srv/no space left on device:/data"],"NetworkMode":"bridge"},
"Config":{"Image":"denied:1","User":"denied:x509","WorkingDir":"/x509: dir","Entrypoint":["unauthorized:"],"Cmd":["toomanyrequests"],"Volumes":{"/disk quota exceeded":{}}}}`
	var message string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.45")
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.HasSuffix(r.URL.Path, "/start"):
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = fmt.Fprintf(w, `{"message":%q}`, message)
		case strings.HasSuffix(r.URL.Path, "/json"):
			_, _ = io.WriteString(w, inspect)
		}
	}))
	defer server.Close()
	c, err := New("tcp://" + strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	got := map[string]Kind{}
	want := map[string]Kind{
		"unable to find user denied: no matching entries in passwd file":           Unknown,
		"unable to find group x509: no matching entries in group file":             Unknown,
		`chdir to cwd ("/x509: dir") set in config.json failed: not a directory`:   Unknown,
		`exec: "unauthorized:": executable file not found in $PATH`:                Unknown,
		`exec: "toomanyrequests": permission`:                                      Unknown,
		`error mounting "/srv/no space left on device" to rootfs at "/data": loop`: Unknown,
		"mkdir /disk quota exceeded: not a directory":                              Unknown,
		"write /x: no space left on device":                                        DiskFull,
	}
	for message = range want {
		got[message] = KindOf(c.Start(t.Context(), "c1"))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
}

// TestRequestsGiveTheirNames has the engine refuse each request with a message of
// the names alone.
func TestRequestsGiveTheirNames(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.45")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, `{"message":"denied:1 and \"/toomanyrequests\": the moon is full"}`)
	}))
	defer server.Close()
	c, err := New("tcp://" + strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	ctx := t.Context()
	const ref, name = "toomanyrequests/denied:1", "toomanyrequests"
	for what, call := range map[string]func() error{
		"pull":    func() error { return c.Pull(ctx, ref, Credential{}, nil) },
		"tag":     func() error { return c.Tag(ctx, "sha256:0", ref) },
		"from":    func() error { return c.Tag(ctx, ref, "a:1") },
		"image":   func() error { _, err := c.Image(ctx, ref); return err },
		"remove":  func() error { return c.RemoveImage(ctx, "sha256:0", ref) },
		"create":  func() error { _, err := c.Create(ctx, Spec{Image: ref, Name: name}); return err },
		"inspect": func() error { _, err := c.Container(ctx, ref); return err },
		"rename":  func() error { return c.Rename(ctx, "denied:1", name) },
	} {
		if err := call(); KindOf(err) != Unknown || err == nil {
			t.Errorf("%s: %v is %q, want %q", what, err, KindOf(err), Unknown)
		}
	}
}
