#!/bin/bash
#
# make-recording.sh - docs/calf.svg: what a terminal shows when the calf command is at work
#
# Types into a real terminal (tmux, from Debian's package of that name; python3 draws) and waits for
# each prompt. Only the screen of the end is kept, as text in an SVG.

set -eu
repo=$(cd "$(dirname "$0")/.." && pwd)
scratch=$(mktemp -d)
tmux=(tmux -L "calf-recording.$$" -f /dev/null)
trap '"${tmux[@]}" kill-server 2>/dev/null || :; "$repo/build/calf" stop "$scratch/demo" >/dev/null 2>&1 || :; rm -rf "$scratch"' EXIT
mkdir "$scratch/bin"
ln -s "$repo/build/calf" "$scratch/bin/calf"

# The last line of the screen is a prompt and nothing else.
at_prompt() { "${tmux[@]}" capture-pane -p -t demo | sed '/^ *$/d' | tail -n 1 | grep -qE '^(\$|postgres=#) ?$'; }
wait_for() { # PATTERN: on the screen, at most a minute
    local end=$((SECONDS + 60))
    until "$@"; do
        [ $SECONDS -lt $end ] || { echo "not there after a minute: $*" >&2; "${tmux[@]}" capture-pane -p -t demo >&2; exit 1; }
        sleep 0.1
    done
}
shown() { "${tmux[@]}" capture-pane -p -t demo | grep -qF -- "$1"; }
type_line() { # LINE [WHAT IT PRINTS]
    local keys=$1
    [[ $keys != *\; ]] || keys="${keys%;}\\;" # at the end tmux takes it for its own
    "${tmux[@]}" send-keys -t demo -l -- "$keys"
    wait_for shown "${1: -20}"
    "${tmux[@]}" send-keys -t demo Enter
    [ $# = 1 ] || wait_for shown "$2"
    wait_for at_prompt
}

"${tmux[@]}" new-session -d -s demo -x 88 -y 38 -c "$scratch" \
    env -i HOME="$scratch" TERM=screen LANG=C.UTF-8 PATH="$scratch/bin:/usr/bin:/bin" PS1='$ ' \
    PSQLRC=/dev/null PAGER=cat sh
wait_for at_prompt
type_line "calf serve ./demo --detach" "serving"
type_line "calf psql ./demo" "psql (1"
type_line "create table birds as select 'heron' as name;" "SELECT 1"
type_line "select pid, backend_type from pg_stat_activity order by backend_type;" "rows)"
type_line '\q'
type_line 'ps -o pid,nlwp,args -p $(head -n 1 demo/postmaster.pid)' "calf serve"
type_line "calf run pg_dump ./demo -- --data-only | grep heron" "heron"
type_line "calf doctor ./demo | tail -n 3" "0 problems"
type_line "calf stop ./demo" "is closed"
"${tmux[@]}" capture-pane -p -t demo >"$scratch/screen"

python3 - "$scratch/screen" "$scratch/" >"$repo/docs/calf.svg" <<'END'
import html, re, sys

lines = open(sys.argv[1]).read().rstrip("\n").replace(sys.argv[2], "/home/me/").split("\n")
while lines and lines[-1].strip() in ("", "$"):
    lines.pop()
line, width = 17, 88
print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width * 8 + 32}" height="{len(lines) * line + 32}"'
      ' font-family="ui-monospace, Menlo, Consolas, monospace" font-size="13">')
print('<rect width="100%" height="100%" rx="8" fill="#1b1f27"/>')
for n, text in enumerate(lines):
    prompt = re.match(r"(\$|postgres=#) ", text)
    shown = html.escape(text.rstrip(), quote=False)
    if prompt:
        length = len(html.escape(prompt.group(0)))
        shown = f'<tspan fill="#7fd18b">{shown[:length]}</tspan><tspan fill="#ffffff">{shown[length:]}</tspan>'
    print(f'<text x="16" y="{28 + n * line}" fill="#c5cbd6" xml:space="preserve">{shown}</text>')
print("</svg>")
END
echo "docs/calf.svg: $(wc -c <"$repo/docs/calf.svg") bytes"
