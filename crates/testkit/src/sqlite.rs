//! Somebody at a SQLite file by hand, as with the `sqlite3` shell: by Python's module, which is where
//! Python is.

use std::{io, path::Path, process::Command};

const PROGRAM: &str = "
import sqlite3, sys
base = sqlite3.connect(sys.argv[1], timeout=10)
rows = []
for statement in sys.argv[2:]:
    rows = base.execute(statement).fetchall()
base.commit()
for row in rows:
    print('|'.join('' if value is None else str(value) for value in row))
";

/// Runs statements in one transaction and yields the rows of the last, a line each. `None` where
/// there is no Python.
pub fn sqlite(database: &Path, statements: &[&str]) -> io::Result<Option<String>> {
    let ran = Command::new("python3").args(["-c", PROGRAM]).arg(database).args(statements).output();
    match ran {
        Ok(output) if output.status.success() => {
            Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned()))
        }
        Ok(output) => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
