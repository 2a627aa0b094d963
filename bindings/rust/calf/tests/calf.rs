use calf::{Code, Connection, Database, Durability, Mode, Options};
use std::os::unix::io::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;
use std::{env, fs, io, thread};

/// A directory that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = env::temp_dir().join(format!("calf-rust-{}-{}", name, std::process::id()));
        fs::create_dir(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn temporary() -> Database {
    Database::temporary(Options::default()).unwrap()
}

fn ask(conn: &mut Connection, sql: &str) -> String {
    conn.exec(sql, &[]).unwrap().get(0, 0).unwrap().to_string()
}

#[test]
fn a_temporary_database_is_gone_when_closed() {
    let db = temporary();
    let dir = db.directory();
    assert!(db.healthy() && dir.is_dir() && calf::version().contains("PostgreSQL"));
    let mut conn = db.connect().unwrap();
    let rows = conn.exec("select $1::int * 7, current_user, $2::text", &[Some("6"), None]).unwrap();
    assert_eq!((rows.len(), rows.columns(), rows.is_empty()), (1, 3, false));
    assert_eq!(
        [rows.get(0, 0), rows.get(0, 1), rows.get(0, 2)],
        [Some("42"), Some("postgres"), None]
    );
    drop(conn);
    assert_eq!(rows.bytes(0, 0), Some(&b"42"[..])); // rows outlive the session
    db.close(Mode::Smart).unwrap();
    assert!(!dir.exists());
    let db = temporary();
    let dir = db.directory();
    drop(db);
    assert!(!dir.exists());
}

#[test]
fn a_directory_is_kept_and_shared() {
    let scratch = Scratch::new("kept");
    let path = scratch.0.join("data ü");
    let options = Options {
        settings: vec!["work_mem=9MB".into()],
        durability: Durability::Relaxed,
        encoding: Some("LATIN1".into()),
        locale: Some("C".into()),
        ..Options::default()
    };
    let one = Database::open(&path, options).unwrap();
    let two = Database::open(&path, Options::default()).unwrap();
    one.connect().unwrap().exec("create table t as select 'ä' as s", &[]).unwrap();
    drop(one);
    let mut conn = two.connect().unwrap();
    let all =
        "select s || current_setting('work_mem') || current_setting('synchronous_commit') from t";
    assert_eq!(ask(&mut conn, all), "ä9MBoff"); // as UTF-8, whatever the database's encoding is
    assert_eq!(two.directory(), path);
}

#[test]
fn errors_have_a_code_and_a_sentence() {
    let error = Database::open("/etc", Options::default()).unwrap_err();
    assert_eq!(error.code, Code::Foreign);
    assert!(error.to_string().contains("/etc"));
    let options = Options { settings: vec!["work_mem=nonsense".into()], ..Options::default() };
    let error = Database::temporary(options).unwrap_err();
    assert!(error.code == Code::Failed && error.text.contains("nonsense"));
    assert_eq!(Database::open("a\0b", Options::default()).unwrap_err().code, Code::Misuse);
    let db = temporary();
    assert_eq!(db.listen("nowhere").unwrap_err().code, Code::Misuse);
    let mut conn = db.connect().unwrap();
    let error = conn.exec("select 1/0", &[]).unwrap_err();
    assert_eq!(
        (error.sqlstate.as_deref(), error.to_string().as_str()),
        (Some("22012"), "ERROR:  division by zero")
    );
    db.close(Mode::Fast).unwrap();
    assert!(conn.exec("select 1", &[]).is_err()); // its database was closed
}

#[test]
fn threads_share_a_database() {
    let db = temporary();
    db.connect().unwrap().exec("create table t (n int)", &[]).unwrap();
    thread::scope(|scope| {
        for n in 0..8 {
            let db = &db;
            scope.spawn(move || {
                let mut conn = db.connect().unwrap();
                for i in 0..50 {
                    let n = (n * 50 + i).to_string();
                    conn.exec("insert into t values ($1::int)", &[Some(&n)]).unwrap();
                }
            });
        }
    });
    assert_eq!(ask(&mut db.connect().unwrap(), "select count(distinct n) from t"), "400");
}

#[test]
fn other_processes_and_programs() {
    let scratch = Scratch::new("run");
    let db = temporary();
    assert_eq!(db.uri(), None);
    db.listen("tcp:0").unwrap();
    assert!(db.uri().unwrap().starts_with("postgresql://postgres@127.0.0.1:"));
    db.unlisten(None).unwrap();
    assert_eq!(db.uri(), None);
    let out = fs::File::create(scratch.0.join("out")).unwrap();
    let (stdin, stderr) = (io::stdin(), io::stderr());
    let code =
        db.run(&["psql", "-XAtc", "select 42"], [stdin.as_fd(), out.as_fd(), stderr.as_fd()]);
    assert_eq!(code.unwrap(), 0);
    assert_eq!(fs::read_to_string(scratch.0.join("out")).unwrap(), "42\n");
    assert_eq!(Command::new("echo").arg("yes").output().unwrap().stdout, b"yes\n");
}

/// Rust reports a stack that overflows from its handler for SIGSEGV, and then aborts: by SIGABRT, or by SIGSEGV where
/// the frame of calf's handler for SIGABRT does not fit on Rust's signal stack of 8 KB as well.
#[test]
fn an_overflow_of_ours_is_reported_by_rust() {
    const WHAT: &str = "an_overflow_of_ours_is_reported_by_rust";
    const PATH: &str = "CALF_TEST_OVERFLOW";
    #[allow(unconditional_recursion)]
    fn endless(n: u64) -> u64 {
        let room = [n; 64];
        endless(n + 1) + unsafe { std::ptr::read_volatile(&room[0]) }
    }
    if let Some(path) = env::var_os(PATH) {
        let _db = Database::open(path, Options::default()).unwrap();
        endless(0);
    }
    let scratch = Scratch::new("overflow");
    let child = Command::new(env::current_exe().unwrap())
        .args([WHAT, "--exact", "--nocapture"])
        .env(PATH, scratch.0.join("data"))
        .output()
        .unwrap();
    let said = String::from_utf8(child.stderr).unwrap();
    assert!(said.contains("has overflowed its stack"), "{}", said);
    assert!(child.status.signal().is_some());
}
