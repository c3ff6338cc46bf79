#!/bin/sh
# The spike's bootstrapper, as it was proven by hand: what the product is
# measured against (internal/e2e/bench). It is kept as simple as it was, with
# what it cannot do: it checks nothing, a second run fails on the container's
# name, it needs the registry even when the image is there, it leaves the
# registry's password in config.json and writes no controller.yaml.
#
# Differences from the spike: the three paths can be set, so that it runs beside others,
# and ports are published on an address of choice.
set -eu

CONFIG=${FELHOM_SPIKE_CONFIG:-/etc/felhom-bootstrap/bootstrap.json}
SETTINGS=${FELHOM_SPIKE_SETTINGS:-/opt/docker/felhom-controller}
NAME=${FELHOM_SPIKE_NAME:-felhom-controller}
PORT8080=${FELHOM_SPIKE_PORT8080:-8080}
PORT8081=${FELHOM_SPIKE_PORT8081:-8081}

host=$(jq -r .registry.host "$CONFIG")
username=$(jq -r .registry.username "$CONFIG")
image=$(jq -r .controller_image "$CONFIG")

jq -r .registry.token "$CONFIG" | docker login --username "$username" --password-stdin "$host"
docker pull "$image"
mkdir -p "$SETTINGS"
docker run --detach --name "$NAME" --restart unless-stopped \
	--publish "$PORT8080:8080" --publish "$PORT8081:8081" \
	--volume /var/run/docker.sock:/var/run/docker.sock \
	--volume "$SETTINGS:/opt/docker/felhom-controller" \
	--volume "$(dirname "$CONFIG"):/etc/felhom-bootstrap:ro" \
	"$image"
