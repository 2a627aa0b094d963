"""PostgreSQL inside the Python process.

    import calf                     # before psycopg2 or psycopg: they then use calf's libpq

    with calf.open("./data") as db:         # calf.open() is a temporary database
        conn = db.connect()                 # a psycopg connection
        cursor = conn.cursor()
        cursor.execute("select 6 * 7")
        print(cursor.fetchone())
        conn.close()

Everything here is a thin layer over calf.h, which is the manual: results, threads, errors by name.
"""

import ctypes
import os

__all__ = ["open", "Database", "Error", "version"]

MISUSE, HELD, FOREIGN, MAJOR, ACCESS, INSTALL, FAILED, SYSTEM = range(1, 9)
DURABLE, RELAXED, NONE = range(3)
FAST, SMART, IMMEDIATE = range(3)


def _load():
    here = os.path.dirname(os.path.abspath(__file__))
    names = [os.environ.get("CALF_LIBRARY"), os.path.join(here, "libcalf.so"), "libcalf.so.0"]
    for name in names:
        if name and (os.path.exists(name) or "/" not in name):
            # global, so that what is loaded later finds libpq's functions here
            return ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
    raise ImportError("libcalf.so is not beside this package; set CALF_LIBRARY to its path")


class _Error(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int), ("text", ctypes.c_char * 1024)]


class _Options(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_size_t),
        ("durability", ctypes.c_int),
        ("settings", ctypes.POINTER(ctypes.c_char_p)),
        ("log_file", ctypes.c_char_p),
        ("encoding", ctypes.c_char_p),
        ("locale", ctypes.c_char_p),
        ("no_checksums", ctypes.c_int),
    ]


_lib = _load()
for _name in ("calf_dsn", "calf_uri", "calf_directory", "calf_version"):
    getattr(_lib, _name).restype = ctypes.c_char_p
for _name in ("calf_dsn", "calf_uri", "calf_directory", "calf_healthy"):
    getattr(_lib, _name).argtypes = [ctypes.c_void_p]
_lib.calf_close.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
_lib.calf_listen.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_lib.calf_unlisten.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_lib.calf_run.argtypes = [ctypes.c_void_p] + [ctypes.c_void_p] * 4


class Error(Exception):
    """What calf refused, in a sentence; `code` is one of calf.h's (calf.HELD ...)."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


def _check(code, err):
    if code != 0:
        raise Error(code, os.fsdecode(err.text))


def version():
    return _lib.calf_version().decode()


class Database:
    """An open data directory.  Any thread may use it; close() or `with` gives it back."""

    def __init__(self, handle):
        self._handle = handle

    def _text(self, function):
        value = function(self._handle)
        return None if value is None else os.fsdecode(value)

    @property
    def dsn(self):
        """For connections in this process."""
        return self._text(_lib.calf_dsn)

    @property
    def uri(self):
        """For other processes, after listen(); else None."""
        return self._text(_lib.calf_uri)

    @property
    def directory(self):
        return self._text(_lib.calf_directory)

    @property
    def healthy(self):
        return bool(_lib.calf_healthy(self._handle))

    def connect(self, **options):
        """A connection of psycopg (version 3) or, where it is not installed, of psycopg2."""
        try:
            import psycopg as driver
        except ImportError:
            import psycopg2 as driver
        return driver.connect(self.dsn, **options)

    def listen(self, address):
        """Let other processes in; returns the URI for them."""
        err = _Error()
        _check(_lib.calf_listen(self._handle, os.fsencode(address), ctypes.byref(err)), err)
        return self.uri

    def unlisten(self, address=None):
        err = _Error()
        name = None if address is None else os.fsencode(address)
        _check(_lib.calf_unlisten(self._handle, name, ctypes.byref(err)), err)

    def run(self, *argv, stdin=0, stdout=1, stderr=2):
        """Run one of PostgreSQL's programs; file descriptors; returns its exit code."""
        err, code = _Error(), ctypes.c_int()
        args = (ctypes.c_char_p * (len(argv) + 1))(*map(os.fsencode, argv), None)
        fds = (ctypes.c_int * 3)(stdin, stdout, stderr)
        _check(_lib.calf_run(self._handle, args, fds, ctypes.byref(code), ctypes.byref(err)), err)
        return code.value

    def close(self, mode=FAST):
        err = _Error()
        handle, self._handle = self._handle, None
        _check(_lib.calf_close(handle, mode, ctypes.byref(err)), err)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def open(path=None, *, durability=DURABLE, settings=None, log_file=None, encoding=None, locale=None,
         checksums=True):
    """Open the data directory `path`, created when absent; None: a temporary database."""
    pairs = ["%s=%s" % pair for pair in (settings or {}).items()]
    encode = lambda value: None if value is None else os.fsencode(value)
    options = _Options(
        size=ctypes.sizeof(_Options),
        durability=durability,
        settings=(ctypes.c_char_p * (len(pairs) + 1))(*map(os.fsencode, pairs), None),
        log_file=encode(log_file),
        encoding=encode(encoding),
        locale=encode(locale),
        no_checksums=0 if checksums else 1,
    )
    handle, err = ctypes.c_void_p(), _Error()
    _check(_lib.calf_open(encode(path), ctypes.byref(options), ctypes.byref(handle),
                          ctypes.byref(err)), err)
    return Database(handle.value)
