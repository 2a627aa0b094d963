#!/usr/bin/env python3
"""terminal.py - a program on a terminal of its own, for the scripts beside it

terminal.py STEPS COMMAND...: runs the command on a terminal of 24 rows and 80 columns. STEPS are lines:
    wait REGEX      until what was printed since the last match has it
    type TEXT       with Python's escapes (\\t, \\n, \\x03)
    size ROWS COLS  the terminal changes its size
    end             until the program ends
    kill            it is ended; the exit code is 0
Prints what the program printed; the exit code is the program's, 99 when a wait was in vain.
"""
import fcntl, os, pty, re, select, signal, struct, sys, termios, time

DEADLINE = int(os.environ.get("DEADLINE", 60))

steps, command = sys.argv[1], sys.argv[2:]
pid, fd = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    os.execvp(command[0], command)
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
seen = ""  # not matched yet


def more(until):
    """False at the program's end."""
    global seen
    if not select.select([fd], [], [], max(0, until - time.monotonic()))[0]:
        print(f"\n[in vain after {DEADLINE} s]")
        os.kill(pid, signal.SIGKILL)
        sys.exit(99)
    try:
        data = os.read(fd, 65536)
    except OSError:
        data = b""
    text = data.decode(errors="replace")
    sys.stdout.write(text)
    seen += text
    return bool(data)


for step in steps.splitlines():
    word, _, rest = step.strip().partition(" ")
    until = time.monotonic() + DEADLINE
    if word == "wait":
        while not (found := re.search(rest, seen)):
            if not more(until):
                print(f"\n[it ended before: {rest}]")
                sys.exit(99)
        seen = seen[found.end():]
    elif word == "type":
        os.write(fd, rest.encode().decode("unicode_escape").encode())
    elif word == "size":
        rows, columns = map(int, rest.split())
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    elif word == "end":
        while more(until):
            pass
    elif word == "kill":
        os.kill(pid, signal.SIGKILL)
        sys.exit(0)
sys.stdout.flush()
status = os.waitpid(pid, 0)[1]
sys.exit(os.waitstatus_to_exitcode(status) & 255)
