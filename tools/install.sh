#!/bin/bash
#
# install.sh install|uninstall - what `make install` puts below $DESTDIR, and takes away again
#
# From the Makefile come PREFIX, LIBDIR, VERSION and SONAME, the results (LIB, STATIC, CALF) and the directory
# PostgreSQL was built in (PG).
#
# The rule that matters: both walk through one list of files, at the end.  What is installed is
# stripped and names no directory of this machine except PREFIX and LIBDIR.
#
# libpq's headers go to include/calf, where those of an installed libpq are not in their way.  The
# manual page and the shells' completions are what the command prints.

set -euo pipefail
umask 022

action=${1:?usage: install.sh install|uninstall}
root=${DESTDIR-}
include=$PREFIX/include
doc=$PREFIX/share/doc/calf
private=(ssl crypto zstd m dl pthread) # what libcalf.a needs
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT

for dir in "$PREFIX" "$LIBDIR"; do
    case $dir in
        *[[:space:]]*) echo "PREFIX and LIBDIR must be without spaces: $dir" >&2; exit 1 ;;
        /*) ;;
        *) echo "PREFIX and LIBDIR must be absolute: $dir" >&2; exit 1 ;;
    esac
done

pkg_config() { # pkg_config NAME LINE...
    cat <<END
prefix=$PREFIX
libdir=$LIBDIR
includedir=$include

Name: $1
Description: PostgreSQL inside your process, with libpq's API
Version: $VERSION
Cflags: -I\${includedir} -I\${includedir}/calf
END
    printf '%s\n' "${@:2}"
}

# From where it is itself, so that the tree may move.
cmake_config() {
    cat <<END
# calf::calf is libcalf.so, calf::static libcalf.a
get_filename_component(_calf_lib "\${CMAKE_CURRENT_LIST_DIR}/../.." REALPATH)
get_filename_component(_calf_include "\${_calf_lib}/$(realpath -m --relative-to="$LIBDIR" "$include")" ABSOLUTE)
if(NOT TARGET calf::calf)
  add_library(calf::calf SHARED IMPORTED)
  set_target_properties(calf::calf PROPERTIES
    IMPORTED_LOCATION "\${_calf_lib}/libcalf.so.$VERSION"
    IMPORTED_SONAME "$SONAME"
    INTERFACE_INCLUDE_DIRECTORIES "\${_calf_include};\${_calf_include}/calf")
  add_library(calf::static STATIC IMPORTED)
  set_target_properties(calf::static PROPERTIES
    IMPORTED_LOCATION "\${_calf_lib}/libcalf.a"
    INTERFACE_INCLUDE_DIRECTORIES "\${_calf_include};\${_calf_include}/calf"
    INTERFACE_LINK_LIBRARIES "$(IFS=';'; echo "${private[*]}")")
endif()
END
}

# As long as the soname is the same, what was built for an older version works.
cmake_version() {
    cat <<END
set(PACKAGE_VERSION "$VERSION")
if(PACKAGE_FIND_VERSION VERSION_GREATER PACKAGE_VERSION OR NOT PACKAGE_FIND_VERSION_MAJOR EQUAL ${VERSION%%.*})
  set(PACKAGE_VERSION_COMPATIBLE FALSE)
else()
  set(PACKAGE_VERSION_COMPATIBLE TRUE)
  if(PACKAGE_FIND_VERSION VERSION_EQUAL PACKAGE_VERSION)
    set(PACKAGE_VERSION_EXACT TRUE)
  endif()
endif()
END
}

# Whose work libcalf holds.
copyright() {
    printf 'calf\n\n'
    cat LICENSE
    printf '\n\nPostgreSQL, inside libcalf\n\n'
    cat "$PG/src/COPYRIGHT"
    printf '\n\npgvector, inside libcalf\n\n'
    cat "$PG/pgvector/src/LICENSE"
}

case $action in
    install)
        strip -o "$made/calf" "$CALF"
        strip --strip-unneeded -o "$made/libcalf.so" "$LIB"
        strip --strip-debug -o "$made/libcalf.a" "$STATIC"
        pkg_config calf 'Libs: -L${libdir} -lcalf' "Libs.private: ${private[*]/#/-l}" >"$made/calf.pc"
        pkg_config calf-static "Libs: -L\${libdir} -l:libcalf.a ${private[*]/#/-l}" >"$made/calf-static.pc"
        cmake_config >"$made/calfConfig.cmake"
        cmake_version >"$made/calfConfigVersion.cmake"
        copyright >"$made/copyright"
        "$CALF" help --man >"$made/calf.1"
        for shell in bash zsh fish; do "$CALF" completion $shell >"$made/$shell"; done
        sed "s,/usr/local/bin/,$PREFIX/bin/," docs/calf.service >"$made/calf.service"
        put() { install -D -m "$1" "$2" "$root$3"; }
        link() { ln -sfn "$1" "$root$2"; }
        ;;
    uninstall)
        put() { rm -f "$root$3"; }
        link() { rm -f "$root$2"; }
        ;;
esac

put 755 "$made/calf" "$PREFIX/bin/calf"
put 644 include/calf.h "$include/calf.h"
for header in libpq-fe.h libpq-events.h postgres_ext.h pg_config_ext.h; do
    put 644 "$PG/pgsql/include/$header" "$include/calf/$header"
done
put 644 "$made/libcalf.so" "$LIBDIR/libcalf.so.$VERSION"
link "libcalf.so.$VERSION" "$LIBDIR/$SONAME"
link "$SONAME" "$LIBDIR/libcalf.so"
put 644 "$made/libcalf.a" "$LIBDIR/libcalf.a"
for name in calf calf-static; do
    put 644 "$made/$name.pc" "$LIBDIR/pkgconfig/$name.pc"
done
for name in calfConfig calfConfigVersion; do
    put 644 "$made/$name.cmake" "$LIBDIR/cmake/calf/$name.cmake"
done
put 644 "$made/calf.1" "$PREFIX/share/man/man1/calf.1"
put 644 "$made/bash" "$PREFIX/share/bash-completion/completions/calf"
put 644 "$made/zsh" "$PREFIX/share/zsh/site-functions/_calf"
put 644 "$made/fish" "$PREFIX/share/fish/vendor_completions.d/calf.fish"
for file in "$made/calf.service" docs/calf.socket; do
    put 644 "$file" "$PREFIX/lib/systemd/system/${file##*/}"
done
for file in README.md CHANGELOG.md docs/limits.md "$made/copyright"; do
    put 644 "$file" "$doc/${file##*/}"
done

[ "$action" = install ] || # what others have put there stays
    rmdir "$root$include/calf" "$root$LIBDIR/cmake/calf" "$root$doc" 2>/dev/null || :
# so that programs find it
[ -n "$root" ] || [ "$(id -u)" != 0 ] || ldconfig
