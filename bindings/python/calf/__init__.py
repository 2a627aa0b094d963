"""PostgreSQL inside the Python process.

    import calf                     # before psycopg2 or psycopg, which then connect without a socket

    with calf.open("./data") as db:         # calf.open() is a temporary database
        conn = db.connect()                 # a psycopg connection
        cursor = conn.cursor()
        cursor.execute("select 6 * 7")
        print(cursor.fetchone())
        conn.close()

Everything here is a thin layer over calf.h, which is the manual: results, threads, errors by name.
"""

import atexit
import collections
import ctypes
import datetime
import importlib
import itertools
import os
import shutil
import tempfile

__all__ = ["open", "look", "run", "run_signal", "clone", "data_dir", "features", "version", "Database", "Status",
           "Wire", "Error"]

MISUSE, HELD, FOREIGN, MAJOR, ACCESS, INSTALL, FAILED, SYSTEM, ENDED = range(1, 10)
DURABLE, RELAXED, NONE = range(3)
FAST, SMART, IMMEDIATE = range(3)
ABSENT, CLOSED, CRASHED, OPEN = range(4)


def _load():
    here = os.path.dirname(os.path.abspath(__file__))
    names = [os.environ.get("CALF_LIBRARY"), os.path.join(here, "libcalf.so"), "libcalf.so.0"]
    for name in names:
        if name and (os.path.exists(name) or "/" not in name):
            return ctypes.CDLL(name)
    raise ImportError("libcalf.so is not beside this package; set CALF_LIBRARY to its path")


class _Error(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int), ("text", ctypes.c_char * 1024)]


_Log = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_char_p)


class _Options(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_size_t),
        ("durability", ctypes.c_int),
        ("settings", ctypes.POINTER(ctypes.c_char_p)),
        ("log_file", ctypes.c_char_p),
        ("encoding", ctypes.c_char_p),
        ("locale", ctypes.c_char_p),
        ("no_checksums", ctypes.c_int),
        ("superuser", ctypes.c_char_p),
        ("icu_locale", ctypes.c_char_p),
        ("log", _Log),
        ("log_context", ctypes.c_void_p),
        ("linger_ms", ctypes.c_int),
        ("extension_path", ctypes.c_char_p),
        ("listen", ctypes.POINTER(ctypes.c_char_p)),
    ]


class _Status(ctypes.Structure):
    _fields_ = [
        ("state", ctypes.c_int),
        ("pid", ctypes.c_long),
        ("stock", ctypes.c_int),
        ("since", ctypes.c_longlong),
        ("uri", ctypes.c_char * 4096),
        ("socket_uri", ctypes.c_char * 4096),
    ]


_pointer, _text, _int, _size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t
_lib = _load()
for _name, _result, *_arguments in (
    ("calf_open", _int, _text, _pointer, _pointer, _pointer),
    ("calf_close", _int, _pointer, _int, _pointer),
    ("calf_healthy", _int, _pointer),
    ("calf_dsn", _text, _pointer),
    ("calf_replace_libpq", _int, _pointer),
    ("calf_uri", _text, _pointer),
    ("calf_directory", _text, _pointer),
    ("calf_version", _text),
    ("calf_features", ctypes.POINTER(_text)),
    ("calf_listen", _int, _pointer, _text, _pointer),
    ("calf_unlisten", _int, _pointer, _text, _pointer),
    ("calf_run", _int, _pointer, _pointer, _pointer, _pointer, _pointer),
    ("calf_run_signal", _int, _pointer, _int, _pointer),
    ("calf_snapshot", _int, _pointer, _text, _pointer),
    ("calf_clone", _int, _text, _text, _pointer),
    ("calf_wire_open", _int, _pointer, _pointer, _pointer),
    ("calf_wire_exchange", _int, _pointer, _text, _pointer, _pointer, _pointer, _int, _pointer),
    ("calf_wire_close", _int, _pointer, _pointer),
    ("calf_look", _int, _text, _pointer, _pointer),
    ("calf_data_dir", _int, _text, _text, _text, _pointer, _size, _pointer),
):
    getattr(_lib, _name).restype, getattr(_lib, _name).argtypes = _result, _arguments
# drivers that are imported later get calf's libpq; where another is loaded already, connect() finds a way
_lib.calf_replace_libpq(None)


class Error(Exception):
    """What calf refused, in a sentence; `code` is one of calf.h's (calf.HELD ...)."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


def _call(function, *arguments):
    """A function of calf.h whose last argument is the error."""
    err = _Error()
    if function(*arguments, ctypes.byref(err)) != 0:
        raise Error(err.code, os.fsdecode(err.text))


def _encode(value):
    return None if value is None else os.fsencode(value)


def _decode(value):
    return None if value is None else os.fsdecode(value)


def _list(values):
    """An array of strings that ends with NULL."""
    return (ctypes.c_char_p * (len(values) + 1))(*map(os.fsencode, values), None)


def version():
    return _lib.calf_version().decode()


def features():
    """The optional parts that were built into PostgreSQL: ["icu", "openssl" ...]."""
    return [name.decode() for name in itertools.takewhile(bool, _lib.calf_features())]


def data_dir(organisation, application, qualifier=None):
    """The directory for an application's own data, not created."""
    buf = ctypes.create_string_buffer(4096)
    _call(_lib.calf_data_dir, _encode(qualifier), _encode(organisation), _encode(application), buf, len(buf))
    return os.fsdecode(buf.value)


def clone(source, target):
    """Copy a closed data directory."""
    _call(_lib.calf_clone, _encode(source), _encode(target))


Status = collections.namedtuple("Status", "state pid stock since uri socket_uri")
Status.__doc__ = """What calf.look() saw: `state` is calf.ABSENT, CLOSED, CRASHED or OPEN.

The others are of an open one; None is unknown, or nowhere.  `since` is a datetime."""


def look(path):
    """Who has a data directory open, this process or another; nothing is changed."""
    s = _Status()
    _call(_lib.calf_look, _encode(path), ctypes.byref(s))
    since = datetime.datetime.fromtimestamp(s.since, datetime.timezone.utc) if s.since else None
    return Status(s.state, s.pid or None, bool(s.stock), since, _decode(s.uri or None), _decode(s.socket_uri or None))


def _run(handle, argv, *fds):
    code = ctypes.c_int()
    _call(_lib.calf_run, handle, _list(argv), (ctypes.c_int * 3)(*fds), ctypes.byref(code))
    return code.value


def run(*argv, stdin=0, stdout=1, stderr=2):
    """Run one of PostgreSQL's programs without a database (pg_controldata ...), as Database.run() does."""
    return _run(None, argv, stdin, stdout, stderr)


def run_signal(signal):
    """Give a signal (signal.SIGINT ...) to the programs of calf.run()."""
    _call(_lib.calf_run_signal, None, signal)


def _has_calfs_libpq(driver):
    """Does psycopg2 or psycopg lead to libcalf?  The binary ones bring a libpq of their own."""
    if driver.__name__ == "psycopg2":
        from psycopg2 import _psycopg as part
    elif driver.pq.__impl__ == "python":
        from psycopg.pq import _pq_ctypes as part
    else:
        part = importlib.import_module("psycopg_%s.pq" % driver.pq.__impl__)
    library = part.pq if part.__name__.endswith("_pq_ctypes") else ctypes.CDLL(part.__file__)
    address = lambda function: ctypes.cast(function, ctypes.c_void_p).value
    return address(library.PQlibVersion) == address(_lib.PQlibVersion)


class Wire:
    """The bytes of one session, of PostgreSQL's protocol; one thread at a time."""

    def __init__(self, database):
        self._handle = ctypes.c_void_p()
        _call(_lib.calf_wire_open, database._handle, ctypes.byref(self._handle))

    def exchange(self, data=b"", room=65536, timeout_ms=-1):
        """Send and receive: how many bytes of `data` were taken, and the bytes that came."""
        taken, came = ctypes.c_size_t(len(data)), ctypes.c_size_t(room)
        out = ctypes.create_string_buffer(room)
        _call(_lib.calf_wire_exchange, self._handle, bytes(data), ctypes.byref(taken), out,
              ctypes.byref(came), timeout_ms)
        return taken.value, out.raw[:came.value]

    def close(self):
        handle, self._handle = self._handle, None
        _call(_lib.calf_wire_close, handle)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


class Database:
    """An open data directory.  Any thread may use it; close() or `with` gives it back."""

    def __init__(self, handle):
        self._handle = handle  # a number, for which calf has an answer when it is closed, too
        self._pid = os.getpid()
        self._socket = None  # socket_dsn()'s directory, and the URI
        _open.add(self)

    @property
    def dsn(self):
        """For connections in this process."""
        return _decode(_lib.calf_dsn(self._handle))

    @property
    def uri(self):
        """For other processes, after listen(); else None."""
        return _decode(_lib.calf_uri(self._handle))

    @property
    def directory(self):
        return _decode(_lib.calf_directory(self._handle))

    @property
    def healthy(self):
        return bool(_lib.calf_healthy(self._handle))

    def connect(self, *, driver=None, **options):
        """A connection of psycopg (version 3), where it is not installed of psycopg2, or of the module that is given."""
        if not driver:
            try:
                import psycopg as driver
            except ImportError:
                import psycopg2 as driver
        return driver.connect(self.dsn if _has_calfs_libpq(driver) else self.socket_dsn(), **options)

    def socket_dsn(self):
        """For drivers that do not use calf's libpq (psycopg2-binary, asyncpg ...): a URI of a socket.

        It is in a directory that only this user can enter, made by the first call and removed by close().
        """
        if not self._socket:
            directory = tempfile.mkdtemp(prefix="calf-")
            try:
                uri = self.listen(directory)
            except Error:
                os.rmdir(directory)
                raise
            self._socket = directory, uri
        return self._socket[1]

    def listen(self, address):
        """Let other processes in: a directory, "tcp:PORT", "fd:N" (a socket that listens); returns the URI for them."""
        _call(_lib.calf_listen, self._handle, _encode(address))
        return self.uri

    def unlisten(self, address=None):
        """Without an address: all, socket_dsn()'s too."""
        _call(_lib.calf_unlisten, self._handle, _encode(address))
        if address is None:
            self._forget_socket()

    def run(self, *argv, stdin=0, stdout=1, stderr=2):
        """Run one of PostgreSQL's programs; file descriptors; returns its exit code."""
        return _run(self._handle, argv, stdin, stdout, stderr)

    def run_signal(self, signal):
        """Give a signal (signal.SIGINT ...) to the programs that run() runs just now, from another thread."""
        _call(_lib.calf_run_signal, self._handle, signal)

    def snapshot(self, path):
        """Copy it, while sessions go on."""
        _call(_lib.calf_snapshot, self._handle, _encode(path))

    def wire(self):
        return Wire(self)

    def close(self, mode=FAST):
        """Give it back; nothing when that was done.  Once more meanwhile, from another thread: hurries it.

        In a forked child nothing: the database is its parent's.
        """
        if self in _open and os.getpid() == self._pid:
            _call(_lib.calf_close, self._handle, mode)
            _open.discard(self)
            self._forget_socket()

    def _forget_socket(self):
        if self._socket:
            shutil.rmtree(self._socket[0], ignore_errors=True)
        self._socket = None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


_open = set()
_logs = {}  # function: what calf calls, which must not go before the database does


@atexit.register
def _end(pid=os.getpid()):
    """A log function cannot be called any more when Python has ended; and no socket outlives it."""
    for database in list(_open) if os.getpid() == pid else ():
        if _logs:
            database.close()
        else:
            database._forget_socket()


def open(path=None, *, durability=DURABLE, settings=None, log_file=None, encoding=None, locale=None,
         checksums=True, superuser=None, icu_locale=None, log=None, linger_ms=0,
         extension_path=None, listen=()):
    """Open the data directory `path`, created when absent; None: a temporary database.

    `settings` is a dict, `log` a function that is called with every line of PostgreSQL's messages,
    `listen` a list of addresses.
    What is still open when Python ends is closed then if there is a log function, which is why
    `log` and `linger_ms` exclude each other.
    """
    if log and linger_ms:
        raise ValueError("calf.open: log and linger_ms: the database would call Python after its end")
    if log and log not in _logs:
        _logs[log] = _Log(lambda context, line: log(line.decode(errors="replace")))
    pairs = ["%s=%s" % pair for pair in (settings or {}).items()]
    options = _Options(
        size=ctypes.sizeof(_Options),
        durability=durability,
        settings=_list(pairs),
        log_file=_encode(log_file),
        encoding=_encode(encoding),
        locale=_encode(locale),
        no_checksums=0 if checksums else 1,
        superuser=_encode(superuser),
        icu_locale=_encode(icu_locale),
        log=_logs[log] if log else _Log(),
        linger_ms=linger_ms,
        extension_path=_encode(extension_path),
        listen=_list(listen),
    )
    handle = ctypes.c_void_p()
    _call(_lib.calf_open, _encode(path), ctypes.byref(options), ctypes.byref(handle))
    return Database(handle.value)
