#!/bin/sh
# "remove" keeps configuration and state. "purge" removes all of both: keys, tokens, records, caches and config mounts. Guests are
# containers with a disk of their own and are never removed here; "felhom-agentd guest remove" does that.
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
  systemctl --system daemon-reload >/dev/null || true
fi
if [ "$1" = purge ]; then
  for mount in /var/lib/felhom/mounts/*/; do
    vmid=$(basename "$mount")
    if [ -e "/etc/pve/lxc/$vmid.conf" ] || [ -e "/var/lib/felhom/guests/$vmid/config" ]; then
      echo "felhom-agentd: guest $vmid still exists and has lost its config mount: see \"Remove and purge\" in docs/upgrade.md" >&2
    fi
  done
  rm -rf /var/lib/felhom-agentd /var/lib/felhom/mounts /run/felhom-agentd /etc/felhom
  rm -f /etc/systemd/system/multi-user.target.wants/felhom-agentd.service
  # These stay if guests of a liblxc host are in them.
  rmdir /var/lib/felhom/guests /var/lib/felhom 2>/dev/null || true
fi
