package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/agentd/internal/api"
	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/metrics"
	"github.com/felhom/felhom-golden/agentd/internal/origin"
	"github.com/felhom/felhom-golden/agentd/internal/overview"
	"github.com/felhom/felhom-golden/internal/fault"
)

// counts are what the daemon counts.
type counts struct {
	*metrics.Metrics
	origin atomic.Pointer[origin.Checker] // nil: origins are not looked at
	shown  atomic.Pointer[service]        // nil: it does not serve yet
}

func newCounts(cfg config.Config, h host, store *guests.Store) *counts {
	c := &counts{}
	source := overview.Source{Store: store, StateDir: cfg.StateDir}
	c.Metrics = metrics.New(metrics.Options{
		Version: version, Now: time.Now,
		Certificate: func() *x509.Certificate {
			if s := c.shown.Load(); s != nil && s.shown.Load() != nil {
				return s.shown.Load().certificate.Leaf
			}
			return h.identity.Current.Leaf
		},
		Guests: func() (map[string]int, int, error) { return guestStates(source, elsewhereOf(cfg)) },
		Origin: func() origin.Counts {
			if checker := c.origin.Load(); checker != nil {
				return checker.Counts()
			}
			return origin.Counts{}
		},
	})
	return c
}

// guestStates counts the guests by metrics.GuestStates, from records and reports
// alone. Those of other nodes, which isElsewhere reports if it is not nil, are
// counted there.
func guestStates(source overview.Source, isElsewhere func(vmid int) bool) (states map[string]int, unreadable int, err error) {
	rows, broken, err := source.Rows(context.Background()) // it asks nothing outside of this host's files
	states = map[string]int{}
	for _, r := range rows {
		switch {
		case isElsewhere != nil && isElsewhere(r.Guest):
		case r.Revoked:
			states["revoked"]++
		case r.Controller == "":
			states["silent"]++
		default:
			states[r.Controller]++
		}
	}
	return states, len(broken), err
}

// maxMetrics bounds what the command reads of the daemon.
const maxMetrics = 4 << 20

func metricsCommand(stdout io.Writer) *cli.Command {
	return &cli.Command{
		Name: "metrics", Usage: "Print what the daemon counts, in the form of Prometheus",
		Description: "The daemon offers them on its Unix socket only. docs/metrics.md says how Prometheus gets them, and docs/alerts.yaml has alerts.\n\nExample:\n   felhom-agentd metrics",
		Action: func(c *cli.Context) error {
			cfg, err := loadConfig(c.String("config"))
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context, 15*time.Second)
			defer cancel()
			var text []byte
			err = overHealthSocket(ctx, cfg.HealthSocket, api.PathMetrics, func(answer *http.Response) error {
				if answer.StatusCode != http.StatusOK {
					return fmt.Errorf("the daemon answers %s", answer.Status)
				}
				text, err = io.ReadAll(io.LimitReader(answer.Body, maxMetrics))
				return err
			})
			if err != nil {
				return fault.WrapHint(fault.NotReady, fmt.Errorf("metrics of felhom-agentd: %w", err), "systemctl start felhom-agentd; only root can open its socket")
			}
			_, err = stdout.Write(text)
			return err
		},
	}
}
