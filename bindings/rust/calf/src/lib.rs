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
use std::os::raw::{c_char, c_int};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::io::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::{Mutex, MutexGuard};

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
        _ => Code::System,
    };
    let text = unsafe { owned_text(err.text.as_ptr()) }.unwrap_or_default();
    Err(Error { code, text })
}

pub fn version() -> String {
    unsafe { owned_text(sys::calf_version()) }.unwrap_or_default()
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
        let path = c_option(path.map(|path| path.as_os_str().as_bytes()))?;
        let settings = options.settings.iter().map(|s| c_string(s.as_bytes()));
        let settings = settings.collect::<Result<Vec<_>, _>>()?;
        let settings = (list(&settings), settings);
        let log_file = c_option(options.log_file.as_ref().map(|f| f.as_os_str().as_bytes()))?;
        let encoding = c_option(options.encoding.as_ref().map(|s| s.as_bytes()))?;
        let locale = c_option(options.locale.as_ref().map(|s| s.as_bytes()))?;
        let options = sys::calf_options {
            size: std::mem::size_of::<sys::calf_options>(),
            durability: options.durability as c_int,
            settings: settings.0.as_ptr(),
            log_file: pointer(&log_file),
            encoding: pointer(&encoding),
            locale: pointer(&locale),
            no_checksums: options.no_checksums as c_int,
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

    /// Lets other processes in: `uri()` is for them.
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
        let argv = argv.iter().map(|arg| c_string(arg.as_bytes()));
        let argv = argv.collect::<Result<Vec<_>, _>>()?;
        let (pointers, fds) = (list(&argv), fds.map(|fd| fd.as_raw_fd()));
        let mut code = 0;
        check(|err| unsafe {
            sys::calf_run(self.handle, pointers.as_ptr(), fds.as_ptr(), &mut code, err)
        })?;
        Ok(code)
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
