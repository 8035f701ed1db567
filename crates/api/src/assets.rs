//! Files of the console, each under a name that changes with its content.

use std::sync::LazyLock;

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// A file that is built in.
#[derive(Debug)]
pub(crate) struct Asset {
    pub path: String,
    text: &'static str,
    kind: &'static str,
}

impl Asset {
    fn new(name: &str, ending: &str, text: &'static str) -> Self {
        let path = format!("/assets/{name}-{:08x}.{ending}", crc32fast::hash(text.as_bytes()));
        Self { path, text, kind: if ending == "css" { CSS } else { SCRIPT } }
    }
}

/// The style sheet of every page.
pub(crate) static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("style", "css", include_str!("../assets/style.css")));
/// Asks a device for a passkey.
pub(crate) static PASSKEY: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("passkey", "js", include_str!("../assets/passkey.js")));
/// Follows calls.
pub(crate) static CALLS: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("calls", "js", include_str!("../assets/calls.js")));
/// Draws what home's table says, by the two after it.
pub(crate) static HOME: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("home", "js", include_str!("../assets/home.js")));
pub(crate) static CHART: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("uplot", "js", include_str!("../assets/vendor/uPlot.iife.min.js")));
pub(crate) static CHART_STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("uplot", "css", include_str!("../assets/vendor/uPlot.min.css")));

/// The file of this name, and its type.
pub(crate) fn file(name: &str) -> Option<(&'static str, &'static str)> {
    let all = [&*STYLE, &*PASSKEY, &*CALLS, &*HOME, &*CHART, &*CHART_STYLE];
    let found = all.into_iter().find(|one| one.path.strip_prefix("/assets/") == Some(name))?;
    Some((found.text, found.kind))
}
