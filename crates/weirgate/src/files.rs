//! Open files: as many as the system lets us have, shared out so that callers can never take those
//! that the audit log, the store and the providers' connections need.

use crate::output::{FAILED, Failure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For the log, the store, the listeners, standard streams and the runtime.
const OWN: usize = 64;
/// For a core: its listener, its runtime, and a resolver's socket now and then.
const PER_CORE: usize = 8;
/// Fewer callers at once than this are no service.
const FEWEST_CALLERS: usize = 16;
/// More callers on a core than this are not served at once.
const MOST_CALLERS_PER_CORE: usize = 16_384;
/// More connections to providers than this are not kept idle by a core.
const MOST_IDLE_PER_CORE: usize = 1_024;
const MOST_CONSOLE: usize = 256;

/// How the process's open files are shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    /// Connections of callers at once, on one core. Each may need one to a provider besides.
    pub callers_per_core: usize,
    /// Connections to providers that a core keeps idle.
    pub idle_per_core: usize,
    /// Connections at once on the console's port.
    pub console: usize,
}

/// Raises the soft limit of open files to the hard one, and shares out what that gives.
pub(crate) fn raise(cores: usize) -> Result<Share, Failure> {
    let given = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: given.maximum, maximum: given.maximum };
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files cannot be raised");
            given.current
        }
    };
    let files = limit.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
    let share = share(files, cores).ok_or_else(|| {
        Failure::new(
            FAILED,
            format!("{files} open files are too few for a server on {cores} cores"),
            format!("Raise the hard limit of open files (`ulimit -Hn`, LimitNOFILE=) to {} or more, or lower `cores`.", least(cores)),
        )
    })?;
    tracing::info!(files, callers = share.callers_per_core * cores, "open files are shared out");
    Ok(share)
}

fn share(files: usize, cores: usize) -> Option<Share> {
    let cores = cores.max(1);
    let console = (files / 16).min(MOST_CONSOLE);
    // A caller's connection, the provider's beside it, and half as many idle ones.
    let rest = files.checked_sub(OWN + PER_CORE * cores + console)?;
    let callers_per_core = (rest / 5 * 2 / cores).min(MOST_CALLERS_PER_CORE);
    let idle_per_core = (rest / 5 / cores).min(MOST_IDLE_PER_CORE);
    (callers_per_core * cores >= FEWEST_CALLERS && callers_per_core > 0).then_some(Share {
        callers_per_core,
        idle_per_core,
        console,
    })
}

/// The fewest files that are enough.
fn least(cores: usize) -> usize {
    let mut files = 64;
    while share(files, cores).is_none() {
        files += 64;
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_out_never_exceeds_what_there_is() {
        for cores in [1, 2, 7, 64, 256] {
            let mut last = 0;
            for files in (0..3_000).chain([4_096, 65_536, 1 << 20, usize::MAX]) {
                let Some(share) = share(files, cores) else {
                    assert!(files < least(cores), "{files} files, {cores} cores");
                    continue;
                };
                let Share { callers_per_core, idle_per_core, console } = share;
                let used = (2 * callers_per_core + idle_per_core) * cores + console;
                assert!(used + OWN + PER_CORE * cores <= files, "{files} files, {cores} cores");
                assert!(console > 0 && callers_per_core >= last);
                last = callers_per_core;
            }
            assert_eq!(last, MOST_CALLERS_PER_CORE);
        }
        assert_eq!(share(1_024, 2).map(|share| share.callers_per_core), Some(176));
    }
}
