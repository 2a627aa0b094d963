#!/bin/bash
#
# run.sh [NAME...] - the tests of the calf command, all when none is named

here=$(cd "$(dirname "$0")" && pwd)
[ $# -gt 0 ] || set -- serve postgres doctor help stack dump debian backup upgrade regression
exec "$here/../server/run.sh" "${@/#/../cli/}"
