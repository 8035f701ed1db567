//! Pages of a list: where one begins, and the URLs of its neighbours.
//!
//! Records are never deleted and never change places, so a cursor names a place in the list and a
//! walk sees every record that existed at its start exactly once, also while others are written.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// Records on a page where the caller says nothing.
pub(crate) const DEFAULT_LIMIT: usize = 10;
/// Most records on a page.
pub(crate) const MAX_LIMIT: usize = 100;
/// Longest cursor that is looked at, in bytes.
const MAX_CURSOR_BYTES: usize = 64;

/// Where a page begins or ends: beyond a place in the whole list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cursor {
    After(usize),
    Before(usize),
}

impl Cursor {
    pub(crate) fn encode(self) -> String {
        URL_SAFE_NO_PAD.encode(match self {
            Self::After(place) => format!("after:{place}"),
            Self::Before(place) => format!("before:{place}"),
        })
    }

    pub(crate) fn decode(text: &str) -> Option<Self> {
        if text.len() > MAX_CURSOR_BYTES {
            return None;
        }
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let (side, place) = text.split_once(':')?;
        let place = place.parse().ok()?;
        match side {
            "after" => Some(Self::After(place)),
            "before" => Some(Self::Before(place)),
            _ => None,
        }
    }
}

/// One page: places in the list, and the cursors of its neighbours.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) places: Vec<usize>,
    pub(crate) next: Option<Cursor>,
    pub(crate) previous: Option<Cursor>,
    /// Records on all pages.
    pub(crate) total: usize,
}

/// Cuts the page out of `matching`, the ascending places of the records that the caller asks for.
pub(crate) fn cut(matching: &[usize], cursor: Option<Cursor>, limit: usize) -> Page {
    let (start, end) = match cursor {
        None => (0, limit),
        Some(Cursor::After(place)) => {
            let start = matching.partition_point(|found| *found <= place);
            (start, start.saturating_add(limit))
        }
        Some(Cursor::Before(place)) => {
            let end = matching.partition_point(|found| *found < place);
            (end.saturating_sub(limit), end)
        }
    };
    let end = end.min(matching.len());
    let places = matching.get(start..end).unwrap_or_default().to_vec();
    Page {
        next: places.last().filter(|_| end < matching.len()).map(|last| Cursor::After(*last)),
        previous: places.first().filter(|_| start > 0).map(|first| Cursor::Before(*first)),
        places,
        total: matching.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_visit_every_place_once() {
        let matching: Vec<usize> = (0..23).filter(|place| place % 3 != 1).collect();
        for limit in 1..=25 {
            let (mut forth, mut cursor) = (Vec::<usize>::new(), None);
            let mut last = loop {
                let page = cut(&matching, cursor, limit);
                forth.extend(&page.places);
                cursor = page.next;
                if cursor.is_none() {
                    break page;
                }
            };
            assert_eq!(forth, matching, "limit {limit}");
            let mut back = last.places.clone();
            while let Some(previous) = last.previous {
                last = cut(&matching, Some(previous), limit);
                back.splice(0..0, last.places.iter().copied());
            }
            assert_eq!(back, matching, "limit {limit}");
        }
        assert_eq!(
            cut(&[], None, 5),
            Page { places: vec![], next: None, previous: None, total: 0 }
        );
    }

    #[test]
    fn cursors_read_back_and_strange_ones_are_refused() {
        for cursor in [Cursor::After(0), Cursor::Before(99), Cursor::After(usize::MAX)] {
            assert_eq!(Cursor::decode(&cursor.encode()), Some(cursor));
        }
        for bad in ["", "x", "YWZ0ZXI6LTE", "c2lkZTox", &"A".repeat(65)] {
            assert_eq!(Cursor::decode(bad), None, "{bad}");
        }
    }
}
