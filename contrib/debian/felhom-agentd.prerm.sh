#!/bin/sh
set -e
# An upgrade lets the old daemon run until the new one is in place.
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
  deb-systemd-invoke stop felhom-agentd.service >/dev/null || true
fi
