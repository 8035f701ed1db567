//! Whether an installation is in good health: each thing that can be wrong is looked at by itself,
//! so that one failure hides no other.

use crate::{
    audit_log,
    configuration::{self, Told},
    folder::DataFolder,
    instance::{Custody, Instance},
    providers,
};
use audit::{Space, Started};
use futures_util::stream::{self, StreamExt as _};
use std::{
    fmt::Display,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    sync::Arc,
    time::Duration,
};
use store::ServerUrl;
use types::{Clock, Random};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Good,
    /// It works, and should be looked at.
    Warning,
    Bad,
}

/// What was found of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, in one word.
    pub check: &'static str,
    pub level: Level,
    pub what: String,
    /// Empty where nothing is to be done.
    pub remedy: String,
}

impl Finding {
    pub fn good(check: &'static str, what: impl Display) -> Self {
        Self { check, level: Level::Good, what: what.to_string(), remedy: String::new() }
    }

    pub fn warning(check: &'static str, what: impl Display, remedy: impl Display) -> Self {
        let (what, remedy) = (what.to_string(), remedy.to_string());
        Self { check, level: Level::Warning, what, remedy }
    }

    pub fn bad(check: &'static str, what: impl Display, remedy: impl Display) -> Self {
        Self { level: Level::Bad, ..Self::warning(check, what, remedy) }
    }
}

/// A data folder that has less left stops soon: the log refuses entries that it cannot write.
const LEAST_FREE: u64 = 256 << 20;
const LITTLE_FREE: u64 = 2 << 30;
/// The same in parts of a hundred: the levels at which a server gives its alarm.
pub const LITTLE_PERCENT: u64 = 10;
pub const LEAST_PERCENT: u64 = 5;
/// How far a clock may be behind what was logged already, and from the database's.
const MAX_SKEW: Duration = Duration::from_secs(30);
/// Providers that are asked at once, and for how long altogether.
const ASKED_AT_ONCE: usize = 8;
const ASKED_FOR: Duration = Duration::from_secs(20);

/// Looks at everything. Only what depends on something that failed is left out.
pub async fn examine(
    dir: &Path,
    server: Option<&ServerUrl>,
    custody: &Custody,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    told: Option<Told<'_>>,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let folder = match DataFolder::open_with(dir, server) {
        Ok(folder) => folder,
        Err(error) => {
            found.push(Finding::bad("folder", chain(&error), error.remedy().unwrap_or_default()));
            return found;
        }
    };
    found.push(private("folder", folder.dir(), "chmod 700"));
    // What was given as its name may be the key itself, and is shown only where it is a file's.
    let named = custody.file.as_deref();
    let is_key_missing = named.is_some_and(|file| std::fs::symlink_metadata(file).is_err());
    let recorded = named.map(Path::to_owned).map_or_else(|| folder.recorded_root_key(), Ok);
    found.push(match recorded {
        _ if named.is_none() && custody.credential.is_some() => {
            Finding::good("root key", "the service manager hands it over")
        }
        Ok(_) if is_key_missing => Finding::bad(
            "root key",
            "there is no file of the name that --root-key-file or WEIRGATE_ROOT_KEY_FILE gives",
            NAME_ROOT_KEY,
        ),
        Ok(file) => private("root key", &file, "chmod 600"),
        Err(error) => Finding::bad("root key", chain(&error), error.remedy().unwrap_or_default()),
    });
    found.push(space(folder.dir()));
    found.push(clock_of(&folder, clock.as_ref()));
    let (log, started) = log_of(&folder).await;
    found.push(log);
    if let Some(told) = told {
        found.extend(configuration_of(&folder, told, started.as_ref()));
    }
    if is_key_missing {
        return found;
    }
    match Instance::open(folder, custody.clone(), clock, random).await {
        Ok(instance) => {
            found.push(Finding::good("database", "it opens, and the root key fits"));
            found.extend(skew_of(&instance).await);
            found.extend(servers(&instance).await);
            if let Err(error) = instance.close().await {
                found.push(Finding::warning("database", chain(&error), "Look at the database."));
            }
        }
        Err(error) => {
            found.push(Finding::bad("database", chain(&error), error.remedy().unwrap_or_default()));
        }
    }
    found
}

const NAME_ROOT_KEY: &str =
    "Name its place with --root-key-file, or bring it back from where it is kept.";

/// What a server looks at beside its work, at no cost: who may reach folder and root key, the disk, the
/// clock.
pub fn glance(instance: &Instance) -> Vec<Finding> {
    let folder = &instance.folder;
    let mut found = vec![private("folder", folder.dir(), "chmod 700")];
    // A root key that was named at the start is not recorded, and not looked for.
    if let Ok(file) = folder.recorded_root_key() {
        found.push(private("root key", &file, "chmod 600"));
    }
    found.extend([space(folder.dir()), clock_of(folder, instance.clock.as_ref())]);
    found
}

/// Whether only its owner, who runs this, may reach it.
fn private(check: &'static str, path: &Path, mend: &str) -> Finding {
    let shown = path.display();
    let about = match std::fs::metadata(path) {
        Ok(about) => about,
        Err(error) => {
            return Finding::bad(check, format_args!("{shown}: {}", error.kind()), NAME_ROOT_KEY);
        }
    };
    let mode = about.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let what = format_args!("{shown} is open to others (mode {mode:o})").to_string();
        return Finding::bad(check, what, format_args!("Run: {mend} {shown}"));
    }
    if about.uid() != rustix::process::geteuid().as_raw() {
        let what = format_args!("{shown} belongs to another user ({})", about.uid()).to_string();
        return Finding::warning(check, what, "Run Weirgate as the user that owns its folder.");
    }
    Finding::good(check, format_args!("{shown}, mode {mode:o}"))
}

fn space(dir: &Path) -> Finding {
    const CHECK: &str = "disk";
    let looked = rustix::fs::statvfs(dir).map_err(std::io::Error::from);
    let (about, space) = match looked.and_then(|about| Ok((about, Space::of(dir)?))) {
        Ok(found) => found,
        Err(error) => return Finding::warning(CHECK, error, "Look at the file system."),
    };
    let is_without_files = about.f_files > 0 && about.f_favail < 1_000;
    let files = is_without_files.then_some(about.f_favail);
    judge_space(CHECK, space, files)
}

/// `files` that are left to make, if these are few.
fn judge_space(check: &'static str, space: Space, files: Option<u64>) -> Finding {
    let remedy = "Make room, or move the data folder to a larger file system.";
    let (free, percent) = (space.free, space.free_percent());
    let what = format!("{} MiB are free, {percent} %", free >> 20);
    if free < LEAST_FREE || percent < LEAST_PERCENT {
        Finding::bad(check, what, remedy)
    } else if let Some(files) = files {
        Finding::bad(check, format_args!("{files} files are left to make"), remedy)
    } else if free < LITTLE_FREE || percent < LITTLE_PERCENT {
        Finding::warning(check, what, remedy)
    } else {
        Finding::good(check, what)
    }
}

/// A clock that was set back would let what has expired live on.
fn clock_of(folder: &DataFolder, clock: &dyn Clock) -> Finding {
    const CHECK: &str = "clock";
    let now = clock.now();
    match audit_log::list(folder, 1) {
        Ok(newest) => match newest.first().map(|(_, record)| record.at()) {
            Some(at) if at.since(now) > MAX_SKEW => Finding::bad(
                CHECK,
                format_args!("it says {now}, and the log's newest entry is of {at}"),
                "Set the clock, and keep it by NTP.",
            ),
            _ => Finding::good(CHECK, format_args!("{now}, not before the log's newest entry")),
        },
        Err(_) => {
            Finding::warning(CHECK, "the log does not tell the time", "See the check `audit`.")
        }
    }
}

/// Nodes whose clocks differ do not agree on what has expired.
async fn skew_of(instance: &Instance) -> Option<Finding> {
    const CHECK: &str = "clock";
    let micros = match instance.clock_skew().await {
        Ok(skew) => skew?.as_micros(),
        Err(error) => {
            let what = format!("the database does not tell the time: {}", chain(&error));
            return Some(Finding::warning(CHECK, what, "See the check `database`."));
        }
    };
    let seconds = Duration::from_micros(micros.unsigned_abs()).as_secs_f64();
    let way = if micros < 0 { "behind" } else { "ahead of" };
    let what = format!("{seconds:.1} s {way} the database's");
    Some(if seconds > MAX_SKEW.as_secs_f64() {
        Finding::bad(CHECK, what, "Keep the clocks of all nodes and of the database by NTP.")
    } else {
        Finding::good(CHECK, what)
    })
}

/// Whether it is the one that a server last began with, and whom it makes trusted.
fn configuration_of(
    folder: &DataFolder,
    told: Told<'_>,
    started: Option<&Started>,
) -> Vec<Finding> {
    const CHECK: &str = "configuration";
    let now = match configuration::recorded(folder, told) {
        Ok(now) => now,
        Err(error) => {
            let remedy = error.remedy().unwrap_or_default();
            return vec![Finding::bad(CHECK, chain(&error), remedy)];
        }
    };
    let changed = started.and_then(|before| configuration::changed(before, &now));
    let mut found = Vec::new();
    found.extend(changed.map(|what| {
        let remedy = "Look at it, and at who changed it: the next start takes it. (What the server \
                      reads from an environment of its own is not seen here.)";
        Finding::warning(CHECK, what, remedy)
    }));
    found.extend(configuration::extra_roots(&now).map(|what| {
        let remedy = "Whoever holds one of their keys can pass for any provider: leave out what is \
                      not needed.";
        Finding::warning(CHECK, what, remedy)
    }));
    found
}

async fn log_of(folder: &DataFolder) -> (Finding, Option<Started>) {
    const CHECK: &str = "audit";
    match audit_log::verify_folder(folder.dir(), folder.server(), audit_log::Against::default())
        .await
    {
        Ok(found) => {
            let what = format!(
                "the log is whole: {} entries, {} open intents, {} waiting in the outbox",
                found.entries,
                found.open_intents,
                found.outbox_rows.unwrap_or_default()
            );
            (Finding::good(CHECK, what), found.started)
        }
        Err(error) => {
            (Finding::bad(CHECK, chain(&error), error.remedy().unwrap_or_default()), None)
        }
    }
}

/// Names and addresses of the providers' servers, and whether they answer.
async fn servers(instance: &Instance) -> Vec<Finding> {
    const CHECK: &str = "providers";
    let listed = match providers::list(instance).await {
        Ok(listed) => listed,
        Err(error) => {
            let remedy = error.remedy().unwrap_or_default();
            return vec![Finding::bad(CHECK, chain(&error), remedy)];
        }
    };
    let mut found = Vec::new();
    let mut reached = 0;
    let slugs = listed.iter().map(|provider| &provider.slug);
    let answers = ask_all(slugs, async |slug| (slug, providers::check(instance, slug).await)).await;
    let silent = listed.len() - answers.len();
    if silent > 0 {
        let what = format!(
            "{silent} of {} did not answer, or were not asked, within {} s",
            listed.len(),
            ASKED_FOR.as_secs()
        );
        let remedy = "Ask them one by one with `weirgate provider check`.";
        found.push(Finding::warning(CHECK, what, remedy));
    }
    for (slug, answer) in answers {
        let look = format!("Look closer with `weirgate provider check {slug}`.");
        match answer {
            Ok(checked) => {
                for server in checked {
                    match server.problem {
                        None => reached += 1,
                        Some(problem) => {
                            let what = format!("{slug}: {} {problem}", server.url);
                            found.push(Finding::warning(CHECK, what, &look));
                        }
                    }
                }
            }
            Err(error) => {
                found.push(Finding::warning(
                    CHECK,
                    format_args!("{slug}: {}", chain(&error)),
                    &look,
                ));
            }
        }
    }
    if found.is_empty() {
        let what = format!("{} imported, {reached} servers reached", listed.len());
        found.push(Finding::good(CHECK, what));
    }
    found
}

/// Asks all of them, so many at once; yields the answers that came in time, in order.
async fn ask_all<T, R>(all: impl IntoIterator<Item = T>, ask: impl AsyncFn(T) -> R) -> Vec<R> {
    let ask = &ask;
    let mut answers: Vec<(usize, R)> = stream::iter(all.into_iter().enumerate())
        .map(async |(place, one)| (place, ask(one).await))
        .buffer_unordered(ASKED_AT_ONCE)
        .take_until(tokio::time::sleep(ASKED_FOR))
        .collect()
        .await;
    answers.sort_by_key(|(place, _)| *place);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(&format!(": {source}"));
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use tokio::time::Instant;

    const GIB: u64 = 1 << 30;

    #[test]
    fn room_is_judged_by_bytes_and_by_parts() {
        let level = |free: u64, total: u64| judge_space("disk", Space { free, total }, None).level;
        assert_eq!(level(200 << 20, GIB), Level::Bad);
        assert_eq!(level(GIB, 2 * GIB), Level::Warning);
        assert_eq!(level(5 * GIB, 10 * GIB), Level::Good);
        assert_eq!(level(10 * GIB, 100 * GIB), Level::Good);
        assert_eq!(level(10 * GIB - 1, 100 * GIB), Level::Warning);
        assert_eq!(level(5 * GIB, 100 * GIB), Level::Warning);
        assert_eq!(level(5 * GIB - 1, 100 * GIB), Level::Bad);
        let few = judge_space("disk", Space { free: 5 * GIB, total: 10 * GIB }, Some(7));
        assert_eq!((few.level, few.what.as_str()), (Level::Bad, "7 files are left to make"));
    }

    /// Time is the test's own: nobody waits.
    #[tokio::test(start_paused = true)]
    async fn providers_are_asked_side_by_side_and_not_for_ever() {
        let (now, most) = (Cell::new(0), Cell::new(0));
        let ask = async |millis: u64| {
            now.set(now.get() + 1);
            most.set(most.get().max(now.get()));
            tokio::time::sleep(Duration::from_millis(millis)).await;
            now.set(now.get() - 1);
            millis
        };
        let begun = Instant::now();
        // Each in its place, whoever answers first; as long as the slowest takes.
        assert_eq!(ask_all([4_000, 1_000, 3_000], ask).await, [4_000, 1_000, 3_000]);
        assert_eq!((begun.elapsed(), most.get()), (Duration::from_secs(4), 3));
        // More than may be asked at once, each of them slow: what is not in time is left out.
        let begun = Instant::now();
        let answers = ask_all(std::iter::repeat_n(9_000, 100), ask).await;
        assert_eq!((begun.elapsed(), most.get()), (ASKED_FOR, ASKED_AT_ONCE));
        assert_eq!(answers.len(), 2 * ASKED_AT_ONCE);
    }
}
