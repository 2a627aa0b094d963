#!/bin/bash
#
# run.sh - what others get: the installed files, programs that are linked with them, the Debian package
#
# Everything is installed below $scratch; nothing of the machine is changed.
set -u

# shellcheck source=tests/server/lib.sh
. "$(dirname "$0")/../server/lib.sh"
cd "$repo" || exit 2
unset PREFIX LIBDIR DESTDIR
version=$(sed -n 's/^VERSION := //p' Makefile)
archive=build/obj$major/archive.tar.zst
stage=$scratch/stage
lib=$stage/usr/local/lib
export PKG_CONFIG_LIBDIR=$lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$stage

# same FILE FILE: shows how they differ
same() { diff -u "$1" "$2"; }

# what examples/hello.c prints
hello="hello from PostgreSQL $("$bin/postgres" --version | sed 's/^[^0-9]*//; s/ .*//')"
says_hello() { [ "$(timeout "$deadline" "$@")" = "$hello" ]; }

# ---- make install ------------------------------------------------------------------------------

files_of_calf() {
    cat <<END
bin/calf
include/calf.h
include/calf/libpq-events.h
include/calf/libpq-fe.h
include/calf/pg_config_ext.h
include/calf/postgres_ext.h
lib/cmake/calf/calfConfig.cmake
lib/cmake/calf/calfConfigVersion.cmake
lib/libcalf.a
lib/libcalf.so -> libcalf.so.0
lib/libcalf.so.0 -> libcalf.so.$version
lib/libcalf.so.$version
lib/pkgconfig/calf-static.pc
lib/pkgconfig/calf.pc
lib/systemd/system/calf.service
lib/systemd/system/calf.socket
share/bash-completion/completions/calf
share/doc/calf/CHANGELOG.md
share/doc/calf/README.md
share/doc/calf/copyright
share/doc/calf/limits.md
share/fish/vendor_completions.d/calf.fish
share/man/man1/calf.1
share/zsh/site-functions/_calf
END
}

install_it() {
    make -s install "DESTDIR=$stage"
    (cd "$stage/usr/local" && find . -type l -printf '%P -> %l\n' -o -type f -printf '%P\n' | LC_ALL=C sort) >"$scratch/found"
    files_of_calf | same - "$scratch/found"
}
check 'make install puts every file below DESTDIR and PREFIX' install_it

uninstall_it() {
    make -s install "DESTDIR=$scratch/other" PREFIX=/opt/calf LIBDIR=/opt/calf/lib64
    [ -e "$scratch/other/opt/calf/lib64/pkgconfig/calf.pc" ]
    touch "$scratch/other/opt/calf/lib64/mine"
    make -s uninstall "DESTDIR=$scratch/other" PREFIX=/opt/calf LIBDIR=/opt/calf/lib64
    [ "$(find "$scratch/other" ! -type d -printf '%P\n')" = opt/calf/lib64/mine ]
}
check 'make uninstall takes these away and nothing else' uninstall_it

# ---- what is in the libraries ------------------------------------------------------------------

# calf.h's as the compiler reads it; libpq's as PostgreSQL's source lists them
api() {
    gcc -std=gnu11 -fsyntax-only -aux-info "$scratch/prototypes" -x c include/calf.h
    { sed -n 's,^/\* include/calf\.h:.* \**\([A-Za-z_0-9]*\) (.*,\1,p' "$scratch/prototypes"
      sed -n 's/^\([A-Za-z_0-9]*\)[[:space:]].*/\1/p' "$source/src/interfaces/libpq/exports.txt"; } |
        LC_ALL=C sort
}

exports() {
    api >"$scratch/api"
    grep -q '^calf_open$' "$scratch/api" && grep -q '^PQexec$' "$scratch/api"
    nm -D --defined-only "$lib/libcalf.so" | awk '{ print $3 }' | LC_ALL=C sort | same "$scratch/api" -
    nm -g --defined-only "$lib/libcalf.a" | awk 'NF == 3 { print $3 }' | LC_ALL=C sort | same "$scratch/api" -
}
check "libcalf.so and libcalf.a export calf.h's functions and libpq's, and no other name" exports

size() {
    local bytes
    bytes=$(stat -L -c %s "$lib/libcalf.so")
    echo "$bytes" >"$scratch/size"
    [ "$bytes" -le 15000000 ]
}
check 'libcalf.so has at most 15 MB' size
say "  libcalf.so: $(cat "$scratch/size" 2>/dev/null) bytes"

unpack() {
    mkdir "$scratch/archive"
    tar --zstd -xpf "$archive" -C "$scratch/archive"
    rm "$scratch/archive/MANIFEST"
}
check 'tar unpacks the archive' unpack

# sums DIRECTORY: its files by name
sums() { (cd "$1" && find . -type f -exec sha256sum {} + | LC_ALL=C sort -k 2); }

# strip(1) is what the archive's programs went through
archive_is_what_was_built() {
    local name staged=$scratch/staged

    mkdir "$staged" "$staged/bin" "$staged/lib"
    for name in "$scratch"/archive/{bin,lib}/*; do
        name=${name#"$scratch/archive/"}
        strip --strip-unneeded -o "$staged/$name" "$pgsql/$name"
    done
    cp -r "$pgsql/share" "$staged"
    rm -rf "$staged/share/doc" "$staged/share/man"
    for name in "$pgsql"/lib/*.so; do # none is missing
        case ${name##*/} in libpq.so | libecpg*.so | libpgtypes.so) continue ;; esac
        [ -e "$scratch/archive/lib/${name##*/}" ]
    done
    sums "$staged" >"$scratch/want"
    mv "$scratch/archive/template" "$scratch/template"
    sums "$scratch/archive" | same "$scratch/want" -
    mv "$scratch/template" "$scratch/archive/template"
    [ "$(cat "$scratch/archive/template/PG_VERSION")" = "$major" ]
}
check 'the archive holds the programs, modules and share files that were built, byte for byte' archive_is_what_was_built

repack() {
    "build/obj$major/pack" "$scratch/archive" "$scratch/archive.tar.zst"
    cmp "$archive" "$scratch/archive.tar.zst"
}
check 'the unpacked archive, packed again, is the same file' repack

# "\<" would not do: what precedes is any byte
no_paths() {
    local where=$repo file

    for file in "$lib/libcalf.so" "$lib/libcalf.a" "$stage/usr/local/bin/calf"; do
        fails grep -aqF "$where" "$file"
        fails grep -q 'R.*PATH' <(readelf -d "$file" 2>/dev/null)
    done
    fails grep -raF "$where" "$stage/usr/local/lib/pkgconfig" "$stage/usr/local/lib/cmake" "$stage/usr/local/include"
    fails grep -raqF "$where" "$scratch/archive"
}
check 'nothing of it names the directory it was built in, or has an rpath' no_paths

# ---- programs ------------------------------------------------------------------------------------

# shellcheck disable=SC2046 # lists of options
compile() { gcc -std=gnu11 examples/hello.c -o "$1" $(pkg-config --cflags --libs "$2"); }

links_dynamically() {
    compile "$scratch/dynamic" calf
    readelf -d "$scratch/dynamic" | grep -q 'NEEDED.*\[libcalf\.so\.0\]'
    LD_LIBRARY_PATH=$lib says_hello "$scratch/dynamic"
}
check 'a program finds libcalf.so by pkg-config' links_dynamically

links_statically() {
    compile "$scratch/static" calf-static
    fails grep -q libcalf <(readelf -d "$scratch/static")
    says_hello "$scratch/static"
}
check 'a program finds libcalf.a by pkg-config and needs no libcalf.so' links_statically

# argv[0] is what the program's caller likes
static_name() { says_hello bash -c 'exec -a libcalf.so "$0"' "$scratch/static"; }
check 'a static program finds itself under any argv[0]' static_name

# Its libpq is its own, beside that of the host; it stays in memory, with what PostgreSQL's threads use.
plugin_carries_it() {
    # shellcheck disable=SC2046
    gcc -std=gnu11 -fPIC -shared -Dmain=hello examples/hello.c -o "$scratch/plugin.so" -Wl,-z,nodelete,-Bsymbolic \
        $(pkg-config --cflags --libs calf-static)
    cat >"$scratch/host.c" <<'END'
#include <dlfcn.h>
#include <libpq-fe.h>
int main(int argc, char **argv)
{
    int failed = argc != 2 || PQlibVersion() == 0;

    for (int i = 0; i < 2; i++) {
        void *plugin = dlopen(argv[1], RTLD_NOW);
        int (*hello)(int, char **) = (int (*)(int, char **))dlsym(plugin, "hello");
        failed |= hello(1, argv) | dlclose(plugin);
    }
    return failed;
}
END
    gcc "$scratch/host.c" -o "$scratch/host" -I"$pgsql/include" -L"$pgsql/lib" -lpq -Wl,-rpath,"$pgsql/lib"
    timeout "$deadline" "$scratch/host" "$scratch/plugin.so" | uniq -c | grep "^ *2 $hello\$"
}
check 'a plugin carries libcalf.a, in a host that has a libpq of its own' plugin_carries_it

# for build systems that choose the archive themselves
libs_private() {
    local libs
    libs=$(pkg-config --static --libs-only-l calf)
    # shellcheck disable=SC2046,SC2086
    gcc -std=gnu11 examples/hello.c -o "$scratch/private" $(pkg-config --cflags calf) "$lib/libcalf.a" ${libs/-lcalf/}
    says_hello "$scratch/private"
}
check "calf.pc's Libs.private are all that libcalf.a needs" libs_private

cmake_finds_it() {
    mkdir "$scratch/cmake"
    cp examples/hello.c "$scratch/cmake"
    cat >"$scratch/cmake/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.10)
project(hello C)
find_package(calf 0.1 REQUIRED)
find_package(calf REQUIRED)
foreach(kind calf static)
  add_executable(hello_${kind} hello.c)
  target_link_libraries(hello_${kind} PRIVATE calf::${kind})
endforeach()
END
    cmake -S "$scratch/cmake" -B "$scratch/cmake/build" "-DCMAKE_PREFIX_PATH=$stage/usr/local"
    cmake --build "$scratch/cmake/build"
    says_hello "$scratch/cmake/build/hello_calf"
    says_hello "$scratch/cmake/build/hello_static"
    readelf -d "$scratch/cmake/build/hello_calf" | grep -q 'NEEDED.*\[libcalf\.so\.0\]'
    fails grep -q libcalf <(readelf -d "$scratch/cmake/build/hello_static")
    sed -i 's/calf 0\.1 /calf 1.0 /' "$scratch/cmake/CMakeLists.txt"
    fails cmake -S "$scratch/cmake" -B "$scratch/cmake/newer" "-DCMAKE_PREFIX_PATH=$stage/usr/local"
}
check 'CMake finds both, and refuses a newer major version' cmake_finds_it

the_command() {
    local calf=$stage/usr/local/bin/calf
    "$calf" --version | grep -F "$version"
    [ "$(timeout "$deadline" "$calf" psql "$scratch/of_command" -XAtc 'select 6 * 7')" = 42 ]
}
check 'the installed command opens a database' the_command

man_and_units() {
    local share=$stage/usr/local/share units=$scratch/other/opt/calf/lib/systemd/system
    "$calf" help --man | cmp - "$share/man/man1/calf.1"
    cmp docs/calf.socket "$stage/usr/local/lib/systemd/system/calf.socket"
    grep -qx 'ExecStart=/usr/local/bin/calf serve .*' "$stage/usr/local/lib/systemd/system/calf.service"
    make -s install "DESTDIR=$scratch/other" PREFIX=/opt/calf
    grep -qx 'ExecStart=/opt/calf/bin/calf serve .*' "$units/calf.service"
}
check 'the manual page is that of the command, the units start the command that was installed' man_and_units

# As the shells find them by themselves; cli/help.sh says what is completed.
completions() {
    local share=$stage/usr/local/share
    # shellcheck disable=SC2016 # the shell's own
    bash --norc -c '. "$1"; complete -p calf' - "$share/bash-completion/completions/calf" | grep -qx 'complete -F _calf calf'
    # shellcheck disable=SC2016
    XDG_DATA_DIRS=$share HOME=$scratch PATH=$stage/usr/local/bin:$PATH fish -c 'complete -C "calf st"' | cut -f 1 | sort | xargs | grep -qx 'status stop'
    DEADLINE=$deadline python3 tests/cli/terminal.py "type PS1='>''> '; fpath=($share/zsh/site-functions \$fpath)\\n
wait >>
type autoload -U compinit; compinit -u -D\\n
wait >>
type calf sta\\t
wait calf status
kill" env PATH="$stage/usr/local/bin:$PATH" zsh -f -i
}
check 'bash, fish and zsh load the completions that were installed' completions

# ---- writing nowhere else --------------------------------------------------------------------------

# changes TRACE: the calls that could make, change or remove a file.  A call that waited has two
# lines; the first has its arguments.
changes() {
    grep -E '^[0-9]+ +((open|openat|openat2|creat)\(.*O_(WRONLY|RDWR|CREAT|TRUNC|TMPFILE)|(mkdir|mknod|unlink|rmdir|rename|link|symlink|chmod|fchmodat|chown|lchown|fchownat|truncate|utim|futimesat|setxattr|lsetxattr|bind)[a-z0-9]*\()' "$1"
}

writes_nowhere_else() {
    local dir=$scratch/only trace=$scratch/trace round
    for round in made opened; do
        strace -f -yy -qq -s 4096 -e trace=%file,bind -o "$trace" "$scratch/static" "$dir"
        changes "$trace" >"$scratch/changes"
        [ "$(grep -cE "[<\"]$dir[/>\"]" "$scratch/changes")" -gt 20 ] # it is seen at all
        # by its name, or relative to a descriptor (-yy shows its path) without leading out
        echo "not in the directory that was $round:"
        fails grep -vE "[<\"]$dir[/>\"]" "$scratch/changes"
        fails grep -F '"../' "$scratch/changes"
    done
}
if strace -o /dev/null true 2>/dev/null; then
    check 'nothing outside of the data directory is written when it is made, opened and closed' writes_nowhere_else
else
    skip 'nothing outside of the data directory is written' 'strace is not allowed here'
fi

# ---- the Debian package ----------------------------------------------------------------------------

deb_of() { echo "$repo/build/${1}_${version}_$(dpkg --print-architecture).deb"; }
deb=$(deb_of calf)

make_deb() {
    local package
    make -s deb
    mkdir "$scratch/debs"
    for package in calf libcalf-dev; do
        dpkg-deb -x "$(deb_of $package)" "$scratch/debs"
        (cd "$scratch/debs" && dpkg-deb --ctrl-tarfile "$(deb_of $package)" | tar -xO ./md5sums | md5sum --quiet -c)
    done
    # libraries and a few others have places of Debian's own
    { files_of_calf | sed "/systemd/!s,^lib,&/$(gcc -print-multiarch),; s,calf\.1$,&.gz,; s,site-functions,vendor-completions,"
      echo share/doc/libcalf-dev/copyright; } | LC_ALL=C sort >"$scratch/want"
    (cd "$scratch/debs/usr" && find . -type l -printf '%P -> %l\n' -o -type f -printf '%P\n' | LC_ALL=C sort) |
        same "$scratch/want" -
    zcat "$scratch/debs/usr/share/man/man1/calf.1.gz" | cmp - "$stage/usr/local/share/man/man1/calf.1"
    grep -qx 'ExecStart=/usr/bin/calf serve .*' "$scratch/debs/usr/lib/systemd/system/calf.service"
}
check 'make deb packs the same files' make_deb

# The package, the libraries of what it depends on, and of what these depend on, into the root; and of
# what every Debian has (libc-bin) the locale.
add_depends() {
    local packages package file i
    mkdir -p "$scratch/root/usr/lib64" "$scratch/root/usr/lib"
    ln -s usr/lib64 usr/lib "$scratch/root"
    dpkg-deb -x "$deb" "$scratch/root"
    mapfile -t packages < <(names_of "$(dpkg-deb -f "$deb" Depends)")
    for ((i = 0; i < ${#packages[@]}; i++)); do # grows on the way
        package=${packages[i]}
        dpkg-query -L "$package" | grep -E '^(/usr)?/lib(64|/[^/]*)?/[^/]*\.so[^/]*$' >"$scratch/files" || continue
        while read -r file; do cp -P "$file" "$scratch/root$file"; done <"$scratch/files"
        for package in $(names_of "$(dpkg-query -W -f '${Pre-Depends}, ${Depends}' "$package")"); do
            case " ${packages[*]} " in *" $package "*) ;; *) packages+=("$package") ;; esac
        done
    done
    mkdir -p "$scratch"/root/{proc,dev,tmp,data} "$scratch/root/usr/lib/locale"
    cp -r /usr/lib/locale/C.utf8 "$scratch/root/usr/lib/locale"
}
names_of() { tr ',' '\n' <<<"$1" | sed 's/|.*//; s/(.*//; s/:any//; s/ //g; /^$/d'; }

# in_root COMMAND...: in that root, with nothing but the kernel's own file systems besides
in_root() {
    timeout "$deadline" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "${unshare[@]}" sh -ec '
        mount --rbind /proc "$0/proc"
        mount --rbind /dev "$0/dev"
        exec chroot "$0" "$@"' "$scratch/root" "$@"
}

# Each line is of a library that nothing but its image names.
clean_root() {
    add_depends
    cat >"$scratch/root/all.sql" <<'END'
create extension vector;
select '[3,1,2]'::vector <-> '[3,4,6]';
create extension xml2;
select xslt_process('<a/>', '<x:stylesheet version="1.0" xmlns:x="http://www.w3.org/1999/XSL/Transform"><x:template match="/"><b/></x:template></x:stylesheet>') ~ '<b/>';
create extension "uuid-ossp";
select length(uuid_generate_v1()::text);
create extension pgcrypto;
select length(crypt('a', gen_salt('bf')));
create collation de (provider = icu, locale = 'de-AT');
select string_agg(x, '' order by x collate de) from (values ('b'), ('ä'), ('a')) v (x);
create table t (x text compression lz4);
insert into t select repeat('lz4', 100000);
select length(x), pg_column_compression(x) from t;
END
    cat >"$scratch/want" <<'END'
5
t
36
60
aäb
300000|lz4
END
    in_root calf psql /data/db -XAtq -v ON_ERROR_STOP=1 -f /all.sql | same "$scratch/want" -
    [ -s "$scratch/root/data/db/PG_VERSION" ]
    for program in dynamic static; do
        cp "$scratch/$program" "$scratch/root/usr/bin"
        [ "$(in_root "$program" "/data/$program")" = "$hello" ]
    done
    fails in_root sh -c : # there is no more than we put there
}
unshare=()
for way in 'unshare -m' 'unshare -rm'; do
    [ ${#unshare[@]} != 0 ] || ! $way sh -c 'mount --rbind /proc /proc && chroot / true' 2>/dev/null ||
        read -ra unshare <<<"$way"
done
if [ ${#unshare[@]} = 0 ]; then
    skip 'the package in a clean root' 'a root of its own is not allowed here'
else
    check 'in a clean root the package needs nothing but its Depends' clean_root
fi

finish
