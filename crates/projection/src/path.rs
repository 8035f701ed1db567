//! Paths as people write them: `address.city`, `jobs[].title`, `[].id`, `*.id`.

use std::{fmt, str::FromStr};

/// One step into a document.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Segment {
    Name(String),
    /// `*`: every member.
    AnyMember,
    /// `[]`: every element.
    Elements,
}

/// A non-empty sequence of segments.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path(Vec<Segment>);

/// Why a text is no path, with the 0-based byte where it stops being one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("a path is empty (byte {at})")]
    Empty { at: usize },
    #[error("a segment is empty (byte {at})")]
    EmptySegment { at: usize },
    #[error("a backslash stands before none of . [ ] \\ * , (byte {at})")]
    Escape { at: usize },
    #[error("`*` is a segment of its own (byte {at})")]
    Star { at: usize },
    #[error("`[` and `]` stand together, at the end of a segment (byte {at})")]
    Bracket { at: usize },
}

const ESCAPED: [char; 6] = ['.', '[', ']', '\\', '*', ','];

impl Path {
    /// `None` without a segment.
    pub fn from_segments(segments: Vec<Segment>) -> Option<Self> {
        (!segments.is_empty()).then_some(Self(segments))
    }

    pub fn parse(text: &str) -> Result<Self, PathError> {
        let mut paths = parse(text, false)?;
        paths.pop().ok_or(PathError::Empty { at: 0 })
    }

    pub fn segments(&self) -> &[Segment] {
        &self.0
    }
}

impl FromStr for Path {
    type Err = PathError;
    fn from_str(text: &str) -> Result<Self, PathError> {
        Self::parse(text)
    }
}

/// Reads paths that are separated by commas.
pub fn parse_list(text: &str) -> Result<Vec<Path>, PathError> {
    parse(text, true)
}

/// What may come next.
#[derive(PartialEq)]
enum Expect {
    /// The beginning of a path: a name, `*` or `[]`.
    Begin,
    /// After a dot: a name or `*`.
    Name,
    /// After a whole segment: a dot, `[]` or the end.
    Rest,
}

fn parse(text: &str, is_list: bool) -> Result<Vec<Path>, PathError> {
    let mut paths = Vec::new();
    let mut segments = Vec::new();
    let mut expect = Expect::Begin;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            ',' if is_list => {
                end(&mut paths, &mut segments, &expect, at)?;
                expect = Expect::Begin;
            }
            '[' => {
                if expect == Expect::Name || chars.next().map(|(_, c)| c) != Some(']') {
                    return Err(PathError::Bracket { at });
                }
                segments.push(Segment::Elements);
                expect = Expect::Rest;
            }
            ']' => return Err(PathError::Bracket { at }),
            '.' if expect == Expect::Rest => expect = Expect::Name,
            '.' => return Err(PathError::EmptySegment { at }),
            '*' if expect == Expect::Rest => return Err(PathError::Star { at }),
            '*' => {
                segments.push(Segment::AnyMember);
                expect = Expect::Rest;
                if chars.peek().is_some_and(|(_, c)| !matches!(c, '.' | '[' | ',')) {
                    return Err(PathError::Star { at });
                }
            }
            _ if expect == Expect::Rest => return Err(PathError::Bracket { at }),
            first => {
                let mut name = String::new();
                let mut next = Some((at, first));
                while let Some((at, c)) = next {
                    if c == '\\' {
                        let (_, escaped) = chars
                            .next()
                            .filter(|(_, c)| ESCAPED.contains(c))
                            .ok_or(PathError::Escape { at })?;
                        name.push(escaped);
                    } else if c == '*' {
                        return Err(PathError::Star { at });
                    } else if c == ',' && !is_list {
                        return Err(PathError::Escape { at });
                    } else {
                        name.push(c);
                    }
                    let is_over = |c: &char| matches!(c, '.' | '[' | ']') || (*c == ',' && is_list);
                    next = chars.next_if(|(_, c)| !is_over(c));
                }
                segments.push(Segment::Name(name));
                expect = Expect::Rest;
            }
        }
    }
    end(&mut paths, &mut segments, &expect, text.len())?;
    Ok(paths)
}

fn end(
    paths: &mut Vec<Path>,
    segments: &mut Vec<Segment>,
    expect: &Expect,
    at: usize,
) -> Result<(), PathError> {
    match expect {
        Expect::Begin => Err(PathError::Empty { at }),
        Expect::Name => Err(PathError::EmptySegment { at }),
        Expect::Rest => {
            paths.push(Path(std::mem::take(segments)));
            Ok(())
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, segment) in self.0.iter().enumerate() {
            if place > 0 && *segment != Segment::Elements {
                f.write_str(".")?;
            }
            fmt::Display::fmt(segment, f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnyMember => f.write_str("*"),
            Self::Elements => f.write_str("[]"),
            Self::Name(name) => {
                for c in name.chars() {
                    if ESCAPED.contains(&c) {
                        f.write_str("\\")?;
                    }
                    write!(f, "{c}")?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_read_back() {
        for text in [
            "a", "a.b", "a[]", "a[].b", "[]", "[].id", "[][].id", "a[][]", "*", "*.id", "a.*",
            "a.*.b[]", "*[]", r"a\.b", r"a\[\]", r"\*", r"a\,b", r"\\", " a b ", "ä.ö",
        ] {
            assert_eq!(Path::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(
            Path::parse(r"a\.b[].*").unwrap().segments(),
            [Segment::Name("a.b".into()), Segment::Elements, Segment::AnyMember]
        );
    }

    #[test]
    fn lists_split_at_unescaped_commas() {
        let paths = parse_list(r"a.b,c\,d[],*").unwrap();
        let texts: Vec<String> = paths.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["a.b", r"c\,d[]", "*"]);
    }

    #[test]
    fn malformed_paths_are_refused() {
        for text in [
            "", ".", ".a", "a.", "a..b", "a*", "*a", "a.*b", "a.b*", "**", "a[", "a]", "a[0]",
            "a[]b", "a.[]", "[", "]", r"\", r"a\", r"\n", r"a\b", "a[]]", "[]a", "a,b", "a.[].b",
        ] {
            assert!(Path::parse(text).is_err(), "{text}");
        }
        for text in ["", ",", "a,", ",a", "a,,b"] {
            assert!(parse_list(text).is_err(), "{text}");
        }
    }
}
