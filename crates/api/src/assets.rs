//! Files of the console, each under a name that changes with its content.

use std::sync::LazyLock;

const STYLE: &str = include_str!("../assets/style.css");

/// The path of the style sheet.
pub(crate) static STYLE_PATH: LazyLock<String> =
    LazyLock::new(|| format!("/assets/style-{:08x}.css", crc32fast::hash(STYLE.as_bytes())));

/// The file of this name, and its type.
pub(crate) fn file(name: &str) -> Option<(&'static str, &'static str)> {
    let own = STYLE_PATH.strip_prefix("/assets/");
    (own == Some(name)).then_some((STYLE, "text/css; charset=utf-8"))
}
