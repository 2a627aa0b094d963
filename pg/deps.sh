#!/bin/bash
#
# deps.sh - the Debian packages that building and testing calf needs
#
#   pg/deps.sh              everything
#   pg/deps.sh run          without what only the tests need
#   pg/deps.sh PACKAGE...   these
#
# The rule that matters: when nothing is missing this says nothing, takes
# milliseconds and never asks apt, so that every make may begin with it.
# Otherwise it installs as root (or by a sudo that asks no password), and
# else prints the one command to type.  Nothing is installed from anywhere but
# the machine's own package sources.

set -eu

packages=(
    gcc libc6-dev make bison flex perl pkgconf    # PostgreSQL's build
    bzip2 xz-utils ca-certificates                # its source archive
    libicu-dev libssl-dev zlib1g-dev liblz4-dev libzstd-dev
    libxml2-dev libxslt1-dev uuid-dev libreadline-dev
)
case ${1-} in
    run) ;;
    '')  packages+=(clang clang-format openssl zstd # the tests of tidiness, of TLS, of packages, of users of libpq
                    cmake strace dpkg-dev
                    groff zsh fish                 # of the man page and the completions
                    postgresql-client-15 postgresql-15 python3-psycopg2 python3-psycopg python3-pytest libdbd-pg-perl ruby-pg php-cli php-pgsql
                    libpq-dev python3-asyncpg python3-sqlalchemy python3-django libpostgresql-jdbc-java) ;;
    *)   packages=("$@") ;;
esac
# the bindings' languages are often there from elsewhere than Debian
if [ $# = 0 ]; then
    command -v npm >/dev/null || packages+=(nodejs npm)
    command -v cargo >/dev/null || packages+=(cargo)
    command -v go >/dev/null || packages+=(golang-go)
    command -v javac >/dev/null || packages+=(openjdk-17-jdk-headless)
fi

# Elsewhere than on Debian the packages have other names: only look for the
# programs, and let PostgreSQL's configure name a library that is missing.
if ! command -v dpkg-query >/dev/null; then
    missing=()
    for program in cc make bison flex perl pkg-config bzip2 xz; do
        command -v $program >/dev/null || missing+=("$program")
    done
    [ ${#missing[@]} = 0 ] && exit 0
    echo "calf needs these programs, please install them: ${missing[*]}" >&2
    exit 1
fi

# One dpkg-query for all; it fails for names it has never heard of, which then
# are missing from its answer.
installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null || :)
missing=()
for package in "${packages[@]}"; do
    grep -qx "installed $package" <<<"$installed" || missing+=("$package")
done
[ ${#missing[@]} = 0 ] && exit 0

if [ "$(id -u)" = 0 ]; then
    as_root=()
elif sudo -n true 2>/dev/null; then
    as_root=(sudo -n)
else
    echo "calf needs some packages; please type:" >&2
    echo "  sudo apt-get update && sudo apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
fi

echo "deps: installing ${missing[*]}"
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120)
log=$(mktemp)
cleanup=()
trap 'rm -f "$log"; "${cleanup[@]}"' EXIT
if [[ " ${missing[*]} " = *' postgresql-15 '* ]]; then # which would make a cluster and start it
    cluster=/etc/postgresql-common/createcluster.d/calf.conf
    "${as_root[@]}" mkdir -p "${cluster%/*}"
    echo 'create_main_cluster = false' | "${as_root[@]}" tee $cluster >/dev/null
    cleanup=("${as_root[@]}" rm -f $cluster)
fi
if ! { "${apt[@]}" update &&
       "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    echo "deps: apt-get could not install: ${missing[*]}" >&2
    exit 1
fi
