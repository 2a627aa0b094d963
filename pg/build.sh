#!/bin/bash
#
# build.sh - PostgreSQL from its unmodified source: programs, contrib, test tools
#
#   pg/build.sh MAJOR [image|stock]
#
#   image  what calf loads: position-independent programs, upstream's EXEC_BACKEND
#          mode, and calf_pg.h in front of every file   -> build/pgMAJOR/pgsql
#   stock  the same source and switches built the normal way, to compare with
#                                                       -> build/pgMAJOR-stock/pgsql
#
# The images' postgres is compiled twice: the first one only counts what train.sh lets it do,
# the second one is arranged by that.  Processors predict less well inside calf
# (docs/architecture.md), and this takes away more than that costs.
#
# The rule that matters: the result depends on this file, the others in pg/ that it names, the
# source and the two arguments, and on nothing else in calf.  A hash of these is
# written last, to build/pgMAJOR*/built; while it matches, there is nothing
# to do.  An interrupted build goes on where it was.
#
# The trees:  pgsql/{bin,lib,share,include}  installed; PostgreSQL finds lib and share
#                                            from where bin is, so the tree may move
#             objects/src/test/regress       pg_regress, regress.so, refint.so, autoinc.so
#             objects/src/test/isolation     pg_isolation_regress, isolationtester
# sql/ and expected/ of every suite stay in build/pgMAJOR/src: pass --inputdir.
#
# The path of the repository must be without spaces: PostgreSQL's makefiles do not quote.

set -eu

major=${1:?usage: build.sh MAJOR [image|stock]}
flavour=${2:-image}
repo=$(cd "$(dirname "$0")/.." && pwd)
here=$repo/pg
src=$repo/build/pg$major/src

case $repo in
    *[[:space:]]*) echo "calf cannot be built below a path with spaces: $repo" >&2; exit 1 ;;
esac
case $flavour in
    image) name=pg$major ;;
    stock) name=pg$major-stock ;;
    *)     echo "build.sh: the flavour is image or stock, not $flavour" >&2; exit 1 ;;
esac
top=$repo/build/$name
objects=$top/objects
log=$top/build.log
shown=${log#"$repo"/}

# Somebody else's settings are not part of the key, so they must not reach the
# build; among them those of a make that called this.
unset MAKEFLAGS GNUMAKEFLAGS MFLAGS MAKELEVEL CC CFLAGS CPPFLAGS LDFLAGS LIBS COPT PROFILE CPATH DESTDIR
export LC_ALL=C

switches=(
    --prefix=/pgsql --disable-rpath --enable-debug
    --with-icu --with-openssl --with-lz4 --with-zstd --with-libxml --with-libxslt
    --with-uuid=e2fs --with-readline
)
# Debug information is most of every file, so it is compressed.
copt=-gz
inputs=("$repo/build/pg$major/source" "$here/build.sh")
if [ "$flavour" = image ]; then
    # -pie in LDFLAGS would break the modules.
    switches+=(CPPFLAGS=-DEXEC_BACKEND LDFLAGS_EX=-pie)
    # Found through CPATH, because pg_config tells the options to everyone.
    copt="$copt -include calf_pg.h"
    export CPATH=$here
    inputs+=("$here/calf_pg.h" "$here/train.sh" "$here/train.sql")
fi

fail() {
    printf 'failed\n'
    tail -n 20 "$log" >&2
    echo "$name: $1 failed, the last lines of $shown are above;" \
         "to begin afresh: rm -r ${objects#"$repo"/}" >&2
    exit 1
}

# step NAME COMMAND...: one line on stdout, with the seconds it took; everything
# else goes to the log.  On a terminal the line counts while it lasts.
step() {
    local what=$1 title="$name: $1 (details in $shown) ..." start=$SECONDS ticker=''

    shift
    printf '\n==== %s\n' "$*" >>"$log"
    printf '%s ' "$title"
    if [ -t 1 ]; then
        while sleep 1; do
            printf '\r%s %d files, %d s' "$title" "$(grep -c ' -c -o ' "$log")" $((SECONDS - start))
        done &
        ticker=$!
        # shellcheck disable=SC2064 # its number now, not at exit
        trap "kill $ticker" EXIT
    fi
    "$@" >>"$log" 2>&1 </dev/null || fail "$what"
    if [ -t 1 ]; then
        trap - EXIT
        kill $ticker
        wait $ticker 2>/dev/null || :
        printf '\r%s \033[K' "$title"
    fi
    printf '%d s\n' $((SECONDS - start))
}

configure() {
    rm -rf "$objects" && mkdir "$objects" && cd "$objects" &&
        "$(realpath "$src")/configure" "${switches[@]}"
}

build() {
    make -C "$objects" -j"$(nproc)" COPT="$copt" "$@"
}

# The server before the rest, which then finds it made; its libraries before it, because clients have
# objects of the same directories.
build_to_count() {
    build -C src/backend generated-headers && build -C src/port && build -C src/common && build -C src/timezone &&
        build -C src/backend COPT="$copt -fprofile-generate" && build world-bin
}

# Leaves the profile beside the objects of the server, and no such objects.
train() {
    install_tree && { "$here/train.sh" "$top/pgsql" "$objects" || echo "$name: no profile"; } &&
        rm -rf "$top/pgsql" "$objects/src/backend/postgres" &&
        find "$objects/src/backend" -name objfiles.txt -exec cat {} + | tr ' ' '\n' |
        sed -n "s,^src/backend/.*\.o$,$objects/&,p" | xargs rm -f &&
        find "$objects/src/backend" -name objfiles.txt -delete # else the objects are not missed
}

build_test_tools() {
    build -C src/test/regress && build -C src/test/isolation
}

install_tree() {
    rm -rf "$top/part" && build install-world-bin DESTDIR="$top/part" &&
        rm -rf "$top/pgsql" && mv "$top/part/pgsql" "$top/pgsql" && rmdir "$top/part"
}

mkdir -p "$top"
exec 9>"$top/lock"
flock -n 9 || { echo "$name: waiting for another build to end"; flock 9; }

"$here/fetch.sh" "$major"
key=$({ echo "$major $flavour"; cat "${inputs[@]}"; } | sha256sum | cut -c 1-64)
if [ "$(cat "$top/built" 2>/dev/null)" = "$key" ] && [ -x "$top/pgsql/bin/postgres" ]; then
    exit 0
fi
rm -f "$top/built"

if [ "$(cat "$objects/configured" 2>/dev/null)" != "$key" ]; then
    : >"$log"
    step configure configure
    echo "$key" >"$objects/configured"
fi
if [ "$flavour" = image ]; then
    if [ ! -e "$objects/trained" ]; then
        step 'compile to count' build_to_count
        step train train
        touch "$objects/trained"
    fi
    [ -e "$objects/src/backend/main/main.gcda" ] ||
        echo "$name: the training failed, see $shown; the server will be slower with many clients" >&2
    # What the training did not reach is compiled as ever.
    copt="$copt -fprofile-use -fprofile-partial-training -fprofile-correction -Wno-missing-profile"
fi
step compile build world-bin
step install install_tree
step 'test tools' build_test_tools
echo "$key" >"$top/built"
