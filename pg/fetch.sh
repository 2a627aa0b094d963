#!/bin/bash
#
# fetch.sh - PostgreSQL's source, or pgvector's, unmodified
#
#   pg/fetch.sh MAJOR              into build/pgMAJOR/src
#   pg/fetch.sh MAJOR pgvector     into build/pgMAJOR/pgvector/src
#
# PG_SOURCE and PGVECTOR_SOURCE name an archive (.tar.*) or a clean source tree instead.
#
# The rule that matters: what is built is upstream's archive and nothing else.
# It comes out of Debian's source package, whose signatures are checked, but only
# the .orig archive is unpacked, never Debian's patches.
#
# apt is given a configuration of its own in build/, so that the machine's
# package sources, lists and caches stay as they are; only the address of the
# Debian mirror (and the key that signs it, when one is named) is taken from
# them.  Proxies and the like are honoured.
#
# The file `source` beside src says in its first line what was asked for and in its
# second what came.  As long as the same is asked for, nothing is fetched again:
# to take a new minor release, remove that file.

set -eu

major=${1:?usage: fetch.sh MAJOR [pgvector]}
what=${2:-postgresql}
repo=$(cd "$(dirname "$0")/.." && pwd)
top=$repo/build/pg$major
case $what in
    postgresql) name=pg$major title=PostgreSQL package=postgresql-$major override=PG_SOURCE ;;
    pgvector)   name=pgvector title=pgvector package=pgvector override=PGVECTOR_SOURCE top=$top/pgvector ;;
    *)          echo "fetch.sh: what is fetched is pgvector or nothing, not $what" >&2; exit 1 ;;
esac
given=${!override-}
log=$top/fetch.log

die() {
    echo "$name: $*" >&2
    exit 1
}

# Debian's suite that carries it.  trixie's pgvector is for every PostgreSQL that was there before it.
suite_of() {
    case $1 in
        "postgresql 15") echo bookworm ;;
        "postgresql 17" | "pgvector 15" | "pgvector 17") echo trixie ;;
        "postgresql 18" | "pgvector 18") echo sid ;;
        *) die "no Debian suite is known for $title with PostgreSQL $major;" \
               "set $override to its archive or source tree" ;;
    esac
}

# A source entry for apt (deb822 format) for SUITE, from the first Debian entry
# with "main" among the machine's own, which may be written in either of apt's two
# formats.  Entries of other vendors have other suites, or come after Debian's own files.
source_entry() {
    local files=() f codename
    for f in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources \
             /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
        [ -r "$f" ] && files+=("$f")
    done
    [ ${#files[@]} = 0 ] && return 1
    codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    awk -v want="$1" -v codename="$codename" '
        function has(list, word,    n, w) {
            n = split(list, w)
            while (n > 0) if (w[n--] == word) return 1
            return 0
        }
        function debian(suites,    n, s) {
            n = split(suites, s)
            while (n > 0)
                if (has("stable testing unstable sid bookworm trixie forky " codename, s[n--])) return 1
            return 0
        }
        function consider(types, uris, suites, components, key) {
            if (found || !has(types, "deb") || !has(components, "main")) return
            if (!debian(suites) || uris ~ /security/) return
            found = 1
            print "Types: deb-src\nURIs: " uris "\nSuites: " want "\nComponents: main"
            if (key != "") print "Signed-By: " key
        }
        function end_paragraph() {
            if (tolower(f["enabled"]) != "no")
                consider(f["types"], f["uris"], f["suites"], f["components"], f["signed-by"])
            split("", f)
        }
        FNR == 1 { end_paragraph() }

        # deb822: "Field: value" lines in paragraphs
        FILENAME ~ /\.sources$/ {
            if (/^#/) next
            if (/^[ \t]*$/) { end_paragraph(); next }
            if (/^[ \t]/) { f[name] = f[name] "\n" $0; next }
            name = tolower(substr($0, 1, index($0, ":") - 1))
            value = substr($0, index($0, ":") + 1)
            sub(/^[ \t]+/, "", value)
            f[name] = value
            next
        }

        # one line: deb [option=value ...] uri suite component...
        {
            sub(/#.*/, "")
            key = ""
            if (match($0, /\[[^]]*\]/)) {
                n = split(substr($0, RSTART + 1, RLENGTH - 2), option)
                for (i = 1; i <= n; i++) if (sub(/^signed-by=/, "", option[i])) key = option[i]
                sub(/\[[^]]*\]/, "")
                gsub(/,/, " ", key)
            }
            if (NF < 4) next
            rest = ""
            for (i = 4; i <= NF; i++) rest = rest " " $i
            consider($1, $2, $3, rest, key)
        }
        END { end_paragraph(); exit !found }
    ' "${files[@]}"
}

# A mirror's list can be ahead of its files.  Then the minor releases before it: nothing signed lists
# them any more, so the signature of the maintainer in the .dsc is what counts.
download_older() {
    local apt=$1 uri directory version upstream series minor revision dsc older

    uri=$(sed -n 's/^URIs: *\([^ ]*\).*/\1/p' "$apt/sources.d/calf.sources")
    read -r directory version < <(apt-cache -c "$apt/apt.conf" showsrc "$package" 2>>"$log" |
        awk '/^Version:/ { v = $2 } /^Directory:/ { print $2, v; exit }')
    [[ ${version-} =~ ^[0-9.]+\.[0-9]+-[^-]+$ ]] || return 1
    revision=${version#*-}
    upstream=${version%-*}
    series=${upstream%.*}
    minor=${upstream##*.}
    "$repo/pg/deps.sh" gpgv debian-keyring || return 1
    rm -f "${package}_$version".dsc # of what came only in part
    for older in $((minor - 1)) $((minor - 2)) $((minor - 3)); do
        [ "$older" -ge 0 ] || break
        dsc=${package}_$series.$older-$revision.dsc
        /usr/lib/apt/apt-helper -c "$apt/apt.conf" download-file "$uri/$directory/$dsc" "$dsc" >>"$log" 2>&1 ||
            continue
        gpgv --keyring /usr/share/keyrings/debian-keyring.gpg "$dsc" >>"$log" 2>&1 ||
            { rm -f "$dsc"; continue; }
        archive=$(awk '$3 ~ /\.orig\.tar\.[a-z0-9]+$/ { print $3; exit }' "$dsc")
        /usr/lib/apt/apt-helper -c "$apt/apt.conf" download-file "$uri/$directory/$archive" "$archive" \
            >>"$log" 2>&1 || { rm -f "$dsc"; continue; }
        echo "$name: the mirror lists $upstream but does not have it; taking $series.$older;" \
            "to ask for $upstream again later, remove ${top#"$repo"/}/source"
        return 0
    done
    return 1
}

# Download the source package of SUITE into `download` beside src; set `archive`.
download() {
    local suite=$1 apt=$top/apt dsc

    rm -rf "$apt"
    mkdir -p "$apt/sources.d" "$apt/lists/partial" "$apt/cache/archives/partial" "$top/download"
    source_entry "$suite" >"$apt/sources.d/calf.sources" ||
        die "no Debian mirror found in /etc/apt; set $override to $title's archive or source tree"
    : >"$apt/status"

    # Given with -c, this is read after the machine's own configuration.  The
    # machine's hooks are for its own lists and caches; the user _apt cannot
    # write into this directory.  The empty status file hides installed packages,
    # whose versions would otherwise choose the version of the source.
    cat >"$apt/apt.conf" <<EOF
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$apt/sources.d";
Dir::State "$apt";
Dir::State::lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
APT::Sandbox::User "root";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::Languages "none";
Acquire::Retries "3";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
EOF
    cd "$top/download"
    if ! { apt-get -q -c "$apt/apt.conf" update &&
           apt-get -q -c "$apt/apt.conf" source --download-only "$package"; } >"$log" 2>&1 &&
        ! download_older "$apt"; then
        tail -n 20 "$log" >&2
        die "could not fetch $title's source (details in $log); to go without the network," \
            "set $override to its archive or source tree"
    fi
    rm -rf "$apt"

    # The .dsc has been checked, by apt against the signed list or by its own signature; the
    # archive has to agree.  The newest, when an older one was left here.
    dsc=$(printf '%s\n' "${package}"_*.dsc | sort -V | tail -n 1)
    sum=$(awk '/^[^ ]/ { on = $1 == "Checksums-Sha256:" }
               on && $3 ~ /\.orig\.tar\.[a-z0-9]+$/ { print $1 "  " $3 }' "$dsc")
    if [ -z "$sum" ] || ! sha256sum --status -c <<<"$sum"; then
        die "the archive does not match $dsc"
    fi
    archive=$PWD/${sum#*  }
    came="${archive##*/} sha256 ${sum%% *}"
}

# A source tree must be of what was asked for, of the major version too.
check_version() {
    local version

    if [ "$what" = pgvector ]; then
        grep -qs '^default_version' "$1/vector.control" || die "$2 is not pgvector's source"
        return
    fi
    version=$(sed -n "s/^PACKAGE_VERSION='\(.*\)'/\1/p" "$1/configure" 2>/dev/null) || :
    [ -n "$version" ] || die "$2 is not PostgreSQL's source"
    case $version in
        "$major" | "$major".* | "$major"[a-z]*) ;;
        *) die "$2 is PostgreSQL $version, not $major" ;;
    esac
}

mkdir -p "$top"
exec 8>"$top/fetch.lock" # the two flavours of a build share one source
flock 8

if [ -z "$given" ]; then
    asked="debian $(suite_of "$what $major")"
elif [ -d "$given" ]; then
    dir=$(realpath "$given")
    # Never write into somebody's tree; and a tree configured in place cannot
    # serve a build elsewhere, its headers would be found first.
    check_version "$dir" "$override ($dir)"
    for f in config.status GNUmakefile src/Makefile.global src/include/pg_config.h; do
        [ ! -e "$dir/$f" ] ||
            die "$override ($dir) has been configured in place; run 'make distclean' there or give a fresh copy"
    done
    asked="dir $dir $(find "$dir" -name .git -prune -o -type f -printf '%P %s %T@\n' |
                      sort | sha256sum | cut -c 1-64)"
elif [ -f "$given" ]; then
    asked="archive $(sha256sum <"$given" | cut -c 1-64)"
else
    die "$override ($given) does not exist"
fi

if [ -e "$top/src" ] && [ "$(sed -n 1p "$top/source" 2>/dev/null)" = "$asked" ]; then
    exit 0
fi

start=$SECONDS
case $asked in
    dir*)
        came=$dir
        ;;
    archive*)
        archive=$(realpath "$given")
        came=$archive
        ;;
    debian*)
        echo "$name: fetch the source from Debian (details in ${log#"$repo"/})"
        download "${asked#debian }"
        ;;
esac

rm -rf "$top/src.part"
if [ -n "${archive-}" ]; then
    mkdir "$top/src.part"
    tar -xf "$archive" -C "$top/src.part" --strip-components=1 --no-same-owner ||
        die "cannot unpack $archive"
    check_version "$top/src.part" "$archive"
else
    ln -s "$dir" "$top/src.part"
fi
rm -rf "$top/source" "$top/src"
mv -T "$top/src.part" "$top/src"
printf '%s\n%s\n' "$asked" "$came" >"$top/source"
echo "$name: source is $came, $((SECONDS - start)) s"
