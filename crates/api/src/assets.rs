//! Files of the console, each under a name that changes with its content.

use std::sync::LazyLock;

const STYLE: &str = include_str!("../assets/style.css");
const PASSKEY: &str = include_str!("../assets/passkey.js");

/// The path of the style sheet.
pub(crate) static STYLE_PATH: LazyLock<String> = LazyLock::new(|| path("style", "css", STYLE));
/// Of the script that asks a device for a passkey; no other page has any.
pub(crate) static PASSKEY_PATH: LazyLock<String> = LazyLock::new(|| path("passkey", "js", PASSKEY));

fn path(name: &str, kind: &str, content: &str) -> String {
    format!("/assets/{name}-{:08x}.{kind}", crc32fast::hash(content.as_bytes()))
}

/// The file of this name, and its type.
pub(crate) fn file(name: &str) -> Option<(&'static str, &'static str)> {
    let is = |path: &str| path.strip_prefix("/assets/") == Some(name);
    match () {
        () if is(&STYLE_PATH) => Some((STYLE, "text/css; charset=utf-8")),
        () if is(&PASSKEY_PATH) => Some((PASSKEY, "text/javascript; charset=utf-8")),
        () => None,
    }
}
