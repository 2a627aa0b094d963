//! calf.h, which is the manual, and what the crate calf needs of libpq-fe.h.
#![allow(non_camel_case_types)]

use std::os::raw::{c_char, c_int, c_long, c_longlong, c_void};

#[repr(C)]
pub struct calf_db {
    _private: [u8; 0],
}

#[repr(C)]
pub struct calf_error {
    pub code: c_int,
    pub text: [c_char; 1024],
}

#[repr(C)]
pub struct calf_options {
    pub size: usize,
    pub durability: c_int,
    pub settings: *const *const c_char,
    pub log_file: *const c_char,
    pub encoding: *const c_char,
    pub locale: *const c_char,
    pub no_checksums: c_int,
    pub superuser: *const c_char,
    pub icu_locale: *const c_char,
    pub log: Option<unsafe extern "C" fn(context: *mut c_void, line: *const c_char)>,
    pub log_context: *mut c_void,
    pub linger_ms: c_int,
    pub extension_path: *const c_char,
    pub listen: *const *const c_char,
}

#[repr(C)]
pub struct calf_wire {
    _private: [u8; 0],
}

#[repr(C)]
pub struct calf_status {
    pub state: c_int,
    pub pid: c_long,
    pub stock: c_int,
    pub since: c_longlong,
    pub uri: [c_char; 4096],
    pub socket_uri: [c_char; 4096],
}

#[repr(C)]
pub struct PGconn {
    _private: [u8; 0],
}

#[repr(C)]
pub struct PGresult {
    _private: [u8; 0],
}

pub const CONNECTION_OK: c_int = 0;
pub const PGRES_COMMAND_OK: c_int = 1;
pub const PGRES_TUPLES_OK: c_int = 2;
pub const PG_DIAG_SQLSTATE: c_int = b'C' as c_int;

extern "C" {
    pub fn calf_open(
        path: *const c_char,
        options: *const calf_options,
        db: *mut *mut calf_db,
        err: *mut calf_error,
    ) -> c_int;
    pub fn calf_close(db: *mut calf_db, mode: c_int, err: *mut calf_error) -> c_int;
    pub fn calf_healthy(db: *mut calf_db) -> c_int;
    pub fn calf_dsn(db: *mut calf_db) -> *const c_char;
    pub fn calf_directory(db: *mut calf_db) -> *const c_char;
    pub fn calf_version() -> *const c_char;
    pub fn calf_features() -> *const *const c_char;
    pub fn calf_listen(db: *mut calf_db, address: *const c_char, err: *mut calf_error) -> c_int;
    pub fn calf_unlisten(db: *mut calf_db, address: *const c_char, err: *mut calf_error) -> c_int;
    pub fn calf_uri(db: *mut calf_db) -> *const c_char;
    pub fn calf_run(
        db: *mut calf_db,
        argv: *const *const c_char,
        fds: *const c_int,
        exit_code: *mut c_int,
        err: *mut calf_error,
    ) -> c_int;
    pub fn calf_run_signal(db: *mut calf_db, signal: c_int, err: *mut calf_error) -> c_int;
    pub fn calf_snapshot(db: *mut calf_db, path: *const c_char, err: *mut calf_error) -> c_int;
    pub fn calf_clone(from: *const c_char, to: *const c_char, err: *mut calf_error) -> c_int;
    pub fn calf_wire_open(
        db: *mut calf_db,
        wire: *mut *mut calf_wire,
        err: *mut calf_error,
    ) -> c_int;
    pub fn calf_wire_exchange(
        wire: *mut calf_wire,
        input: *const c_void,
        in_size: *mut usize,
        output: *mut c_void,
        out_size: *mut usize,
        timeout_ms: c_int,
        err: *mut calf_error,
    ) -> c_int;
    pub fn calf_wire_close(wire: *mut calf_wire, err: *mut calf_error) -> c_int;
    pub fn calf_look(path: *const c_char, status: *mut calf_status, err: *mut calf_error) -> c_int;
    pub fn calf_data_dir(
        qualifier: *const c_char,
        organisation: *const c_char,
        application: *const c_char,
        buf: *mut c_char,
        size: usize,
        err: *mut calf_error,
    ) -> c_int;

    pub fn PQconnectdb(conninfo: *const c_char) -> *mut PGconn;
    pub fn PQfinish(conn: *mut PGconn);
    pub fn PQstatus(conn: *const PGconn) -> c_int;
    pub fn PQerrorMessage(conn: *const PGconn) -> *const c_char;
    pub fn PQsetClientEncoding(conn: *mut PGconn, encoding: *const c_char) -> c_int;
    pub fn PQexecParams(
        conn: *mut PGconn,
        command: *const c_char,
        n_params: c_int,
        param_types: *const u32,
        param_values: *const *const c_char,
        param_lengths: *const c_int,
        param_formats: *const c_int,
        result_format: c_int,
    ) -> *mut PGresult;
    pub fn PQclear(res: *mut PGresult);
    pub fn PQresultStatus(res: *const PGresult) -> c_int;
    pub fn PQresultErrorField(res: *const PGresult, field: c_int) -> *const c_char;
    pub fn PQntuples(res: *const PGresult) -> c_int;
    pub fn PQnfields(res: *const PGresult) -> c_int;
    pub fn PQgetisnull(res: *const PGresult, row: c_int, column: c_int) -> c_int;
    pub fn PQgetvalue(res: *const PGresult, row: c_int, column: c_int) -> *const c_char;
    pub fn PQgetlength(res: *const PGresult, row: c_int, column: c_int) -> c_int;
}
