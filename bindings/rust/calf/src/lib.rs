//! PostgreSQL inside the process.
//!
//! ```no_run
//! use calf::{Database, Options};
//!
//! let db = Database::open("./data", Options::default())?;
//! let mut conn = db.connect()?;
//! let rows = conn.exec("select $1::int * 7", &[Some("6")])?;
//! assert_eq!(rows.get(0, 0), Some("42"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Everything here is a thin layer over calf.h and libpq, which are the manuals: results, threads,
//! errors by name.

use calf_sys as sys;
use std::ffi::{CStr, CString};
use std::fmt;
use std::mem::MaybeUninit;
use std::os::raw::{c_char, c_int, c_void};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::io::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

/// What was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Code {
    Misuse,
    Held,
    Foreign,
    Major,
    Access,
    Install,
    Failed,
    System,
    Ended,
}

/// What calf refused, in a sentence.
#[derive(Clone, Debug)]
pub struct Error {
    pub code: Code,
    pub text: String,
}

/// What PostgreSQL refused; `sqlstate` is None when the connection failed.
#[derive(Clone, Debug)]
pub struct QueryError {
    pub sqlstate: Option<String>,
    pub text: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text.trim_end())
    }
}

impl std::error::Error for Error {}
impl std::error::Error for QueryError {}

/// What a crash of the process or of the machine can lose.
#[derive(Clone, Copy, Debug, Default)]
pub enum Durability {
    #[default]
    Durable = 0,
    Relaxed = 1,
    None = 2,
}

/// How a database is closed.
#[derive(Clone, Copy, Debug)]
pub enum Mode {
    Fast = 0,
    Smart = 1,
    Immediate = 2,
}

/// calf.h's options.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub durability: Durability,
    /// `name=value`
    pub settings: Vec<String>,
    pub log_file: Option<PathBuf>,
    pub encoding: Option<String>,
    pub locale: Option<String>,
    pub no_checksums: bool,
    pub superuser: Option<String>,
    pub icu_locale: Option<String>,
    /// Instead of `log_file`: is called with every line of PostgreSQL's messages.  It must not
    /// call calf.
    pub log: Option<fn(&str)>,
    pub linger: Duration,
    /// `dir:dir`
    pub extension_path: Option<PathBuf>,
    /// Addresses as for `Database::listen()`.
    pub listen: Vec<String>,
}

/// calf_uri()'s result is only good until the next of those who hold this.
static LISTENERS: Mutex<()> = Mutex::new(());

fn listeners() -> MutexGuard<'static, ()> {
    LISTENERS.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn c_string(bytes: &[u8]) -> Result<CString, Error> {
    CString::new(bytes).map_err(|_| Error {
        code: Code::Misuse,
        text: format!("{:?} has a zero byte", String::from_utf8_lossy(bytes)),
    })
}

fn c_option(bytes: Option<&[u8]>) -> Result<Option<CString>, Error> {
    bytes.map(c_string).transpose()
}

fn pointer(text: &Option<CString>) -> *const c_char {
    text.as_ref().map_or(ptr::null(), |text| text.as_ptr())
}

fn c_path(path: &Path) -> Result<CString, Error> {
    c_string(path.as_os_str().as_bytes())
}

fn c_strings(texts: &[impl AsRef<str>]) -> Result<Vec<CString>, Error> {
    texts.iter().map(|text| c_string(text.as_ref().as_bytes())).collect()
}

fn c_ms(time: Duration) -> c_int {
    time.as_millis().try_into().unwrap_or(c_int::MAX)
}

/// The pointers to `texts`, with NULL at the end.
fn list(texts: &[CString]) -> Vec<*const c_char> {
    let pointers = texts.iter().map(|text| text.as_ptr());
    pointers.chain([ptr::null()]).collect()
}

/// Safety: `text` is NULL or a C string.
unsafe fn owned(text: *const c_char) -> Option<Vec<u8>> {
    (!text.is_null()).then(|| CStr::from_ptr(text).to_bytes().to_vec())
}

unsafe fn owned_text(text: *const c_char) -> Option<String> {
    owned(text).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn check(call: impl FnOnce(*mut sys::calf_error) -> c_int) -> Result<(), Error> {
    let mut err = sys::calf_error { code: 0, text: [0; 1024] };
    let code = match call(&mut err) {
        0 => return Ok(()),
        1 => Code::Misuse,
        2 => Code::Held,
        3 => Code::Foreign,
        4 => Code::Major,
        5 => Code::Access,
        6 => Code::Install,
        7 => Code::Failed,
        9 => Code::Ended,
        _ => Code::System,
    };
    let text = unsafe { owned_text(err.text.as_ptr()) }.unwrap_or_default();
    Err(Error { code, text })
}

pub fn version() -> String {
    unsafe { owned_text(sys::calf_version()) }.unwrap_or_default()
}

/// The optional parts that were built into PostgreSQL: "icu", "openssl" ...
pub fn features() -> Vec<String> {
    let names = unsafe { sys::calf_features() };
    (0..).map_while(|i| unsafe { owned_text(*names.add(i)) }).collect()
}

/// The directory for an application's own data, not created.
pub fn data_dir(
    qualifier: Option<&str>,
    organisation: Option<&str>,
    application: &str,
) -> Result<PathBuf, Error> {
    let qualifier = c_option(qualifier.map(|name| name.as_bytes()))?;
    let organisation = c_option(organisation.map(|name| name.as_bytes()))?;
    let application = c_string(application.as_bytes())?;
    let mut buf = [0; 4096];
    check(|err| unsafe {
        let (org, app) = (pointer(&organisation), application.as_ptr());
        sys::calf_data_dir(pointer(&qualifier), org, app, buf.as_mut_ptr(), buf.len(), err)
    })?;
    let bytes = unsafe { owned(buf.as_ptr()) }.unwrap_or_default();
    Ok(std::ffi::OsString::from_vec(bytes).into())
}

/// Copies a closed data directory.
pub fn clone(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<(), Error> {
    let (from, to) = (c_path(from.as_ref())?, c_path(to.as_ref())?);
    check(|err| unsafe { sys::calf_clone(from.as_ptr(), to.as_ptr(), err) })
}

/// What `look()` finds a data directory in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Absent,
    Closed,
    Crashed,
    Open,
}

/// What `look()` saw.  All but the state is of an open directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub state: State,
    /// None: it is just starting.
    pub pid: Option<u32>,
    /// A stock PostgreSQL server has it open.
    pub stock: bool,
    pub since: Option<SystemTime>,
    /// The address that was listened on last.
    pub uri: Option<String>,
    /// The last one that is a Unix socket.
    pub socket_uri: Option<String>,
}

/// Who has a data directory open, this process or another; nothing is changed.
pub fn look(path: impl AsRef<Path>) -> Result<Status, Error> {
    let path = c_path(path.as_ref())?;
    let mut status = MaybeUninit::<sys::calf_status>::uninit();
    check(|err| unsafe { sys::calf_look(path.as_ptr(), status.as_mut_ptr(), err) })?;
    let status = unsafe { status.assume_init() };
    let given = |uri: &[c_char]| unsafe { owned_text(uri.as_ptr()) }.filter(|uri| !uri.is_empty());
    Ok(Status {
        state: match status.state {
            0 => State::Absent,
            1 => State::Closed,
            2 => State::Crashed,
            _ => State::Open,
        },
        pid: (status.pid != 0).then_some(status.pid as u32),
        stock: status.stock != 0,
        since: (status.since != 0)
            .then(|| SystemTime::UNIX_EPOCH + Duration::from_secs(status.since as u64)),
        uri: given(&status.uri),
        socket_uri: given(&status.socket_uri),
    })
}

fn run_on(
    handle: *mut sys::calf_db,
    argv: &[&str],
    fds: [BorrowedFd<'_>; 3],
) -> Result<i32, Error> {
    let argv = c_strings(argv)?;
    let (pointers, fds) = (list(&argv), fds.map(|fd| fd.as_raw_fd()));
    let mut code = 0;
    check(|err| unsafe { sys::calf_run(handle, pointers.as_ptr(), fds.as_ptr(), &mut code, err) })?;
    Ok(code)
}

/// Runs one of PostgreSQL's programs without a database (pg_controldata ...), as `Database::run()`
/// does.
pub fn run(argv: &[&str], fds: [BorrowedFd<'_>; 3]) -> Result<i32, Error> {
    run_on(ptr::null_mut(), argv, fds)
}

/// Gives a signal, by its number, to all programs that `run()` runs just now.
pub fn run_signal(signal: i32) -> Result<(), Error> {
    check(|err| unsafe { sys::calf_run_signal(ptr::null_mut(), signal, err) })
}

/// What calf calls for `Options::log`, which `context` is.
unsafe extern "C" fn log_line(context: *mut c_void, line: *const c_char) {
    let log: fn(&str) = std::mem::transmute(context);
    let line = CStr::from_ptr(line).to_string_lossy();
    let _ = std::panic::catch_unwind(|| log(&line));
}

/// An open data directory.  Any thread may use it; `close()` or its end gives it back.
#[derive(Debug)]
pub struct Database {
    handle: *mut sys::calf_db,
}

// A handle is a number; calf.h: every function may be called by any thread at any time.
unsafe impl Send for Database {}
unsafe impl Sync for Database {}

impl Database {
    /// Opens the data directory `path`, created when absent.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Database, Error> {
        Database::new(Some(path.as_ref()), options)
    }

    /// Gone when it is closed.
    pub fn temporary(options: Options) -> Result<Database, Error> {
        Database::new(None, options)
    }

    fn new(path: Option<&Path>, options: Options) -> Result<Database, Error> {
        let text = |text: &Option<String>| c_option(text.as_ref().map(|text| text.as_bytes()));
        let file = |path: Option<&Path>| path.map(c_path).transpose();
        let path = file(path)?;
        let (settings, listen) = (c_strings(&options.settings)?, c_strings(&options.listen)?);
        let (settings, listen) = ((list(&settings), settings), (list(&listen), listen));
        let log_file = file(options.log_file.as_deref())?;
        let extension_path = file(options.extension_path.as_deref())?;
        let (encoding, locale) = (text(&options.encoding)?, text(&options.locale)?);
        let (superuser, icu_locale) = (text(&options.superuser)?, text(&options.icu_locale)?);
        let options = sys::calf_options {
            size: std::mem::size_of::<sys::calf_options>(),
            durability: options.durability as c_int,
            settings: settings.0.as_ptr(),
            log_file: pointer(&log_file),
            encoding: pointer(&encoding),
            locale: pointer(&locale),
            no_checksums: options.no_checksums as c_int,
            superuser: pointer(&superuser),
            icu_locale: pointer(&icu_locale),
            log: options.log.map(|_| log_line as _),
            log_context: options.log.map_or(ptr::null_mut(), |log| log as *mut c_void),
            linger_ms: c_ms(options.linger),
            extension_path: pointer(&extension_path),
            listen: listen.0.as_ptr(),
        };
        let mut handle = ptr::null_mut();
        check(|err| unsafe { sys::calf_open(pointer(&path), &options, &mut handle, err) })?;
        Ok(Database { handle })
    }

    /// Gives the handle back; so does the end of it, with `Mode::Fast`.
    pub fn close(self, mode: Mode) -> Result<(), Error> {
        let handle = std::mem::ManuallyDrop::new(self).handle;
        check(|err| unsafe { sys::calf_close(handle, mode as c_int, err) })
    }

    pub fn healthy(&self) -> bool {
        unsafe { sys::calf_healthy(self.handle) == 1 }
    }

    /// For connections of libpq in this process.
    pub fn dsn(&self) -> String {
        unsafe { owned_text(sys::calf_dsn(self.handle)) }.unwrap_or_default()
    }

    pub fn directory(&self) -> PathBuf {
        let bytes = unsafe { owned(sys::calf_directory(self.handle)) }.unwrap_or_default();
        std::ffi::OsString::from_vec(bytes).into()
    }

    /// For other processes, of the address that was listened on last.
    pub fn uri(&self) -> Option<String> {
        let _held = listeners();
        unsafe { owned_text(sys::calf_uri(self.handle)) }
    }

    /// Lets other processes in: `uri()` is for them.  The address is a directory, `tcp:PORT`,
    /// `tcp:ADDRESS:PORT` or `fd:N` (a socket that listens).
    pub fn listen(&self, address: &str) -> Result<(), Error> {
        let address = c_string(address.as_bytes())?;
        let _held = listeners();
        check(|err| unsafe { sys::calf_listen(self.handle, address.as_ptr(), err) })
    }

    /// The opposite; None: all addresses.
    pub fn unlisten(&self, address: Option<&str>) -> Result<(), Error> {
        let address = c_option(address.map(|address| address.as_bytes()))?;
        let _held = listeners();
        check(|err| unsafe { sys::calf_unlisten(self.handle, pointer(&address), err) })
    }

    /// Runs one of PostgreSQL's programs; `fds` are its standard input, output and error; returns
    /// its exit code.
    pub fn run(&self, argv: &[&str], fds: [BorrowedFd<'_>; 3]) -> Result<i32, Error> {
        run_on(self.handle, argv, fds)
    }

    /// Gives a signal, by its number, to all programs that `run()` runs just now.
    pub fn run_signal(&self, signal: i32) -> Result<(), Error> {
        check(|err| unsafe { sys::calf_run_signal(self.handle, signal, err) })
    }

    /// Copies the database, while sessions go on.
    pub fn snapshot(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = c_path(path.as_ref())?;
        check(|err| unsafe { sys::calf_snapshot(self.handle, path.as_ptr(), err) })
    }

    /// Begins a session of which you get the bytes.
    pub fn wire(&self) -> Result<Wire, Error> {
        let mut handle = ptr::null_mut();
        check(|err| unsafe { sys::calf_wire_open(self.handle, &mut handle, err) })?;
        Ok(Wire { handle })
    }

    /// Begins a session.
    pub fn connect(&self) -> Result<Connection, QueryError> {
        let conn = Connection { conn: unsafe { sys::PQconnectdb(sys::calf_dsn(self.handle)) } };
        let utf8 = b"UTF8\0".as_ptr().cast();
        if unsafe { sys::PQstatus(conn.conn) } != sys::CONNECTION_OK
            || unsafe { sys::PQsetClientEncoding(conn.conn, utf8) } != 0
        {
            return Err(conn.error(ptr::null()));
        }
        Ok(conn)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        unsafe { sys::calf_close(self.handle, Mode::Fast as c_int, ptr::null_mut()) };
    }
}

/// The bytes of one session, of PostgreSQL's protocol.  It ends with its Wire.
#[derive(Debug)]
pub struct Wire {
    handle: *mut sys::calf_wire,
}

unsafe impl Send for Wire {}

impl Wire {
    /// Sends from `input` and receives into `output`; how many bytes of each, as soon as anything
    /// moved, or none when the time is over; None: it never is.
    pub fn exchange(
        &mut self,
        input: &[u8],
        output: &mut [u8],
        timeout: Option<Duration>,
    ) -> Result<(usize, usize), Error> {
        let (mut sent, mut received) = (input.len(), output.len());
        check(|err| unsafe {
            sys::calf_wire_exchange(
                self.handle,
                input.as_ptr().cast(),
                &mut sent,
                output.as_mut_ptr().cast(),
                &mut received,
                timeout.map_or(-1, c_ms),
                err,
            )
        })?;
        Ok((sent, received))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        unsafe { sys::calf_wire_close(self.handle, ptr::null_mut()) };
    }
}

/// A session, by libpq.  It ends with its Connection, or with the last Database of its directory.
#[derive(Debug)]
pub struct Connection {
    conn: *mut sys::PGconn,
}

unsafe impl Send for Connection {}

impl Connection {
    fn error(&self, res: *const sys::PGresult) -> QueryError {
        unsafe {
            QueryError {
                sqlstate: owned_text(sys::PQresultErrorField(res, sys::PG_DIAG_SQLSTATE)),
                text: owned_text(sys::PQerrorMessage(self.conn)).unwrap_or_default(),
            }
        }
    }

    /// Runs one statement, with `params` for $1 and so on, as text; None is NULL.
    pub fn exec(&mut self, sql: &str, params: &[Option<&str>]) -> Result<Rows, QueryError> {
        let refused = |e: Error| QueryError { sqlstate: None, text: e.text };
        let sql = c_string(sql.as_bytes()).map_err(refused)?;
        let params = params.iter().map(|param| c_option(param.map(str::as_bytes)));
        let params = params.collect::<Result<Vec<_>, _>>().map_err(refused)?;
        let values: Vec<_> = params.iter().map(pointer).collect();
        let rows = Rows {
            res: unsafe {
                sys::PQexecParams(
                    self.conn,
                    sql.as_ptr(),
                    values.len() as c_int,
                    ptr::null(),
                    values.as_ptr(),
                    ptr::null(),
                    ptr::null(),
                    0,
                )
            },
        };
        match unsafe { sys::PQresultStatus(rows.res) } {
            sys::PGRES_TUPLES_OK | sys::PGRES_COMMAND_OK => Ok(rows),
            _ => Err(self.error(rows.res)),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        unsafe { sys::PQfinish(self.conn) }
    }
}

/// What a statement gave.
#[derive(Debug)]
pub struct Rows {
    res: *mut sys::PGresult,
}

// Nobody changes a PGresult once it is there.
unsafe impl Send for Rows {}
unsafe impl Sync for Rows {}

impl Rows {
    pub fn len(&self) -> usize {
        unsafe { sys::PQntuples(self.res) as usize }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn columns(&self) -> usize {
        unsafe { sys::PQnfields(self.res) as usize }
    }

    /// A value as text, None for NULL.
    ///
    /// # Panics
    ///
    /// When there is no such row or column, and when the value is not UTF-8, which only happens in
    /// a database with the encoding SQL_ASCII or after `set client_encoding`: see `bytes()`.
    pub fn get(&self, row: usize, column: usize) -> Option<&str> {
        self.bytes(row, column).map(|bytes| std::str::from_utf8(bytes).expect("UTF-8"))
    }

    /// The same as bytes.
    pub fn bytes(&self, row: usize, column: usize) -> Option<&[u8]> {
        assert!(row < self.len() && column < self.columns(), "no value ({}, {})", row, column);
        let (row, column) = (row as c_int, column as c_int);
        unsafe {
            if sys::PQgetisnull(self.res, row, column) == 1 {
                return None;
            }
            let length = sys::PQgetlength(self.res, row, column) as usize;
            let value = sys::PQgetvalue(self.res, row, column).cast();
            Some(std::slice::from_raw_parts(value, length))
        }
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        unsafe { sys::PQclear(self.res) }
    }
}
