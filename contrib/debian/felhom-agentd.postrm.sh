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
  for dir in /var/lib/felhom-agentd /var/lib/felhom/mounts /run/felhom-agentd /etc/felhom; do
    # A file system of its own, such as a dataset of ZFS, can be mounted there or below: what is on another one is left alone.
    rm -rf --one-file-system "$dir" ||
      echo "felhom-agentd: $dir is not removed whole: a file system is mounted there. Unmount it, and remove the directory" >&2
  done
  rm -f /etc/systemd/system/multi-user.target.wants/felhom-agentd.service
  # These stay if guests of a liblxc host are in them.
  rmdir /var/lib/felhom/guests /var/lib/felhom 2>/dev/null || true
fi
