package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestStepOf(t *testing.T) {
	const said = "felhom-golden: pack       100.0 MiB, 3s left\nfelhom-golden: pack       done         1.93s  96.0 MiB\npack       reused        0.5s\n"
	for _, tt := range []struct {
		result string
		want   time.Duration
		ok     bool
	}{
		{"done", 1930 * time.Millisecond, true},
		{"reused", 500 * time.Millisecond, true},
		{"passed", 0, false},
	} {
		t.Run(tt.result, func(t *testing.T) {
			if got, err := stepOf([]byte(said), "pack", tt.result); got != tt.want || (err == nil) != tt.ok {
				t.Errorf("want %v, got %v %v", tt.want, got, err)
			}
		})
	}
}

// TestGoldenTable: a row for each, and what misses says so.
func TestGoldenTable(t *testing.T) {
	f := &goldenField{suite: "trixie", samples: samples{}, sizes: map[string]int64{
		plainSet: 134e6, zstdFast: 100e6, felhomPack + " fast": 101e6, zstdRelease: 86e6, felhomPack + " release": 83e6,
	}}
	took := func(c, name string, d time.Duration) {
		f.samples.add(c, name, sample{Wall: d, Started: d, CPU: d, RSS: 1000})
	}
	took(caseBuild, bareMmdebstrap, 50*time.Second)
	took(caseBuild, debootstrapTar, 90*time.Second)
	took(caseBuild, felhomReferee, 55*time.Second)
	took(caseBuild, felhomCold, 45*time.Second)
	took(caseBuild, felhomWarm, 40*time.Second)
	took(caseBuild, felhomWarmBase, 35*time.Second)
	took(caseFast, zstdFast, time.Second)
	took(caseFast, felhomPack, 2*time.Second)
	took(caseRelease, zstdRelease, 4*time.Second)
	took(caseRelease, felhomPack, 40*time.Second)
	took(caseRebuild, felhomBuild, 1500*time.Millisecond)
	for _, setting := range []string{" fast", " release"} {
		for _, name := range []string{zstdTar, felhomVerify, felhomInspect, felhomConfig} {
			took(caseVerify+setting, name, time.Second)
		}
		took(caseUnpack+setting, tarExtract, time.Second)
		took(caseUnpack+setting, felhomUnpack, 500*time.Millisecond)
	}
	var out bytes.Buffer
	if err := f.print(&out, options{builds: 1, rounds: 1}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| felhom-golden build --engine mmdebstrap | 55.00 s (55.00 to 55.00) | 1.10x | 55.00 s | 1 MB |",
		"| build with mmdebstrap, to bare mmdebstrap | ≤ 1.2 x | 1.10 x | 1.10 x | yes |",
		"| the base with dpkg and packages in the cache, to bare mmdebstrap | ≤ 0.6 x | 0.70 x | 0.70 x | **no** |",
		"| pack fast, to tar and zstd -3 -T0 | ≤ 1.2 x | 2.00 x | 2.00 x | **no** |",
		"| its size, to that | ≤ 1 x | 1.01 x | 1.01 x | **no** |",
		"| rebuild with another bootstrapper | ≤ 0.7 s | 1.50 s | 1.50 s | **no** |",
		"| pack release, to tar and zstd -9 --long=27 -T0 | ≤ 2.5 x | 10.00 x | 10.00 x | **no** |",
		"| unpack (release), to tar --zstd -x | ≤ 1 x | 0.50 x | 0.50 x | yes |",
		"| size of the default golden image (release) | ≤ 90 MB | 83.00 MB | 83.00 MB | yes |",
	} {
		if !strings.Contains(out.String(), want+"\n") {
			t.Errorf("no line %s in\n%s", want, out.String())
		}
	}
}
