#!/bin/sh
# An example of a drop-in: the shell provisioner runs every scripts/*.sh, in the
# order of the names. Remove it, or put your own beside it.
set -eu
printf 'A felhom guest. Site: %s\n' "${SITE:-not set}" >/etc/motd
