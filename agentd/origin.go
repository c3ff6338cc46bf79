package main

import (
	"github.com/sirupsen/logrus"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/origin"
	"github.com/felhom/felhom-golden/internal/fault"
)

// openOrigin returns what proves from where requests come; nil if the
// configuration does not ask for it, or only to observe and it cannot be had.
func openOrigin(cfg config.Config, logger *logrus.Logger) (*origin.Checker, error) {
	if cfg.Origin == config.OriginOff {
		return nil, nil
	}
	h, err := hypervisorOf(cfg)
	if err != nil {
		return nil, err
	}
	checker, err := origin.Open(h.Interfaces)
	switch {
	case err == nil:
		return checker, nil
	case cfg.Origin == config.OriginObserve:
		logger.WithError(err).Warn("from where requests come is not observed")
		return nil, nil
	}
	return nil, fault.WrapHint(fault.NotReady, err, "the daemon needs sockets of the family AF_NETLINK; or set origin: observe in the configuration")
}
