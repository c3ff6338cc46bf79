#!/bin/sh
set -e
unit=felhom-agentd.service
if [ "$1" = configure ] || [ "$1" = abort-upgrade ] || [ "$1" = abort-remove ]; then
  if [ -e /etc/felhom/agentd.yaml ]; then
    if [ -d /run/systemd/system ]; then
      systemctl --system daemon-reload >/dev/null || true
      # Only a unit that is enabled or runs. Guests run on meanwhile; what they report in those seconds, they send again.
      deb-systemd-invoke restart "$unit" >/dev/null || true
    fi
  else
    # Without a configuration the daemon can do nothing, so the unit is not enabled either.
    echo "felhom-agentd: to start, copy /etc/felhom/agentd.yaml.example to agentd.yaml, change it, then: systemctl enable --now felhom-agentd"
  fi
fi
