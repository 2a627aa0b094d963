use calf::{Code, Connection, Database, Durability, Mode, Options, State};
use std::net::TcpListener;
use std::os::unix::io::{AsFd, AsRawFd};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};
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

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[test]
fn options_are_calfs() {
    let scratch = Scratch::new("options");
    fs::write(scratch.0.join("one.control"), "default_version = '1'\n").unwrap();
    let script = "create function one() returns int return 1;\n";
    fs::write(scratch.0.join("one--1.sql"), script).unwrap();
    let options = Options {
        superuser: Some("anna".into()),
        icu_locale: Some("sv".into()),
        extension_path: Some(scratch.0.clone()),
        listen: vec!["tcp:0".into()],
        log: Some(|line| {
            LINES.lock().unwrap().push(line.into());
            assert!(!line.contains("hello, log"), "this panic ends here");
        }),
        ..Options::default()
    };
    let db = Database::temporary(options.clone()).unwrap();
    assert!(db.uri().unwrap().starts_with("postgresql://anna@127.0.0.1:"));
    let mut conn = db.connect().unwrap();
    conn.exec("create extension one", &[]).unwrap();
    conn.exec("do $$ begin raise log 'hello, log'; end $$", &[]).unwrap();
    let all = "select current_user || one() || string_agg(c, '' order by c)
               from unnest('{z,ä,ö}'::text[]) c";
    assert_eq!(ask(&mut conn, all), "anna1zäö");
    db.close(Mode::Fast).unwrap();
    assert!(LINES.lock().unwrap().iter().any(|line| line.contains("hello, log")));
    let absent = Some(scratch.0.join("absent"));
    let error = Database::temporary(Options { extension_path: absent, ..Options::default() });
    assert_eq!(error.unwrap_err().code, Code::Misuse);
    let error = Database::temporary(Options { listen: vec!["nowhere".into()], ..options });
    assert_eq!(error.unwrap_err().code, Code::Misuse);
}

#[test]
fn who_has_a_directory_open() {
    let scratch = Scratch::new("look");
    let path = scratch.0.join("data");
    let absent = calf::look(&path).unwrap();
    assert_eq!((absent.state, absent.pid, absent.since), (State::Absent, None, None));
    let options = Options { linger: Duration::from_secs(3600), ..Options::default() };
    let db = Database::open(&path, options).unwrap();
    let seen = calf::look(&path).unwrap();
    assert_eq!((seen.state, seen.pid), (State::Open, Some(std::process::id())));
    assert_eq!((seen.stock, seen.uri), (false, None));
    let open_for = SystemTime::now().duration_since(seen.since.unwrap()).unwrap();
    assert!(open_for < Duration::from_secs(600));
    db.listen(scratch.0.join("s").to_str().unwrap()).unwrap();
    let mine = TcpListener::bind("127.0.0.1:0").unwrap();
    db.listen(&format!("fd:{}", mine.as_raw_fd())).unwrap();
    let seen = calf::look(&path).unwrap();
    assert!(seen.uri == db.uri() && seen.socket_uri.unwrap().contains("?host="));
    drop(db); // it lingers
    assert_eq!(calf::look(&path).unwrap().state, State::Open);
    for (mode, state) in [(Mode::Immediate, State::Crashed), (Mode::Fast, State::Closed)] {
        Database::open(&path, Options::default()).unwrap().close(mode).unwrap();
        assert_eq!(calf::look(&path).unwrap().state, state);
    }
    assert_eq!(calf::look(&scratch.0).unwrap_err().code, Code::Foreign);
}

#[test]
fn copies() {
    let scratch = Scratch::new("copies");
    let [path, copy, clone] = ["data", "copy", "clone"].map(|name| scratch.0.join(name));
    let db = Database::open(&path, Options::default()).unwrap();
    db.connect().unwrap().exec("create table t as select 42 as n", &[]).unwrap();
    db.snapshot(&copy).unwrap();
    assert_eq!(calf::clone(&path, &clone).unwrap_err().code, Code::Held);
    drop(db);
    calf::clone(&copy, &clone).unwrap();
    let db = Database::open(&clone, Options::default()).unwrap();
    assert_eq!(ask(&mut db.connect().unwrap(), "select n from t"), "42");
}

#[test]
fn a_signal_for_a_program() {
    const SIGINT: i32 = 2;
    let db = temporary();
    let mut conn = db.connect().unwrap();
    let null = fs::OpenOptions::new().read(true).write(true).open("/dev/null").unwrap();
    let fds = || [null.as_fd(), null.as_fd(), null.as_fd()];
    let sleep = ["psql", "-Xc", "select pg_sleep(1000)"];
    thread::scope(|scope| {
        let psql = scope.spawn(|| db.run(&sleep, fds()).unwrap());
        let sleeping = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'";
        while ask(&mut conn, sleeping) != "1" {}
        calf::run_signal(SIGINT).unwrap(); // nobody's
        db.run_signal(SIGINT).unwrap(); // psql cancels its query
        assert_eq!(psql.join().unwrap(), 1);
    });
    assert_eq!(db.run_signal(0).unwrap_err().code, Code::Misuse);
    assert_eq!(calf::run(&["pg_controldata", "-V"], fds()).unwrap(), 0);
    assert_eq!(calf::run(&["none"], fds()).unwrap_err().code, Code::Install);
}

#[test]
fn a_wire_carries_the_protocol() {
    let db = temporary();
    let mut wire = db.wire().unwrap();
    assert_eq!(wire.exchange(&[], &mut [0], Some(Duration::ZERO)).unwrap(), (0, 0));
    let mut talk = |mut input: &[u8]| {
        let mut answer = Vec::new();
        while !input.is_empty() || !answer.ends_with(b"Z\0\0\0\x05I") {
            let mut output = [0; 100];
            let (sent, received) = wire.exchange(input, &mut output, None).unwrap();
            input = &input[sent..];
            answer.extend(&output[..received]);
        }
        String::from_utf8_lossy(&answer).into_owned()
    };
    let sized = |text: &str| {
        let length = (text.len() as u32 + 4).to_be_bytes();
        [&length[..], text.as_bytes()].concat()
    };
    talk(&sized("\0\x03\0\0user\0postgres\0database\0postgres\0\0"));
    let query = [b"Q", &sized("select 'forty-' || 'two'\0")[..]].concat();
    assert!(talk(&query).contains("forty-two"));
    drop(db);
    let error = loop {
        if let Err(error) = wire.exchange(&[], &mut [0; 100], None) {
            break error;
        }
    };
    assert_eq!(error.code, Code::Ended);
}

#[test]
fn what_needs_no_database() {
    assert!(calf::features().contains(&"zlib".to_string()));
    assert!(calf::data_dir(Some("com"), Some("acme"), "notes").unwrap().ends_with("acme/notes"));
    assert_eq!(calf::data_dir(None, None, "a/b").unwrap_err().code, Code::Misuse);
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
