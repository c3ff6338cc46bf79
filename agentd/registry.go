package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/docker/go-units"
	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/agentd/internal/blobcache"
	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/agentd/internal/registryproxy"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/regular"
)

// registry is the daemon's part of the registry proxy. The zero value has no proxy.
type registry struct {
	proxy *registryproxy.Proxy
	cache *blobcache.Cache
}

// openRegistry returns the proxy of the configuration, or none.
func openRegistry(cfg config.Config, store *guests.Store, logger *logrus.Logger, trail *trail, counts *counts) (registry, error) {
	if cfg.RegistryAccess != config.RegistryProxy {
		return registry{}, nil
	}
	// The heap is a few MiB, most of it buffers of transfers: a collection costs
	// little, and four pulls at once take the daemon to about 24 MB.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	registries, err := registriesOf(cfg)
	if err != nil {
		return registry{}, err
	}
	var out registry
	if cfg.Cache != nil {
		out.cache, err = blobcache.Open(cfg.Cache.Dir, cfg.Cache.Size, cacheFaults(logger))
		if err != nil {
			return registry{}, fault.WrapHint(fault.NotReady, err, "set cache.dir to a directory of its own that belongs to root, mode 0700")
		}
	}
	pulls := newPullLog(logger)
	out.proxy = registryproxy.New(registryproxy.Options{
		Registries: registries, Cache: out.cache, Now: time.Now,
		Images: func(_ context.Context, vmid int) ([]registryproxy.Image, error) { return imagesOf(cfg, store, vmid) },
		Pulled: func(p registryproxy.Pull) { pulls.add(p); trail.pulled(p); counts.Pulled(p) },
		Failed: func(vmid int, err error) { logRegistryFault(logger, vmid, err); counts.RegistryFailed() },
	})
	return out, nil
}

// cacheFaults returns what logs the faults of the cache: some, and then one a
// minute. With a full disk, each request of a guest would cause one.
func cacheFaults(logger *logrus.Logger) func(error) {
	var mu sync.Mutex
	limits := lineLimits[string]{}
	return func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if limits.allow("cache", trailBurst, time.Now()) {
			logger.WithError(err).Warn("blob cache")
		}
	}
}

func (r registry) close() error {
	if r.proxy != nil {
		r.proxy.Close()
	}
	return r.cache.Close()
}

// imagesOf returns what a guest may pull: its controller's image first, then
// what the configuration and its record list.
func imagesOf(cfg config.Config, store *guests.Store, vmid int) ([]registryproxy.Image, error) {
	record, err := store.Recent(vmid)
	if errors.Is(err, guests.ErrBusy) {
		err = fmt.Errorf("%w: %w", registryproxy.ErrBusy, err)
	}
	if err != nil {
		return nil, fmt.Errorf("record of guest %d: %w", vmid, err)
	}
	out, err := imagesAllowed(cfg.WithImage(record.ControllerImage))
	if err != nil || record.Asked == nil {
		return out, err
	}
	for _, text := range record.Asked.Repositories {
		r, err := config.ParseRepository(text)
		if err != nil {
			return nil, fmt.Errorf("record of guest %d: repositories: %w", vmid, err)
		}
		out = append(out, imageOf(r))
	}
	return out, nil
}

func imageOf(r config.Repository) registryproxy.Image {
	return registryproxy.Image{Host: r.Host, Repository: r.Path, Tag: r.Tag, Digest: r.Digest}
}

func imagesAllowed(cfg config.Config) ([]registryproxy.Image, error) {
	ref, err := contract.ParseImageRef(cfg.ControllerImage)
	if err != nil {
		return nil, fmt.Errorf("controller_image: %w", err)
	}
	var manifest, configuration contract.Digest
	if err := errors.Join(manifest.UnmarshalText([]byte(cfg.ManifestDigest)), configuration.UnmarshalText([]byte(cfg.ConfigDigest))); err != nil {
		return nil, fmt.Errorf("digests of controller_image: %w", err)
	}
	out := []registryproxy.Image{registryproxy.ImageOf(ref, manifest, configuration)}
	for _, r := range cfg.Repositories {
		out = append(out, imageOf(r))
	}
	return out, nil
}

func registriesOf(cfg config.Config) ([]registryproxy.Registry, error) {
	var out []registryproxy.Registry
	var all []error
	for _, r := range cfg.AllRegistries() {
		one := registryproxy.Registry{Host: r.Host, TokenHosts: r.TokenHosts, BlobHosts: r.BlobHosts}
		if r.HasSecret() {
			one.Credential = func() (string, contract.Secret, error) {
				secret, err := provision.ReadSecret(provision.SecretFile(r))
				return r.Username, secret, err
			}
		}
		if r.CAFile != "" {
			roots, err := readRoots(r.CAFile)
			if err != nil {
				all = append(all, fault.WrapHint(fault.Invalid, fmt.Errorf("registry %s: ca_file: %w", r.Host, err), "the file holds certificates of authorities, in PEM"))
			}
			one.Roots = roots
		}
		out = append(out, one)
	}
	return out, errors.Join(all...)
}

const maxRootsBytes = 1 << 20

// readRoots returns the system's authorities and those of file.
func readRoots(file string) (*x509.CertPool, error) {
	data, err := regular.Read(file, maxRootsBytes)
	if err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a host without any
	}
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return pool, nil
}

// pullLog logs the answers of the registry proxy. A guest can have many a second,
// and each is in the audit log: those that ended well are for debugging, and of
// the others a guest has a few lines of warning.
type pullLog struct {
	logger *logrus.Logger

	mu     sync.Mutex
	limits lineLimits[int] // by guest
}

func newPullLog(logger *logrus.Logger) *pullLog {
	return &pullLog{logger: logger, limits: lineLimits[int]{}}
}

func (l *pullLog) isAllowed(vmid int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.limits.allow(vmid, trailBurst, time.Now())
}

func (l *pullLog) add(p registryproxy.Pull) {
	level, message := logrus.DebugLevel, "pull"
	if p.Err != nil {
		message = "pull ended early"
		if l.isAllowed(p.VMID) {
			level = logrus.WarnLevel
		}
	}
	if !l.logger.IsLevelEnabled(level) {
		return
	}
	entry := l.logger.WithFields(logrus.Fields{
		"guest": p.VMID, "repository": p.Repository, "reference": p.Reference, "digest": p.Digest,
		"bytes": p.Bytes, "status": p.Status, "seconds": p.Duration.Seconds(), "cached": p.IsCached,
	})
	if p.Err != nil {
		entry = entry.WithError(p.Err)
	}
	entry.Log(level, message)
}

func logRegistryFault(logger *logrus.Logger, vmid int, err error) {
	entry := logger.WithField("guest", vmid).WithError(err)
	if _, isDenied := errors.AsType[*registryproxy.DeniedError](err); isDenied {
		entry.Warn("guest asked for an image that it may not pull")
		return
	}
	entry.Error("registry")
}

// checkRegistries tests the credentials and logs those that do not work, while
// the daemon serves.
func checkRegistries(ctx context.Context, cfg config.Config, logger *logrus.Logger) {
	results, err := checkAll(ctx, cfg, "")
	for _, r := range results {
		if r.Push == "yes" {
			logger.WithField("registry", r.Host).Warn("the host's credential can do more than pull; use one that can only pull")
		}
	}
	if err != nil && ctx.Err() == nil {
		logger.WithError(err).Error("a registry does not work for guests; see felhom-agentd registry check")
	}
}

// checkAll checks the registries of the configuration, or the one of host.
func checkAll(ctx context.Context, cfg config.Config, host string) ([]registryproxy.Checked, error) {
	registries, err := registriesOf(cfg)
	if err != nil {
		return nil, err
	}
	images, err := imagesAllowed(cfg)
	if err != nil {
		return nil, err
	}
	var out []registryproxy.Checked
	var all []error
	known := []string{}
	for _, r := range registries {
		known = append(known, r.Host)
		if host != "" && r.Host != host {
			continue
		}
		var own []registryproxy.Image
		for _, i := range images {
			if i.Host == r.Host {
				own = append(own, i)
			}
		}
		checked, err := registryproxy.Check(ctx, r, own)
		if err != nil {
			all = append(all, registryFault(err))
			continue
		}
		out = append(out, checked)
	}
	if len(out)+len(all) == 0 {
		what := "no registry is configured"
		if host != "" {
			what = fmt.Sprintf("registry %q is not configured; want one of %s", host, strings.Join(known, ", "))
		}
		return nil, fault.WrapHint(fault.NotFound, errors.New(what), "add it to registries in the configuration (docs/registry.md)")
	}
	return out, errors.Join(all...)
}

func registryFault(err error) error {
	upstream, ok := errors.AsType[*registryproxy.Error](err)
	switch {
	case ok && upstream.IsCredential():
		return fault.WrapHint(fault.Mismatch, err, "write a user name and token that the registry accepts for pulling, and run the check again; no restart is needed")
	case ok && upstream.IsTemporary():
		return fault.WrapHint(fault.NotReady, err, "is the registry up, and its name known to this host?")
	}
	return err
}

func registryCommand(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name: "registry", Usage: "Check the host's access to registries",
		Subcommands: []*cli.Command{{
			Name: "check", Usage: "Prove that the credentials work for pulling", ArgsUsage: "[HOST]",
			Flags: []cli.Flag{jsonFlag()},
			Action: func(c *cli.Context) error {
				cfg, err := loadConfig(c.String("config"))
				if err != nil {
					return err
				}
				results, err := checkAll(c.Context, cfg, c.Args().First())
				if err != nil {
					return err
				}
				for _, r := range results {
					if r.Push == "yes" {
						_, _ = fmt.Fprintf(stderr, "%s: warning: the credential for %s can do more than pull; use one that can only pull\n", program, r.Host) // there is no other place to report it
					}
				}
				if c.Bool("json") {
					return printJSON(stdout, results)
				}
				return printChecked(stdout, results)
			},
		}},
	}
}

func printChecked(stdout io.Writer, results []registryproxy.Checked) error {
	var b strings.Builder
	for _, r := range results {
		fmt.Fprintf(&b, "%s works\n  authentication  %s\n  can push        %s\n", r.Host, r.Way, r.Push)
		for _, i := range r.Images {
			fmt.Fprintf(&b, "  image           %s  %s\n", i.Image, i.Digest)
		}
	}
	_, err := io.WriteString(stdout, b.String())
	return err
}

func cacheCommand(stdout io.Writer) *cli.Command {
	return &cli.Command{
		Name: "cache", Usage: "List and remove the blobs that the registry proxy keeps",
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "List the blobs, the last used first", Flags: []cli.Flag{jsonFlag()},
				Action: func(c *cli.Context) error {
					return withCache(c, func(dir string) error {
						blobs, err := blobcache.List(dir)
						if err != nil {
							return err
						}
						return printBlobs(stdout, blobs, c.Bool("json"))
					})
				},
			},
			{
				Name: "prune", Usage: "Remove blobs that were not used for some time",
				Flags: []cli.Flag{jsonFlag(), &cli.DurationFlag{Name: "unused", Value: 30 * 24 * time.Hour, Usage: "remove what was not used for `TIME`; 0s: all"}},
				Action: func(c *cli.Context) error {
					if c.Duration("unused") < 0 {
						return misuse(c, errors.New("--unused: want a time like 720h, not a negative one"))
					}
					return withCache(c, func(dir string) error {
						// The end of the current second, which is the time of what was used
						// just now.
						blobs, err := blobcache.Prune(dir, time.Now().Add(time.Second-c.Duration("unused")))
						if err != nil {
							return err
						}
						return printBlobs(stdout, blobs, c.Bool("json"))
					})
				},
			},
		},
	}
}

func withCache(c *cli.Context, do func(dir string) error) error {
	cfg, err := loadConfig(c.String("config"))
	if err != nil {
		return err
	}
	if cfg.Cache == nil {
		return fault.WrapHint(fault.NotFound, errors.New("no cache is configured"), "set cache in the configuration (docs/registry.md)")
	}
	return do(cfg.Cache.Dir)
}

func printBlobs(stdout io.Writer, blobs []blobcache.Blob, asJSON bool) error {
	if asJSON {
		if blobs == nil {
			blobs = []blobcache.Blob{}
		}
		return printJSON(stdout, blobs)
	}
	var b strings.Builder
	sum := int64(0)
	for _, blob := range blobs {
		fmt.Fprintf(&b, "%s  %10s  %s\n", blob.Digest, units.BytesSize(float64(blob.Size)), blob.Used.Format(time.RFC3339))
		sum += blob.Size
	}
	fmt.Fprintf(&b, "%d blobs, %s\n", len(blobs), units.BytesSize(float64(sum)))
	_, err := io.WriteString(stdout, b.String())
	return err
}
