# shellcheck shell=bash disable=SC2034 # sourced by the scripts that need it
#
# built.sh - where make puts what it builds for $PG_MAJOR
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
major=${PG_MAJOR:-17}
pgsql=$repo/build/pg$major/pgsql
if [ "$major" = 17 ]; then
    calf=$repo/build/calf lib=$repo/build programs=$repo/build
else
    calf=$repo/build/calf$major lib=$repo/build/obj$major programs=$repo/build/programs$major
fi
calf=${CALF:-$calf}
