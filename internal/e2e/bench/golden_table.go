package main

import (
	"io"
	"runtime"
)

// What is measured of golden images.
const (
	caseBuild   = "build from nothing"
	caseFast    = "pack, fast"
	caseRelease = "pack, release"
	caseRebuild = "rebuild with another bootstrapper"
	caseVerify  = "read an archive:"
	caseUnpack  = "unpack an archive:"
)

// With what.
const (
	bareMmdebstrap = "mmdebstrap to a tar, nothing else"
	debootstrapTar = "debootstrap, then tar and zstd -3 -T0"
	felhomBuild    = "felhom-golden build"
	felhomReferee  = "felhom-golden build --engine mmdebstrap"
	felhomCold     = "felhom-golden build --engine dpkg"
	felhomWarm     = "the same, with its packages in the cache"
	felhomWarmBase = "of that, the step base"
	zstdFast       = "tar and zstd -3 -T0"
	zstdRelease    = "tar and zstd -9 --long=27 -T0"
	felhomPack     = "felhom-golden, step pack"
	zstdTar        = "zstd -d and tar -t"
	felhomVerify   = "felhom-golden verify"
	felhomInspect  = "felhom-golden inspect"
	felhomConfig   = "felhom-golden inspect --config"
	tarExtract     = "tar --zstd -x"
	felhomUnpack   = "felhom-golden unpack"
	plainSet       = "plain package set, zstd -3"
)

func (f *goldenField) print(w io.Writer, o options) error {
	p := &printer{w: w}
	p.line("Debian %s, %s/%s, %d processors, %s; %d builds, %d rounds of the rest, medians (lowest to highest).\n",
		f.suite, runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), o.builds, o.rounds)
	for _, t := range []struct {
		title string
		names []string
	}{
		{caseBuild, []string{bareMmdebstrap, debootstrapTar, felhomReferee, felhomCold, felhomWarm, felhomWarmBase}},
		{caseFast, []string{zstdFast, felhomPack}},
		{caseRelease, []string{zstdRelease, felhomPack}},
		{caseVerify + " fast", []string{zstdTar, felhomVerify, felhomInspect, felhomConfig}},
		{caseVerify + " release", []string{zstdTar, felhomVerify, felhomInspect, felhomConfig}},
		{caseUnpack + " fast", []string{tarExtract, felhomUnpack}},
		{caseUnpack + " release", []string{tarExtract, felhomUnpack}},
		{caseRebuild, []string{felhomBuild}},
	} {
		p.line("**%s**\n", t.title)
		p.line("| | time | to the first | CPU | peak RSS |")
		p.line("|---|---|---|---|---|")
		base := f.samples[t.title][t.names[0]]
		for _, name := range t.names {
			of := f.samples[t.title][name]
			p.line("| %s | %s | %.2fx | %.2f s | %.0f MB |", name, spread(of, started),
				ratio(median(of, started), median(base, started)), median(of, cpu).Seconds(), mb(medianRSS(of)))
		}
		p.line("")
	}
	p.line("**size**\n\n| | MB |\n|---|---|")
	for _, name := range []string{plainSet, zstdFast, felhomPack + " fast", zstdRelease, felhomPack + " release"} {
		p.line("| %s | %.1f |", name, float64(f.sizes[name])/1e6)
	}
	return p.targets(f.figures())
}

func (f *goldenField) figures() []target {
	times := func(text string, limit float64, c, own, peer string) target {
		o, p := f.samples[c][own], f.samples[c][peer]
		return target{text, limit, "x", ratio(median(o, started), median(p, started)), ratio(lowest(o, started), lowest(p, started))}
	}
	still := func(text string, limit float64, unit string, value float64) target {
		return target{text, limit, unit, value, value}
	}
	size := func(of string) float64 { return float64(f.sizes[of]) / 1e6 }
	rebuilt := f.samples[caseRebuild][felhomBuild]
	return []target{
		times("build with mmdebstrap, to bare mmdebstrap", 1.2, caseBuild, felhomReferee, bareMmdebstrap),
		times("build with dpkg from nothing, to debootstrap, tar and zstd", 1, caseBuild, felhomCold, debootstrapTar),
		times("the base with dpkg and packages in the cache, to bare mmdebstrap", 0.6, caseBuild, felhomWarmBase, bareMmdebstrap),
		times("pack fast, to tar and zstd -3 -T0", 1.2, caseFast, felhomPack, zstdFast),
		still("its size, to that", 1, "x", size(felhomPack+" fast")/size(zstdFast)),
		times("pack release, to tar and zstd -9 --long=27 -T0", 2.5, caseRelease, felhomPack, zstdRelease),
		still("size of release, to tar and zstd -9 --long=27", 1, "x", size(felhomPack+" release")/size(zstdRelease)),
		{"rebuild with another bootstrapper", 0.7, "s", median(rebuilt, wall).Seconds(), lowest(rebuilt, wall).Seconds()},
		times("verify (fast), to zstd -d and tar -t", 1.4, caseVerify+" fast", felhomVerify, zstdTar),
		times("verify (release), to zstd -d and tar -t", 1.4, caseVerify+" release", felhomVerify, zstdTar),
		times("unpack (fast), to tar --zstd -x", 1, caseUnpack+" fast", felhomUnpack, tarExtract),
		times("unpack (release), to tar --zstd -x", 1, caseUnpack+" release", felhomUnpack, tarExtract),
		still("size of the default golden image (release)", 90, "MB", size(felhomPack+" release")),
	}
}
