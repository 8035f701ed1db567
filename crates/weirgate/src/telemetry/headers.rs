//! Headers that authenticate us to a collector.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::{fmt, fs, io, os::unix::fs::PermissionsExt as _, path::Path};
use zeroize::Zeroizing;

/// The most bytes of a file of headers.
const MAX_FILE_BYTES: u64 = 64 * 1_024;

/// Why a file of headers is refused. Names lines, never what stands in them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeadersError {
    #[error("it cannot be read")]
    Unreadable(#[source] io::Error),
    #[error("others than its owner and group may read it")]
    Open,
    #[error("it is longer than {MAX_FILE_BYTES} bytes, or no text")]
    NoText,
    #[error("line {line} is no header of the form `Name: value`")]
    Malformed { line: usize },
    #[error("line {line} sets a header that the export sets itself")]
    Ours { line: usize },
}

const OURS: [HeaderName; 8] = [
    header::HOST,
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::ACCEPT_ENCODING,
];

/// Headers that authenticate us to the collector. Not printed.
#[derive(Clone, Default)]
pub(crate) struct Headers(pub(super) HeaderMap);

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Headers").field("count", &self.0.len()).finish_non_exhaustive()
    }
}

impl Headers {
    /// One `Name: value` a line; empty lines and those that begin with `#` count for nothing.
    pub(crate) fn read(path: &Path) -> Result<Self, HeadersError> {
        let facts = fs::metadata(path).map_err(HeadersError::Unreadable)?;
        if facts.permissions().mode() & 0o007 != 0 {
            return Err(HeadersError::Open);
        }
        if facts.len() > MAX_FILE_BYTES {
            return Err(HeadersError::NoText);
        }
        let text = fs::read_to_string(path).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => HeadersError::NoText,
            _ => HeadersError::Unreadable(error),
        });
        Self::parse(&Zeroizing::new(text?))
    }

    fn parse(text: &str) -> Result<Self, HeadersError> {
        let mut headers = HeaderMap::new();
        for (index, line) in text.lines().enumerate() {
            let line_number = index + 1;
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let malformed = || HeadersError::Malformed { line: line_number };
            let (name, value) = line.split_once(':').ok_or_else(malformed)?;
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| malformed())?;
            let mut value = HeaderValue::from_str(value.trim()).map_err(|_| malformed())?;
            value.set_sensitive(true);
            if OURS.contains(&name) {
                return Err(HeadersError::Ours { line: line_number });
            }
            headers.append(name, value);
        }
        Ok(Self(headers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_and_never_shown() {
        let text = "# for the vendor\nAuthorization: Bearer canary-word\r\n\nx-team:  a:b \n";
        let headers = Headers::parse(text).unwrap();
        assert_eq!(headers.0["authorization"], "Bearer canary-word");
        assert_eq!(headers.0["x-team"], "a:b");
        assert!(!format!("{headers:?} {:?}", headers.0).contains("canary"));
        for (bad, line) in [("a: b\ncanary-word", 2), ("a b: c", 1), (": c", 1)] {
            let refused = Headers::parse(bad).unwrap_err();
            assert!(matches!(refused, HeadersError::Malformed { line: found } if found == line));
            assert!(!format!("{refused} {refused:?}").contains("canary"), "{refused:?}");
        }
        let ours = Headers::parse("Content-Length: 5").unwrap_err();
        assert!(matches!(ours, HeadersError::Ours { line: 1 }));
    }

    #[test]
    fn a_file_that_all_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("headers");
        fs::write(&path, "a: b").unwrap();
        for (mode, is_read) in [(0o644, false), (0o604, false), (0o640, true), (0o400, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(Headers::read(&path).is_ok(), is_read, "{mode:o}");
        }
    }
}
