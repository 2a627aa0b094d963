#!/bin/bash
#
# debs.sh - Debian's prebuilt extension modules beside calf's PostgreSQL
#
#   pg/debs.sh MAJOR PACKAGE...      e.g. pg/debs.sh 15 postgresql-15-hll
#
# Makes build/pgMAJOR/debs/root, for CALF_EXTENSION_PATH: these packages and the
# postgresql-MAJOR-* packages they depend on, unpacked.  And build/pgMAJOR/pgsql-debs, for
# a stock server: the tree that build.sh made (as hard links) with what they have.
#
# The rule that matters: the packages are downloaded and unpacked, never
# installed, so no PostgreSQL of Debian's comes along; only the libraries they name (not
# libpq, of which PostgreSQL brings its own) are installed on the machine.  They
# are the machine's own suite's, so MAJOR must be that suite's PostgreSQL.

set -eu

major=${1:?usage: debs.sh MAJOR PACKAGE...}
shift
[ $# -gt 0 ] || { echo "usage: debs.sh MAJOR PACKAGE..." >&2; exit 1; }

repo=$(cd "$(dirname "$0")/.." && pwd)
top=$repo/build/pg$major
debs=$top/debs

die() {
    echo "pg$major: $*" >&2
    exit 1
}

[ -e "$top/built" ] || die "first build it: pg/build.sh $major"
key=$({ echo "$*"; cat "$top/built" "$repo/pg/debs.sh"; } | sha256sum | cut -c 1-64)
[ "$(cat "$debs/built" 2>/dev/null)" = "$key" ] && [ -d "$top/pgsql-debs" ] && exit 0
rm -rf "$debs/built" "$debs/root"
mkdir -p "$debs/root"
cd "$debs"

# What a package depends on: names without versions, the first of alternatives.
depends_of() {
    dpkg-deb -f "$1" Depends Pre-Depends |
        sed 's/^[A-Za-z-]*: //' | tr ',' '\n' | sed 's/|.*//; s/(.*//; s/:any//; s/ //g; /^$/d'
}

download() {
    apt-get -qq -o APT::Sandbox::User=root download "$1" >>log 2>&1
}

libraries=()
packages=("$@")
: >log
echo "pg$major: unpack $* (details in ${debs#"$repo"/}/log)"
for ((i = 0; i < ${#packages[@]}; i++)); do # grows on the way
    package=${packages[i]}
    compgen -G "${package}_*.deb" >/dev/null || download "$package" ||
        { { apt-get -qq update || sudo -n apt-get -qq update; } >>log 2>&1 && download "$package"; } ||
        { tail -n 20 log >&2; die "cannot download $package with this machine's package sources"; }
    deb=$(printf '%s\n' "${package}"_*.deb | sort -V | tail -n 1)
    dpkg-deb -x "$deb" root
    for name in $(depends_of "$deb"); do
        case " ${packages[*]} " in *" $name "*) continue ;; esac
        case $name in
            postgresql-"$major"-jit-llvm) ;;
            postgresql-"$major"-*) packages+=("$name") ;;
            postgresql* | libpq5) ;;
            *) libraries+=("$name") ;;
        esac
    done
done
[ ${#libraries[@]} = 0 ] || "$repo/pg/deps.sh" "${libraries[@]}"

# Several versions of an extension can be installed side by side on Debian, so it is
# update-alternatives that gives postgis-3.control the name postgis.control.
for control in root/usr/share/postgresql/"$major"/extension/*-[0-9].control; do
    [ ! -e "$control" ] || [ -e "${control%-[0-9].control}.control" ] ||
        cp "$control" "${control%-[0-9].control}.control"
done

rm -rf "$top/pgsql-debs" part
cp -al "$top/pgsql" part
for pair in lib:lib share:.; do
    from=root/usr/${pair%:*}/postgresql/$major/${pair#*:}
    [ ! -d "$from" ] || cp -r --remove-destination "$from/." "part/${pair%:*}/"
done
rm -rf part/lib/bitcode

mv part "$top/pgsql-debs"
echo "$key" >built
