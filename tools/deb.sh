#!/bin/bash
#
# deb.sh DIRECTORY - Debian packages of what install.sh installs, into DIRECTORY
#
#   calf           the command and libcalf.so: what programs need
#   libcalf-dev    what compilers need
#
# From the Makefile comes what install.sh needs, and ARCHIVE.
#
# The rule that matters: calf's Depends is what the images inside need as well, which no linker
# sees: libcalf loads ICU or libxml2 when PostgreSQL does.

set -euo pipefail
umask 022

to=${1:?usage: deb.sh DIRECTORY}
command -v dpkg-shlibdeps >/dev/null ||
    { echo "make deb needs Debian's tools, dpkg-deb and dpkg-shlibdeps" >&2; exit 1; }
architecture=$(dpkg --print-architecture)
libdir=/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)
images=$PWD/$ARCHIVE
log=$PWD/$to/deb.log
work=$(mktemp -d "$PWD/$to/deb.XXXXXX")
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

# PostgreSQL's own libraries are inside; that of the system, where there is one, is not meant.
depends() {
    mkdir "$work/debian" "$work/images"
    tar --zstd -xf "$images" -C "$work/images" bin lib
    printf 'Source: calf\n\nPackage: calf\nArchitecture: %s\n' "$architecture" >"$work/debian/control"
    (cd "$work" && dpkg-shlibdeps -O -xlibpq5 --ignore-missing-info -limages/lib \
        calf/usr/bin/calf "calf$libdir/libcalf.so.$VERSION" images/bin/* images/lib/*) 2>"$log" |
        sed -n 's/^shlibs:Depends=//p'
}

# package NAME SECTION DEPENDS DESCRIPTION: of the files in $work/NAME
package() {
    local root=$work/$1 file=$to/${1}_${VERSION}_$architecture.deb
    mkdir -p "$root/DEBIAN"
    cat >"$root/DEBIAN/control" <<END
Package: $1
Source: calf
Version: $VERSION
Architecture: $architecture
Maintainer: the calf developers
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f 1)
Section: $2
Priority: optional
Depends: $3
Description: $4
END
    (cd "$root" && find usr -type f -exec md5sum {} +) >"$root/DEBIAN/md5sums"
    dpkg-deb --root-owner-group --build "$root" "$file" >>"$log"
    echo "  deb $file"
}

DESTDIR=$work/calf PREFIX=/usr LIBDIR=$libdir tools/install.sh install
# Debian's own places
gzip -9n "$work/calf/usr/share/man/man1/calf.1"
mv "$work/calf/usr/share/zsh/site-functions" "$work/calf/usr/share/zsh/vendor-completions"
for file in usr/include "${libdir#/}"/{libcalf.a,libcalf.so,pkgconfig,cmake}; do
    mkdir -p "$work/libcalf-dev/${file%/*}"
    mv "$work/calf/$file" "$work/libcalf-dev/$file"
done
install -D -m 644 "$work/calf/usr/share/doc/calf/copyright" "$work/libcalf-dev/usr/share/doc/libcalf-dev/copyright"

depends=$(depends) || { cat "$log" >&2; exit 1; }
mkdir "$work/calf/DEBIAN"
echo "libcalf ${SONAME##*.} calf (>= $VERSION)" >"$work/calf/DEBIAN/shlibs"
echo 'activate-noawait ldconfig' >"$work/calf/DEBIAN/triggers"
package calf database "$depends" 'PostgreSQL inside your process
 calf runs unmodified PostgreSQL inside a program: many sessions, all of its
 features, no server to install or to watch.
 .
 This package has the calf command and the library libcalf.so.'
package libcalf-dev libdevel "calf (= $VERSION), libc6-dev, libssl-dev, libzstd-dev" \
    'PostgreSQL inside your process, to compile programs with
 The header calf.h, those of libpq, whose functions libcalf has, and libcalf.a
 for programs that carry PostgreSQL themselves.'
