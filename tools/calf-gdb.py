# calf-gdb.py - gdb's eyes for the processes inside a calf
#
#   gdb -p PID -x tools/calf-gdb.py
#
#   calf ps        the processes that run on this program's threads
#   calf symbols   symbols of the images and modules of all of them
#   calf here      symbols of the selected thread's process only
#   calf watch     from now on, symbols of every program as soon as it is loaded
#
# gdb knows the libraries that the dynamic linker loaded; images are mapped by calf's own
# loader, so somebody must say where they are.  This asks calf itself: the variable
# `current` of each thread leads to its process, program and instances.
#
# The rule that matters: several instances have the same names.  A breakpoint on a function
# is set in all of them; `print variable` takes one of them, not always the selected
# thread's, unless only that one's symbols are there ("calf here").
#
# What calf carries has no file of its own: its symbols are taken from $CALF_PG, else from
# build/pg17/pgsql, the tree it was packed from.
#
# Not done: processes whose thread is a real process of the host (spawn.c), core files.

import os

import gdb

TREE = os.environ.get("CALF_PG") or os.path.join(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "build/pg17/pgsql")
CURRENT = "'src/kernel/signal.c'::current"
added = {}  # base address -> (path, address of its text), what gdb has been told


def processes():
    """(thread, struct proc) of every thread that carries a process."""
    selected = gdb.selected_thread()
    found = []
    for thread in sorted(gdb.selected_inferior().threads(), key=lambda t: t.num):
        thread.switch()
        try:
            proc = gdb.parse_and_eval(CURRENT)
        except gdb.error:  # a thread without thread-local variables yet
            continue
        if int(proc) != 0 and int(proc["prog"]) != 0:
            found.append((thread, proc))
    if selected is not None:
        selected.switch()
    return found


def instances(proc):
    """{base: (path, address of the text)} of a process."""
    prog = proc["prog"]
    out = {}
    for i in range(int(prog["ninstances"])):
        image = prog["list"][i]["image"]
        base = int(prog["list"][i]["base"])
        path = image["path"].string()
        if not os.path.exists(path):
            path = os.path.join(TREE, *path.split("/")[-2:])
        out[base] = (path, base + int(image["text_lo"]))
    return out


def load(wanted):
    """Make `added` what is wanted; instances that are gone would stop gdb at every breakpoint."""
    for base in [b for b in added if wanted.get(b) != added[b]]:
        gdb.execute("remove-symbol-file -a %#x" % added[base][1], to_string=True)
        del added[base]
    for base, image in wanted.items():
        if base not in added:
            gdb.execute("add-symbol-file %s -o %#x" % (image[0], base), to_string=True)
            added[base] = image


def all_instances():
    wanted = {}
    for _, proc in processes():
        wanted.update(instances(proc))
    return wanted


class Loaded(gdb.Breakpoint):
    """Where a program is in memory and has not run yet (sys___libc_start_main)."""

    def __init__(self):
        super().__init__("program_init", internal=True)

    def stop(self):
        load(all_instances())
        return False


class Calf(gdb.Command):
    """calf ps | symbols | here | watch: see tools/calf-gdb.py"""

    watching = None

    def __init__(self):
        super().__init__("calf", gdb.COMMAND_STATUS)

    def complete(self, text, word):
        return [c for c in ("ps", "symbols", "here", "watch") if c.startswith(text)]

    def invoke(self, arg, from_tty):
        action = getattr(self, "do_" + arg.strip(), None)
        if action is None:
            raise gdb.GdbError(self.__doc__)
        # calf's one real signal comes all the time and must reach it
        number = int(gdb.parse_and_eval("kick_signal"))
        if number:
            gdb.execute("handle SIG%d nostop noprint pass" % number, to_string=True)
        # so do the faults by which calf stops a process that a signal met in the host's code
        gdb.execute("handle SIGSEGV nostop noprint pass", to_string=True)
        action()

    def do_ps(self):
        print("Thread     Pid  Base            Program")
        for thread, proc in processes():
            prog = proc["prog"]
            print("%6d %7d  %#x  %s" % (thread.num, int(proc["pid"]), int(prog["main"]["base"]),
                                        prog["argv"][0].string(errors="replace")))

    def do_symbols(self):
        load(all_instances())
        print("%d instances" % len(added))

    def do_here(self):
        selected = gdb.selected_thread()
        for thread, proc in processes():
            if selected is not None and thread.num == selected.num:
                load(instances(proc))
                print("%d instances" % len(added))
                return
        raise gdb.GdbError("the selected thread carries no process; see \"calf ps\"")

    def do_watch(self):
        if Calf.watching is None:
            Calf.watching = Loaded()
        load(all_instances())
        print("%d instances, and those to come" % len(added))


Calf()
