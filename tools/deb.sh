#!/bin/bash
#
# deb.sh DIRECTORY - a Debian package of what install.sh installs, into DIRECTORY
#
# From the Makefile comes what install.sh needs, and ARCHIVE.
#
# The rule that matters: Depends is what the images inside need as well, which no linker sees:
# libcalf loads ICU or libxml2 when PostgreSQL does.

set -euo pipefail
umask 022

to=${1:?usage: deb.sh DIRECTORY}
architecture=$(dpkg --print-architecture)
package=$PWD/$to/calf_${VERSION}_$architecture.deb
archive=$PWD/$ARCHIVE
log=$PWD/$to/deb.log
work=$(mktemp -d "$PWD/$to/deb.XXXXXX")
trap 'rm -rf "$work"' EXIT
root=$work/root
chmod 755 "$work"

libdir=/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)
DESTDIR=$root PREFIX=/usr LIBDIR=$libdir tools/install.sh install
echo '  deb' "$to/${package##*/}"

# PostgreSQL's own libraries are inside; that of the system, where there is one, is not meant.
depends() {
    mkdir "$work/debian" "$work/images"
    tar --zstd -xf "$archive" -C "$work/images" bin lib
    printf 'Source: calf\n\nPackage: calf\nArchitecture: %s\n' "$architecture" >"$work/debian/control"
    (cd "$work" && dpkg-shlibdeps -O -xlibpq5 --ignore-missing-info -limages/lib \
        root/usr/bin/calf "root$libdir/libcalf.so.$VERSION" images/bin/* images/lib/*) 2>"$log" |
        sed -n 's/^shlibs:Depends=//p'
}

mkdir "$root/DEBIAN"
depends=$(depends) || { cat "$log" >&2; exit 1; }
cat >"$root/DEBIAN/control" <<END
Package: calf
Version: $VERSION
Architecture: $architecture
Maintainer: the calf developers
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f 1)
Depends: $depends
Section: database
Priority: optional
Description: PostgreSQL inside your process
 calf runs unmodified PostgreSQL inside a program: many sessions, all of its
 features, no server to install or to watch.
 .
 This package has the library (libcalf.so, libcalf.a), its header and libpq's,
 and the calf command.
END
(cd "$root" && find usr -type f -exec md5sum {} +) >"$root/DEBIAN/md5sums"
echo "libcalf ${SONAME##*.} calf (>= $VERSION)" >"$root/DEBIAN/shlibs"
echo 'activate-noawait ldconfig' >"$root/DEBIAN/triggers"
dpkg-deb --root-owner-group --build "$root" "$package" >>"$log"
