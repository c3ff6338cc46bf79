package registryproxy_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/registryproxy"
)

func TestAPull(t *testing.T) {
	up := newUpstream(t)
	i := up.push(t, repository, "v1", "one")
	b := newBed(t, up)
	ping := b.get(t, "/v2/")
	if ping.status != 200 || ping.header.Get("Docker-Distribution-Api-Version") != "registry/2.0" || len(up.seen()) != 0 {
		t.Errorf("ping: %s, %d requests upstream", ping.all(), len(up.seen()))
	}
	head := b.ask(t, http.MethodHead, manifestPath("v1")+"?ns="+up.host)
	if head.status != 200 || head.header.Get("Docker-Content-Digest") != i.indexDigest.String() || head.header.Get("Content-Type") != indexType || len(head.body) != 0 {
		t.Errorf("HEAD of the tag: %s", head.all())
	}
	for _, step := range []struct {
		path, kind string
		want       []byte
	}{
		{manifestPath("v1"), indexType, i.index},
		{manifestPath(i.indexDigest.String()), indexType, i.index},
		{manifestPath(i.digest.String()), imageType, i.manifest},
		{blobPath(i.configDigest), "application/octet-stream", i.config},
		{blobPath(i.layerHash), "application/octet-stream", i.layer},
	} {
		got := b.get(t, step.path)
		if got.status != 200 || string(got.body) != string(step.want) || got.header.Get("Content-Type") != step.kind || got.err != nil {
			t.Errorf("%s: %d %v, %d bytes, %v", step.path, got.status, got.header, len(got.body), got.err)
		}
		if got.header.Get("Docker-Content-Digest") != digestOf(step.want).String() {
			t.Errorf("%s: digest %q", step.path, got.header.Get("Docker-Content-Digest"))
		}
	}
	lines := b.waitLines(t, 5)
	last := lines[len(lines)-1]
	if len(lines) != 5 || last.VMID != 8200 || last.Repository != up.host+"/"+repository || last.Digest != i.layerHash.String() || last.Bytes != int64(len(i.layer)) || last.Status != 200 || last.Err != nil {
		t.Errorf("audit: %+v", lines)
	}
	if b.faults() != "" {
		t.Errorf("faults: %s", b.faults())
	}
}

// onlyTheGrammar: paths of another form do not reach the upstream.
func onlyTheGrammar(t *testing.T) {
	up := newUpstream(t)
	i := up.push(t, repository, "v1", "one")
	b := newBed(t, up)
	d := i.layerHash.String()
	paths := []string{
		"/v2", "/v2//", "/v2/_catalog", "/v2/team/app/tags/list", "/v2/team/app/referrers/" + d, "/v2/team/app/blobs/uploads/",
		"/v2/team/app/blobs/uploads/1234", "/v2/team/app/manifests/", "/v2/team/app/manifests", "/v2/team/app/blobs/", "/v2/manifests/v1",
		"/v2//manifests/v1", "/v2/team//app/manifests/v1", "/v2/team/app//manifests/v1", "/v2/team/app/manifests//v1",
		"/v2/team/../team/app/manifests/v1", "/v2/team/./app/manifests/v1", "/v2/team/app/x/../manifests/v1", "/v2/../v2/team/app/manifests/v1",
		"/v2/team%2fapp/manifests/v1", "/v2/team/app/manifests%2fv1", "/v2/team/app/manifests/v%31", "/v2/team/app/%6danifests/v1", "/v2/team/app/manifests/..",
		"/v2/team/app/manifests/v1/", "/v2/team/app/manifests/v1%00", "/v2/team/app/manifests/v1%0a", "/v2/Team/app/manifests/v1", "/v2/team/app:80/manifests/v1",
		"/v2/team/app/manifests/v1@" + d, "/v2/team/app@" + d + "/manifests/v1", "/v2/team/app/manifests/sha512:" + strings.Repeat("0", 128),
		"/v2/team/app/blobs/v1", "/v2/team/app/blobs/" + strings.ToUpper(d), "/v2/team/app/blobs/" + d[:70], "/v2/team/app/blobs/" + d + "0", "/v2/team/app/blobs/md5:00",
		"/v2/team/app/manifests/-v1", "/v2/team/app/manifests/" + strings.Repeat("a", 129), "/v2/" + strings.Repeat("a/", 200) + "manifests/v1", "/v1/_ping", "/v2x/team/app/manifests/v1",
		"/v2/team/app/Manifests/v1", "/V2/team/app/manifests/v1", "/v2/team/app;x/manifests/v1", "/v2/.team/app/manifests/v1", "/v2/team-/app/manifests/v1",
	}
	for _, path := range paths {
		for _, method := range []string{"GET", "HEAD"} {
			if got := b.ask(t, method, path); got.status != 404 {
				t.Errorf("%s %s: %d, want 404", method, path, got.status)
			}
		}
	}
	assertNotAsked(t, up)
}

func assertNotAsked(t *testing.T, up *upstream) {
	t.Helper()
	if seen := up.seen(); len(seen) != 0 {
		t.Errorf("%d requests reached the upstream, the first: %s %s", len(seen), seen[0].Method, seen[0].URL)
	}
}

// onlyReads: no method that changes something reaches the upstream.
func onlyReads(t *testing.T) {
	up := newUpstream(t)
	i := up.push(t, repository, "v1", "one")
	b := newBed(t, up)
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"} {
		for _, path := range []string{"/v2/", manifestPath("v1"), blobPath(i.layerHash), "/v2/team/app/blobs/uploads/"} {
			if got := b.ask(t, method, path); got.status != 405 || got.header.Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: %s", method, path, got.all())
			}
		}
	}
	assertNotAsked(t, up)
}

func FuzzPath(f *testing.F) {
	for _, seed := range []string{"/v2/", "/v2/a/manifests/v1", "/v2/a/b/blobs/sha256:" + strings.Repeat("0", 64), "/v2/a/../b/manifests/v1", "/v2/a/manifests/sha256:%30"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		_, repository, reference, ok := registryproxy.ParsesAs(path)
		if !ok || path == "/v2/" {
			return
		}
		if path != "/v2/"+repository+"/manifests/"+reference && path != "/v2/"+repository+"/blobs/"+reference {
			t.Errorf("%q is read as %q and %q", path, repository, reference)
		}
		if strings.ContainsAny(path, "%?#\\ @") || strings.Contains(path, "..") || strings.Contains(path, "//") {
			t.Errorf("%q is accepted", path)
		}
	})
}

func onlyAllowedImages(t *testing.T) {
	up := newUpstream(t)
	one, two := up.push(t, repository, "v1", "one"), up.push(t, repository, "v2", "two")
	other := up.push(t, "team/other", "v1", "other")
	tag := registryproxy.Image{Host: up.host, Repository: repository, Tag: "v1"}
	pin := registryproxy.Image{Host: up.host, Repository: repository, Tag: "v1", Digest: one.indexDigest}
	pinOther := registryproxy.Image{Host: up.host, Repository: repository, Tag: "v1", Digest: two.indexDigest}
	platform := registryproxy.Image{Host: up.host, Repository: repository, Digest: one.digest}
	config := registryproxy.Image{Host: up.host, Repository: repository, Tag: "v1", Config: one.configDigest}
	otherConfig := registryproxy.Image{Host: up.host, Repository: repository, Tag: "v1", Config: two.configDigest}
	whole := registryproxy.Image{Host: up.host, Repository: repository}
	elsewhere := registryproxy.Image{Host: "other.example", Repository: repository, Tag: "v1"}
	type want map[string]int
	ofOne := want{"v1": 200, "v2": 403, "index1": 200, "manifest1": 200, "config1": 200, "layer1": 200, "index2": 403, "manifest2": 403, "config2": 403, "layer2": 403}
	with := func(base, changes want) want {
		out := want{}
		for _, m := range []want{base, changes} {
			for k, v := range m {
				out[k] = v
			}
		}
		return out
	}
	cases := []struct {
		name   string
		images []registryproxy.Image
		want   want
	}{
		{"a tag", []registryproxy.Image{tag}, ofOne},
		{"a pinned tag", []registryproxy.Image{pin}, ofOne},
		{"a tag pinned to another image", []registryproxy.Image{pinOther}, want{"v1": 200, "v2": 403, "index1": 403, "manifest1": 403, "layer1": 403, "index2": 200, "layer2": 200}},
		{"a platform's digest", []registryproxy.Image{platform}, with(ofOne, want{"v1": 403, "index1": 403})},
		{"a config digest", []registryproxy.Image{config}, ofOne},
		{"another image's config digest", []registryproxy.Image{otherConfig}, with(ofOne, want{"manifest1": 403, "config1": 403, "layer1": 403})},
		{"the repository", []registryproxy.Image{whole}, want{"v1": 200, "v2": 200, "index1": 200, "manifest2": 200, "layer1": 200, "layer2": 200}},
		{"two images", []registryproxy.Image{tag, {Host: up.host, Repository: repository, Tag: "v2"}}, want{"v1": 200, "v2": 200, "layer1": 200, "layer2": 200}},
		{"nothing", nil, want{"v1": 403, "index1": 403, "layer1": 403}},
		{"the same name elsewhere first", []registryproxy.Image{elsewhere, tag}, want{"layer1?ns": 200, "v1?ns": 200}},
	}
	paths := map[string]string{
		"v1": manifestPath("v1"), "v2": manifestPath("v2"), "index1": manifestPath(one.indexDigest.String()), "index2": manifestPath(two.indexDigest.String()),
		"manifest1": manifestPath(one.digest.String()), "manifest2": manifestPath(two.digest.String()), "config1": blobPath(one.configDigest), "config2": blobPath(two.configDigest),
		"layer1": blobPath(one.layerHash), "layer2": blobPath(two.layerHash), "layer1?ns": blobPath(one.layerHash) + "?ns=" + up.host, "v1?ns": manifestPath("v1") + "?ns=" + up.host,
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(t, up)
			b.allow(c.images...)
			for name, status := range c.want {
				if got := b.get(t, paths[name]); got.status != status {
					t.Errorf("%s: %d, want %d: %s", name, got.status, status, got.body[:min(len(got.body), 200)])
				}
			}
			// Another repository is refused and not asked for, whether or not it exists.
			up.forget()
			first := b.get(t, "/v2/team/other/blobs/"+other.layerHash.String())
			second := b.get(t, "/v2/team/none/blobs/"+other.layerHash.String())
			third := b.get(t, blobPath(one.layerHash)+"?ns=evil.example")
			if first.status != 403 || second.status != 403 || third.status != 403 || !strings.Contains(string(first.body), "DENIED") {
				t.Errorf("other repositories: %s, %s, %s", first.all(), second.all(), third.all())
			}
			if n := len(up.seen()); n != 0 {
				t.Errorf("%d requests reached the upstream", n)
			}
		})
	}
}

func TestATagIsResolvedOncePerInterval(t *testing.T) {
	up := newUpstream(t)
	one := up.push(t, repository, "v1", "one")
	b := newBed(t, up)
	count := func() (n int) {
		for _, r := range up.seen() {
			if strings.HasSuffix(r.URL.Path, "/manifests/v1") {
				n++
			}
		}
		return n
	}
	for range 5 {
		b.get(t, manifestPath("v1"))
	}
	if n := count(); n != 1 {
		t.Errorf("the tag was asked for %d times, want once", n)
	}
	two := up.push(t, repository, "v1", "two")
	if got := b.get(t, manifestPath("v1")); got.header.Get("Docker-Content-Digest") != one.indexDigest.String() {
		t.Error("the tag means another image within the interval")
	}
	b.advance(2 * time.Minute)
	if got := b.get(t, manifestPath("v1")); got.header.Get("Docker-Content-Digest") != two.indexDigest.String() {
		t.Errorf("after the interval: %s", got.all())
	}
	if got := b.get(t, blobPath(one.layerHash)); got.status != 200 {
		t.Errorf("a pull that began before: %s", got.all())
	}
	b.advance(2 * time.Hour)
	if got := b.get(t, blobPath(one.layerHash)); got.status != 403 {
		t.Errorf("the former image, hours later: %d, want 403", got.status)
	}
	if got := b.get(t, blobPath(two.layerHash)); got.status != 200 {
		t.Errorf("the image: %d", got.status)
	}
}

// A daemon that was restarted knows no manifest.
func TestABlobAloneAfterARestart(t *testing.T) {
	up := newUpstream(t)
	i := up.push(t, repository, "v1", "one")
	b := newBed(t, up)
	if got := b.get(t, blobPath(i.layerHash), "Range", "bytes=1000-"); got.status != 206 || string(got.body) != string(i.layer[1000:]) {
		t.Errorf("%d, %d bytes, want the rest of the layer", got.status, len(got.body))
	}
}

func TestRanges(t *testing.T) {
	up := newUpstream(t)
	i := up.push(t, repository, "v1", "one")
	b := newBed(t, up)
	n := len(i.layer)
	for _, c := range []struct {
		header string
		status int
		want   []byte
	}{
		{"bytes=0-", 206, i.layer},
		{"bytes=10-19", 206, i.layer[10:20]},
		{"bytes=-5", 206, i.layer[n-5:]},
		{"bytes=5-99999999", 206, i.layer[5:]},
		{"bytes=99999999-", 416, nil},
		{"bytes=0-1,5-6", 200, i.layer}, // not passed on
		{"lines=1-2", 200, i.layer},
		{"bytes=" + strings.Repeat("9", 40) + "-", 200, i.layer},
	} {
		got := b.get(t, blobPath(i.layerHash), "Range", c.header)
		if got.status != c.status || c.want != nil && string(got.body) != string(c.want) {
			t.Errorf("%s: %d, %d bytes, want %d, %d bytes", c.header, got.status, len(got.body), c.status, len(c.want))
		}
	}
}

func TestPublicAddresses(t *testing.T) {
	for text, want := range map[string]bool{
		"8.8.8.8": true, "1.1.1.1": true, "2606:4700::1111": true,
		"127.0.0.1": false, "127.9.9.9": false, "0.0.0.0": false, "0.1.2.3": false, "10.0.0.1": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false,
		"169.254.169.254": false, "169.254.0.1": false, "100.64.0.1": false, "100.100.100.200": false, "168.63.129.16": false, "192.0.0.192": false, "198.18.0.1": false,
		"224.0.0.1": false, "255.255.255.255": false, "240.0.0.1": false, "::": false, "::1": false, "fe80::1": false, "fe80::1%eth0": false, "fc00::1": false, "fd00:ec2::254": false,
		"ff02::1": false, "::ffff:127.0.0.1": false, "::ffff:169.254.169.254": false, "::ffff:8.8.8.8": true, "::127.0.0.1": false, "64:ff9b::7f00:1": false, "64:ff9b::808:808": false,
		"64:ff9b:1::1": false, "2002:7f00:1::1": false, "2002:808:808::1": false, "2001:0:4136:e378:8000:63bf:3fff:fdd2": false, "2001:db8::1": false, "fec0::1": false, "4000::1": false,
	} {
		if got := registryproxy.IsPublic(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: public %v, want %v", text, got, want)
		}
	}
}
