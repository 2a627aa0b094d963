//! A database in ten lines: cargo run --example hello [DIRECTORY]

use calf::{Database, Options};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let db = match std::env::args_os().nth(1) {
        Some(path) => Database::open(path, Options::default())?,
        None => Database::temporary(Options::default())?,
    };
    let mut conn = db.connect()?;
    let rows =
        conn.exec("select $1 || split_part(version(), ' on ', 1)", &[Some("hello from ")])?;
    println!("{}", rows.get(0, 0).unwrap());
    Ok(())
}
