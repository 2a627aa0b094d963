#!/bin/bash
#
# run.sh [NAME...] - the tests of this directory, all when none is named
#
#   CALF_SERVE=tests/server/stock-serve.sh tests/clients/run.sh    proves the tests right first

set -u
here=$(cd "$(dirname "$0")" && pwd)
[ $# -gt 0 ] || set -- psql python node java settings replication strangers
exec "$here/../server/run.sh" "${@/#/../clients/}"
