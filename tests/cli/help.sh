#!/bin/bash
#
# help.sh - the help, the man page, the shells' completions, `calf extensions`

set -u
# shellcheck source=tests/server/lib.sh
. "$(dirname "$0")/../server/lib.sh"
unset CALF_DATA CALF_EXTENSION_PATH
terminal=$repo/tests/cli/terminal.py
programs=$(ls "$bin" | grep -vx postmaster | sort) # 15's other name of postgres
commands=$("$calf" help | awk '$1 == "calf" { print $2 }')
mkdir -p "$scratch/bin" && ln -s "$calf" "$scratch/bin/calf"
PATH=$scratch/bin:$PATH

# ---- help -----------------------------------------------------------------------------

every_command() {
    local c
    [ "$(wc -w <<<"$commands")" -ge 10 ]
    for c in $commands; do
        calf "$c" --help >"$scratch/out"
        head -n 1 "$scratch/out" | grep -q "^usage: calf $c "
        calf help "$c" | cmp - "$scratch/out"
        fails grep -n '.\{101\}' "$scratch/out"
    done
    fails calf help dance
}
check 'every command has a help, the same both ways' every_command

one_line() { # CODE WORDS COMMAND...
    local want=$1 words=$2 rc=0
    shift 2
    "$@" >"$scratch/out" 2>"$scratch/err" || rc=$?
    cat "$scratch/out" "$scratch/err"
    [ $rc = "$want" ] && [ ! -s "$scratch/out" ] && [ "$(wc -l <"$scratch/err")" = 1 ]
    grep -qF -- "$words" "$scratch/err"
}
usage() {
    local c
    for c in $commands; do
        case $c in psql | run | postgres) continue ;; esac
        one_line 2 --dance calf "$c" --dance
        one_line 2 'unexpected argument x' calf "$c" a x x
    done
    one_line 2 'say which' calf run
    one_line 1 'calf run --help' calf run dance
    for c in $programs; do calf run --help | grep -qE "(: | |^)$c(,|$)" || { echo "no $c"; return 1; }; done
    one_line 2 'no completion for tcsh' calf completion tcsh
    one_line 2 'which shell' calf completion
    one_line 2 'no command dance' calf help dance
    one_line 2 '--mode is smart, fast or immediate' calf stop . --mode slow
    one_line 2 'number of seconds' calf stop . --timeout soon
}
check 'usage errors exit 2, in one line' usage

# ---- man ------------------------------------------------------------------------------

man_page() {
    local c page
    calf help --man >"$scratch/calf.1"
    [ "$major" != 17 ] || cmp "$scratch/calf.1" "$repo/build/calf.1"
    groff -man -ww -Tutf8 "$scratch/calf.1" >"$scratch/page" 2>"$scratch/err"
    cat "$scratch/err"
    [ ! -s "$scratch/err" ]
    page=$(sed 's/\x1b\[[0-9;]*m//g; s/[‐−]/-/g; s/.\x08//g' "$scratch/page")
    for c in $commands; do
        grep -q "^ *calf $c " <<<"$page"
        calf "$c" --help | grep -o -- '--[a-z-]*' | sort -u | while read -r option; do
            [ "$option" = --help ] || grep -qF -- "$option" <<<"$page" || { echo "no $option"; exit 1; }
        done
    done
    grep -q "psql \"\$(calf url ./demo)\"" <<<"$page" # an example as it is typed
    calf help --man | grep -q -- '\\-\\-config'
}
check 'the man page has no warnings and every option' man_page

# ---- completions ------------------------------------------------------------------------

mkdir -p "$scratch/work/a dir" "$scratch/work/demo" && touch "$scratch/work/letter"

# Each gives the words for a command line, one a line.
in_bash() {
    bash -c 'cd "$1" && source <(calf completion bash) && COMP_LINE=$2 && read -ra COMP_WORDS <<<"$2"
        [[ $2 == *" " ]] && COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _calf; printf "%s\n" "${COMPREPLY[@]}"' - "$scratch/work" "$1"
}
in_fish() {
    (cd "$scratch/work" && HOME=$scratch fish --no-config -c 'calf completion fish | source
        complete -C $argv[1]' "$1") | cut -f 1 | sed 's,/$,,'
}

# zsh completes on a terminal only: what it would offer is what its functions hand to compadd
cat >"$scratch/zshrc" <<'END'
autoload -U compinit; compinit -u -D
source <(calf completion zsh)
compadd() {
    local -a offered
    if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then builtin compadd "$@"; return; fi
    builtin compadd -A offered "$@"
    print -rl -- ${(Q)offered} >>$ZSH_OFFERED
    builtin compadd "$@"
}
comppostfuncs=(tell_end)
tell_end() { print -n DONE >/dev/tty }
bindkey '^I' complete-word
print REA''DY
END
in_zsh() {
    : >"$scratch/offered"
    (cd "$scratch/work" && ZSH_OFFERED=$scratch/offered python3 "$terminal" "type source $scratch/zshrc\\n
wait READY
type $1\\t
wait DONE
kill" zsh -f -i) >"$scratch/zsh.out" || cat "$scratch/zsh.out" >&2
    cat "$scratch/offered"
}

# offers SHELL LINE WORD...: these are among what it offers
offers() {
    local shell=$1 line=$2 word got
    shift 2
    got=$("in_$shell" "$line")
    for word in "$@"; do
        grep -qE "(^|[[:space:]])$word/?([[:space:]]|$)" <<<"$got" || { echo "$shell: '$line' does not offer '$word' but:"; echo "$got"; return 1; }
    done
}
offers_not() {
    local shell=$1 line=$2 word got
    shift 2
    got=$("in_$shell" "$line")
    for word in "$@"; do
        fails grep -qE "(^|[[:space:]])$word/?([[:space:]]|$)" <<<"$got" || { echo "$shell: '$line' offers '$word'"; return 1; }
    done
}
completes() {
    local shell=$1
    # shellcheck disable=SC2086
    offers $shell 'calf ' $commands
    offers $shell 'calf st' status stop
    offers_not $shell 'calf st' serve
    offers $shell 'calf serve ' demo 'a dir'
    offers_not $shell 'calf serve ' letter
    offers $shell 'calf serve --pass' --password --password-file
    offers $shell 'calf serve demo --log ' letter
    offers $shell 'calf serve --socket ' demo
    offers_not $shell 'calf serve --socket ' letter
    offers $shell 'calf stop --mode ' smart fast immediate
    # shellcheck disable=SC2086
    offers $shell 'calf run ' $programs
    offers $shell 'calf run pg_dump ' demo
    offers $shell 'calf psql ' demo
    offers_not $shell 'calf psql ' letter
    offers $shell 'calf psql demo -f ' letter
    offers $shell 'calf restore ' letter demo
    offers $shell 'calf restore demo ' letter
    offers $shell 'calf backup demo ' 'a dir'
    offers_not $shell 'calf backup demo ' letter
    offers $shell 'calf dump --format ' custom plain directory tar
    offers $shell 'calf completion ' bash zsh fish
    offers $shell 'calf help doc' doctor
}
check 'bash completes' completes bash
check 'fish completes' completes fish
check 'zsh completes' completes zsh

# ---- extensions ---------------------------------------------------------------------------

extensions() {
    calf extensions >"$scratch/out"
    cat "$scratch/out"
    fails grep -n '.\{81\}' "$scratch/out"
    grep -q '^hstore  *1\.8  *data type' "$scratch/out"
    grep -q '^vector ' "$scratch/out"
    fails calf extensions "$scratch/nothing" 2>"$scratch/err"
    grep -q 'there is no database in' "$scratch/err"
    [ ! -e "$scratch/nothing" ]
    calf psql "$scratch/db" -qc "create extension hstore version '1.4'"
    calf extensions "$scratch/db" | tee "$scratch/out"
    grep -q '^hstore  *1\.8  *1\.4  *data type' "$scratch/out"
    fails grep -n '.\{81\}' "$scratch/out"
    mkdir "$scratch/own"
    printf "default_version = '1.0'\ncomment = 'a \"quoted\" one'\n" >"$scratch/own/mine.control"
    : >"$scratch/own/mine--1.0.sql"
    CALF_DATA=$scratch/db calf extensions --extension-path "$scratch/own" --json >"$scratch/out"
    python3 - "$scratch/out" <<'END'
import json, sys
rows = {e["name"]: e for e in json.load(open(sys.argv[1]))}
assert rows["hstore"]["installed"] == "1.4" and rows["hstore"]["version"] == "1.8", rows["hstore"]
assert rows["mine"] == {"name": "mine", "version": "1.0", "installed": None, "comment": 'a "quoted" one'}
END
    "$calf" status "$scratch/db" | grep -q ': closed'
}
check 'extensions: a table of 80 columns, JSON, own ones, installed versions' extensions

finish
