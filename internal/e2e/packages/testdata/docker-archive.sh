#!/bin/sh
# Writes a package archive in the form of Docker's own to /srv/www. Its packages docker-ce and containerd.io are Debian's docker.io, and
# Debian's containerd together with runc, under those names.
set -eu
apt-get --yes -o Dpkg::Use-Pty=0 install gpg
top=/srv/www/linux/debian
mkdir -p "$top/pool" "$top/dists/trixie/stable/binary-amd64" /srv/work
cd /srv/work
apt-get download docker.io containerd runc
for name in docker.io containerd runc; do dpkg-deb -R "$name"_*.deb "$name"; done

# What the packages depend on, without those that are renamed.
needs() { for name; do dpkg-deb -f "$name"_*.deb Depends; done | tr ',' '\n' | sed 's/^ *//' | grep -vE '^(containerd|runc)( |$)' | sort -u | paste -sd ,; }
control() { # NAME FROM FIELD...
	name=$1 from=$2
	shift 2
	printf '%s\n' "Package: $name" "Version: $(dpkg-deb -f "$from"_*.deb Version)" 'Architecture: amd64' 'Maintainer: A test <test@example.org>' \
		'Description: stand-in for the package of the same name' "$@"
}
rm runc/DEBIAN/*
cp -a runc/. containerd/
control containerd.io containerd "Depends: $(needs containerd runc)" 'Provides: containerd, runc' 'Conflicts: containerd, runc' >containerd/DEBIAN/control
control docker-ce docker.io "Depends: containerd.io, $(needs docker.io)" 'Conflicts: docker.io' >docker.io/DEBIAN/control
for from in containerd docker.io; do
	rm -f "$from/DEBIAN/md5sums"
	dpkg-deb -Znone -b "$from" "$top/pool"
done

cd "$top"
for file in pool/*.deb; do
	dpkg-deb -f "$file"
	printf 'Filename: %s\nSize: %s\nSHA256: %s\n\n' "$file" "$(stat -c %s "$file")" "$(sha256sum "$file" | cut -d ' ' -f 1)"
done >dists/trixie/stable/binary-amd64/Packages
cd dists/trixie
list=stable/binary-amd64/Packages
printf '%s\n' 'Origin: Docker' 'Suite: trixie' 'Codename: trixie' "Date: $(date -Ru)" 'Architectures: amd64' 'Components: stable' 'SHA256:' \
	" $(sha256sum $list | cut -d ' ' -f 1) $(stat -c %s $list) $list" >Release
gpg --batch --quiet --passphrase '' --quick-generate-key 'A test <test@example.org>' rsa3072 sign never
gpg --batch --quiet --clearsign --output InRelease Release
gpg --batch --armor --export >"$top/gpg"
