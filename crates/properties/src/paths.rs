//! A path has one spelling, and reads back from it.

use crate::input::text;
use projection::{Path, Segment, parse_list};

pub(crate) fn hold(data: &[u8]) -> bool {
    let Some(text) = text(data) else { return false };
    // Any names, one a line, whatever they are made of.
    let segments = text.split('\n').filter(|name| !name.is_empty()).map(|name| match name {
        "*" => Segment::AnyMember,
        "[]" => Segment::Elements,
        name => Segment::Name(name.to_owned()),
    });
    if let Some(path) = Path::from_segments(segments.collect()) {
        assert_eq!(Path::parse(&path.to_string()).as_ref(), Ok(&path));
        assert_eq!(parse_list(&path.to_string()), Ok(vec![path]));
    }
    if let Ok(path) = Path::parse(text) {
        assert_eq!(path.to_string(), text);
        assert_eq!(parse_list(text), Ok(vec![path]));
    }
    let Ok(list) = parse_list(text) else { return false };
    let spelled: Vec<String> = list.iter().map(ToString::to_string).collect();
    assert_eq!(spelled.join(","), text);
    for (path, text) in list.iter().zip(&spelled) {
        assert_eq!(Path::parse(text).as_ref(), Ok(path));
    }
    true
}
