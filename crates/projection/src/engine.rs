//! The machine: takes bytes, gives back the bytes that may pass.
//!
//! Every byte of the input goes through the grammar of RFC 8259, in dropped parts too. What may pass
//! is decided at the first byte of a value, when its name and kind are known.

use crate::{
    path::Segment,
    refusal::{Refusal, RefusalKind},
    spec::{Action, Member, ScalarRule, Spec, WordsId},
    string::{Decoded, Progress, StringReader},
};
use std::{collections::BTreeSet, fmt};

/// Bounds on memory.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The outermost container is depth 1.
    pub max_depth: usize,
    /// The longest string that is rewritten, decoded; a longer one is dropped.
    pub max_rewrite_bytes: usize,
    /// The longest name under `*`, decoded, and with [`Mode::Refuse`]; a longer one is refused.
    pub max_name_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_depth: 128, max_rewrite_bytes: 8 * 1_024, max_name_bytes: 1_024 * 1_024 }
    }
}

/// What happens to what is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It is left out.
    Drop,
    /// The document is refused, with the path of the first such member or element.
    Refuse,
}

/// Changes the strings that [`crate::Edge::Rewrite`] and [`crate::Edge::Link`] lead to.
pub trait Rewriter {
    /// The text to put in the place of `text`; `None` drops the member.
    fn rewrite(&mut self, text: &str) -> Option<String>;

    /// The same where only a reference may stand: `None` for everything else.
    fn link(&mut self, text: &str) -> Option<String>;
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Members and elements that were not declared. What lies within one is not counted.
    pub dropped: u64,
    /// Values that were dropped because their kind did not fit.
    pub mismatched: u64,
    /// Marks of [`crate::Edge::Withhold`] that were met, ascending.
    pub withheld: Vec<u32>,
    /// A bit for each name of [`Spec::noted`] that was met where it may pass.
    pub noted: Vec<u64>,
    pub input_bytes: u64,
}

/// A projection under way.
pub struct Projector {
    spec: Spec,
    limits: Limits,
    mode: Mode,
    rewriter: Option<Box<dyn Rewriter>>,
    state: State,
    frames: Vec<Frame>,
    /// One bit for each tracked member of each open object that is projected.
    seen: Vec<u64>,
    /// Length of the input before the current chunk.
    offset: u64,
    name: Name,
    /// What the next value is allowed.
    next: Next,
    /// Where in the current chunk the value begins that is copied.
    copy_from: Option<usize>,
    text: Decoded,
    held: Option<u8>,
    summary: Summary,
    marks: BTreeSet<u32>,
    failed: Option<Refusal>,
}

impl fmt::Debug for Projector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Projector").field("depth", &self.frames.len()).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone)]
enum State {
    /// Before the document, with the bytes of a byte-order mark that were seen.
    Begin {
        mark: usize,
    },
    Value,
    ValueOrEnd,
    Name,
    NameOrEnd,
    InName(StringReader),
    Colon,
    AfterValue,
    InString(StringReader, Role),
    InNumber(Number),
    /// A number that passes only if it is an integer, which shows at its end.
    InCount(Number),
    InLiteral {
        word: &'static [u8],
        at: usize,
    },
    End,
}

/// What a string's inside is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Copied or dropped as the frame says.
    Plain,
    Rewrite,
    Link,
    OneOf(WordsId),
}

/// Where in a number the next byte stands (RFC 8259 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Whole,
    Dot,
    Fraction,
    Exponent,
    Sign,
    Power,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Object,
    Array,
    String,
    Null,
    /// Numbers and booleans.
    Other,
}

/// An open container.
#[derive(Debug)]
struct Frame {
    is_object: bool,
    inside: Inside,
    /// The member or element that it is, for the paths of refusals.
    segment: Option<Segment>,
}

#[derive(Debug, Clone, Copy)]
enum Inside {
    /// Projected by this node; whether something was written in it, and where its bits begin.
    Kept {
        node: u32,
        has_members: bool,
        bits: usize,
    },
    /// Copied as it is; the outermost of the copied ones ends the copy.
    Whole {
        is_outermost: bool,
    },
    Dropped,
}

/// The name of the member whose value comes next.
#[derive(Debug, Default)]
struct Name {
    /// As spelled, with quotes.
    raw: Vec<u8>,
    decoded: Decoded,
    start: u64,
    is_tracked: bool,
}

#[derive(Debug, Clone, Copy)]
struct Next {
    action: Option<Action>,
    has_name: bool,
}

type Step = Result<(), Refusal>;

impl Projector {
    pub fn new(spec: Spec, limits: Limits, mode: Mode) -> Self {
        let next = Next { action: Some(spec.root()), has_name: false };
        let noted = vec![0; spec.noted().len().div_ceil(64)];
        Self {
            spec,
            limits,
            mode,
            rewriter: None,
            state: State::Begin { mark: 0 },
            frames: Vec::new(),
            seen: Vec::new(),
            offset: 0,
            name: Name::default(),
            next,
            copy_from: None,
            text: Decoded::default(),
            held: None,
            summary: Summary { noted, ..Summary::default() },
            marks: BTreeSet::new(),
            failed: None,
        }
    }

    /// Without one, what would be rewritten is dropped.
    #[must_use]
    pub fn with_rewriter(mut self, rewriter: Box<dyn Rewriter>) -> Self {
        self.rewriter = Some(rewriter);
        self
    }

    /// Takes the next part of the document and appends what may pass to `out`.
    ///
    /// # Errors
    /// The first refusal, again at every later call.
    pub fn feed(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        if self.is_copying() {
            self.copy_from = Some(0);
        }
        let result = self.run(chunk, out);
        if let Some(from) = self.copy_from.take()
            && result.is_ok()
        {
            out.extend_from_slice(chunk.get(from..).unwrap_or_default());
            self.copy_from = Some(0);
        }
        self.offset += chunk.len() as u64;
        self.failed = result.as_ref().err().cloned();
        result
    }

    /// Whether the current value is copied: the marker outlives the chunk.
    fn is_copying(&self) -> bool {
        self.copy_from.is_some()
    }

    /// The input has ended: gives out the last bracket.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<Summary, Refusal> {
        let offset = self.offset;
        let is_outside = self.frames.is_empty();
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        match (self.state, self.held) {
            (State::End, Some(bracket)) => {
                out.push(bracket);
                let withheld = self.marks.into_iter().collect();
                Ok(Summary { withheld, input_bytes: offset, ..self.summary })
            }
            (State::Begin { mark: 0 } | State::Value, _) if is_outside => {
                Err(Refusal { offset, kind: RefusalKind::Empty })
            }
            (State::Begin { .. }, _) => Err(Refusal { offset: 0, kind: RefusalKind::Malformed }),
            _ => Err(Refusal { offset, kind: RefusalKind::Truncated }),
        }
    }

    fn run(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Step {
        let mut at = 0;
        while let Some(&byte) = chunk.get(at) {
            let place = self.offset + at as u64;
            match &mut self.state {
                State::InString(reader, role) => {
                    let role = *role;
                    let decoded = (role != Role::Plain).then_some(&mut self.text);
                    let read = reader.read(chunk, at, self.offset, decoded).map_err(refusal)?;
                    match read {
                        Progress::More => return Ok(()),
                        Progress::Ended(end) => {
                            let is_lone = reader.is_lone;
                            at = end;
                            if role == Role::Plain {
                                self.end_scalar(chunk, at, out);
                            } else {
                                self.rewrite(role, is_lone, place, out)?;
                                self.after_value();
                            }
                        }
                    }
                    continue;
                }
                State::InName(reader) => {
                    let from = at;
                    let decoded = self.name.is_tracked.then_some(&mut self.name.decoded);
                    let read = reader.read(chunk, at, self.offset, decoded).map_err(refusal)?;
                    let is_lone = reader.is_lone;
                    at = match read {
                        Progress::More => chunk.len(),
                        Progress::Ended(end) => end,
                    };
                    if self.name.is_tracked && !self.name.decoded.is_too_long {
                        self.name.raw.extend_from_slice(chunk.get(from..at).unwrap_or_default());
                    }
                    if matches!(read, Progress::Ended(_)) {
                        self.end_name(is_lone)?;
                        self.state = State::Colon;
                    }
                    continue;
                }
                State::InNumber(number) => match number.step(byte) {
                    Some(next) => *number = next,
                    None if number.may_end() => {
                        self.end_scalar(chunk, at, out);
                        continue;
                    }
                    None => return Err(malformed(place)),
                },
                State::InCount(number) => match number.step(byte) {
                    Some(next) => {
                        *number = next;
                        self.text.push(&[byte]);
                    }
                    None if number.may_end() => {
                        let is_integer = matches!(number, Number::Zero | Number::Whole);
                        self.end_count(is_integer, place, out)?;
                        continue;
                    }
                    None => return Err(malformed(place)),
                },
                State::InLiteral { word, at: letter } => {
                    if word.get(*letter) != Some(&byte) {
                        return Err(malformed(place));
                    }
                    *letter += 1;
                    if *letter == word.len() {
                        self.end_scalar(chunk, at + 1, out);
                    }
                }
                State::Begin { mark } => match (byte, *mark) {
                    (0xEF, 0) => *mark = 1,
                    (0xBB, 1) => *mark = 2,
                    (0xBF, 2) => {
                        return Err(Refusal { offset: 0, kind: RefusalKind::ByteOrderMark });
                    }
                    // A mark stands at the very beginning or nowhere.
                    (_, 0) => {
                        self.state = State::Value;
                        continue;
                    }
                    _ => return Err(malformed(0)),
                },
                _ if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') => {}
                State::ValueOrEnd if byte == b']' => {
                    self.judge_empty_list(place)?;
                    self.close(byte, chunk, at, place, out)?;
                }
                State::Value | State::ValueOrEnd => self.begin_value(byte, at, place, out)?,
                State::NameOrEnd if byte == b'}' => self.close(byte, chunk, at, place, out)?,
                State::Name | State::NameOrEnd if byte == b'"' => self.begin_name(place),
                State::Colon if byte == b':' => self.state = State::Value,
                State::AfterValue if byte == b',' => self.comma(),
                State::AfterValue if matches!(byte, b']' | b'}') => {
                    self.close(byte, chunk, at, place, out)?;
                }
                State::End => {
                    return Err(Refusal { offset: place, kind: RefusalKind::TrailingBytes });
                }
                State::Name | State::NameOrEnd | State::Colon | State::AfterValue => {
                    return Err(malformed(place));
                }
            }
            at += 1;
        }
        Ok(())
    }

    fn comma(&mut self) {
        let is_object = self.frames.last().is_some_and(|frame| frame.is_object);
        if is_object {
            self.state = State::Name;
        } else {
            self.begin_element();
            self.state = State::Value;
        }
    }

    fn begin_element(&mut self) {
        let action = match self.frames.last().map(|frame| frame.inside) {
            Some(Inside::Kept { node, .. }) => self.spec.node(node).and_then(|node| node.elements),
            _ => None,
        };
        self.next = Next { action, has_name: false };
    }

    fn begin_name(&mut self, place: u64) {
        self.name.start = place;
        self.name.raw.clear();
        self.name.is_tracked = false;
        if let Some(Inside::Kept { node, .. }) = self.frames.last().map(|frame| frame.inside)
            && let Some(node) = self.spec.node(node)
        {
            self.name.is_tracked = true;
            let limit = if node.any.is_some() || self.mode == Mode::Refuse {
                self.limits.max_name_bytes
            } else {
                node.longest_name
            };
            self.name.decoded.restart(limit);
            self.name.raw.push(b'"');
        }
        self.state = State::InName(StringReader::new());
    }

    /// The name is complete: what its value is allowed.
    fn end_name(&mut self, is_lone: bool) -> Step {
        self.next = Next { action: None, has_name: true };
        let Some(Frame { inside: Inside::Kept { node, bits, .. }, .. }) = self.frames.last() else {
            return Ok(());
        };
        let bits = *bits;
        let Some(node) = self.spec.node(*node) else { return Ok(()) };
        if self.name.decoded.is_too_long && (node.any.is_some() || self.mode == Mode::Refuse) {
            let kind = RefusalKind::NameTooLong { limit: self.limits.max_name_bytes };
            return Err(Refusal { offset: self.name.start, kind });
        }
        let is_text = !is_lone && !self.name.decoded.is_too_long;
        let member: Option<&Member> =
            if is_text { node.members.get(self.name.decoded.bytes.as_slice()) } else { None };
        self.next.action = match member {
            Some(member) => {
                if let Some(index) = member.tracked
                    && let Some(word) = self.seen.get_mut(bits + index / 64)
                {
                    let bit = 1 << (index % 64);
                    if *word & bit != 0 {
                        let kind = RefusalKind::DuplicateName;
                        return Err(Refusal { offset: self.name.start, kind });
                    }
                    *word |= bit;
                }
                if let Some(note) = member.note
                    && let Some(word) = self.summary.noted.get_mut(note as usize / 64)
                {
                    *word |= 1 << (note % 64);
                }
                Some(member.action)
            }
            None => node.any,
        };
        Ok(())
    }

    fn begin_value(&mut self, byte: u8, at: usize, place: u64, out: &mut Vec<u8>) -> Step {
        let (kind, state) = match byte {
            b'{' => (Kind::Object, State::NameOrEnd),
            b'[' => (Kind::Array, State::ValueOrEnd),
            b'"' => (Kind::String, State::InString(StringReader::new(), Role::Plain)),
            b'-' => (Kind::Other, State::InNumber(Number::Minus)),
            b'0' => (Kind::Other, State::InNumber(Number::Zero)),
            b'1'..=b'9' => (Kind::Other, State::InNumber(Number::Whole)),
            b't' => (Kind::Other, State::InLiteral { word: b"true", at: 1 }),
            b'f' => (Kind::Other, State::InLiteral { word: b"false", at: 1 }),
            b'n' => (Kind::Null, State::InLiteral { word: b"null", at: 1 }),
            _ => return Err(malformed(place)),
        };
        let is_container = matches!(kind, Kind::Object | Kind::Array);
        if is_container && self.frames.len() >= self.limits.max_depth {
            let kind = RefusalKind::TooDeep { limit: self.limits.max_depth };
            return Err(Refusal { offset: place, kind });
        }
        if self.frames.is_empty() && !is_container {
            return Err(Refusal { offset: place, kind: RefusalKind::ScalarDocument });
        }
        self.state = state;
        let inside = match self.frames.last().map(|frame| frame.inside) {
            Some(Inside::Whole { .. }) => Inside::Whole { is_outermost: false },
            Some(Inside::Dropped) => Inside::Dropped,
            _ => self.judge(kind, byte, at, place, out)?,
        };
        if is_container {
            self.open(kind, byte, inside, out);
        }
        Ok(())
    }

    /// What happens to a value in a projected container, or to the document.
    fn judge(
        &mut self,
        kind: Kind,
        byte: u8,
        at: usize,
        place: u64,
        out: &mut Vec<u8>,
    ) -> Result<Inside, Refusal> {
        let is_container = matches!(kind, Kind::Object | Kind::Array);
        let Some(action) = self.next.action else {
            self.summary.dropped += 1;
            return self.leave_out(place);
        };
        match action {
            Action::Withhold(mark) => {
                self.marks.insert(mark);
                self.leave_out(place)
            }
            Action::Whole => Ok(self.copy(at, out)),
            Action::Into(node) if is_container => {
                let Some(node_ref) = self.spec.node(node) else { return self.leave_out(place) };
                let fits = match kind {
                    Kind::Object => node_ref.takes_objects(),
                    _ => node_ref.takes_arrays(),
                };
                if !fits {
                    return self.mismatch(place);
                }
                if node_ref.refuses_lists && kind == Kind::Array && self.mode == Mode::Refuse {
                    let offset = if self.next.has_name { self.name.start } else { place };
                    let path = match self.path() {
                        path if path.is_empty() => "[]".to_owned(),
                        path => path,
                    };
                    return Err(Refusal { offset, kind: RefusalKind::ListInPart { path } });
                }
                let words = node_ref.tracked.div_ceil(64);
                let bits = self.seen.len();
                self.seen.resize(bits + words, 0);
                self.prefix(out);
                Ok(Inside::Kept { node, has_members: false, bits })
            }
            Action::Scalar | Action::Rewrite | Action::Link | Action::OneOf(_) | Action::Count
                if is_container =>
            {
                self.mismatch(place)
            }
            Action::Into(node)
                if kind == Kind::Null
                    && self.mode == Mode::Refuse
                    && !self.spec.node(node).is_some_and(|node| node.may_be_emptied) =>
            {
                let offset = if self.next.has_name { self.name.start } else { place };
                Err(Refusal { offset, kind: RefusalKind::Emptied { path: self.path() } })
            }
            // Null stands for any value that is absent.
            _ if kind == Kind::Null => Ok(self.copy(at, out)),
            Action::Scalar => Ok(self.copy(at, out)),
            Action::Rewrite => self.rewritable(kind, Role::Rewrite, at, place, out),
            Action::Link => self.rewritable(kind, Role::Link, at, place, out),
            Action::OneOf(words) => self.rewritable(kind, Role::OneOf(words), at, place, out),
            Action::Count => self.count(kind, byte, at, place, out),
            Action::Into(node) => match self.spec.node(node).map(|node| node.scalar) {
                Some(ScalarRule::Pass) => Ok(self.copy(at, out)),
                Some(ScalarRule::Rewrite) => self.rewritable(kind, Role::Rewrite, at, place, out),
                Some(ScalarRule::Link) => self.rewritable(kind, Role::Link, at, place, out),
                Some(ScalarRule::OneOf(words)) => {
                    self.rewritable(kind, Role::OneOf(words), at, place, out)
                }
                Some(ScalarRule::Count) => self.count(kind, byte, at, place, out),
                _ => self.mismatch(place),
            },
        }
    }

    /// Strings are held until their end. A page may have a number; a link and a declared word have none.
    fn rewritable(
        &mut self,
        kind: Kind,
        role: Role,
        at: usize,
        place: u64,
        out: &mut Vec<u8>,
    ) -> Result<Inside, Refusal> {
        match (kind, role) {
            (Kind::String, _) => {}
            (_, Role::Link | Role::OneOf(_)) => return self.mismatch(place),
            _ => return Ok(self.copy(at, out)),
        }
        if self.rewriter.is_none() && !matches!(role, Role::OneOf(_)) {
            return self.mismatch(place);
        }
        self.text.restart(self.limits.max_rewrite_bytes);
        self.state = State::InString(StringReader::new(), role);
        Ok(Inside::Dropped)
    }

    /// Integers are held until their end; booleans pass, and texts never.
    fn count(
        &mut self,
        kind: Kind,
        first: u8,
        at: usize,
        place: u64,
        out: &mut Vec<u8>,
    ) -> Result<Inside, Refusal> {
        const MAX_BYTES: usize = 20;
        let number = match self.state {
            State::InNumber(number) => number,
            _ if kind == Kind::Other => return Ok(self.copy(at, out)),
            _ => return self.mismatch(place),
        };
        self.text.restart(MAX_BYTES);
        self.text.push(&[first]);
        self.state = State::InCount(number);
        Ok(Inside::Dropped)
    }

    /// A number that counts is complete.
    fn end_count(&mut self, is_integer: bool, place: u64, out: &mut Vec<u8>) -> Step {
        if is_integer && !self.text.is_too_long {
            self.prefix(out);
            out.extend_from_slice(&self.text.bytes);
        } else {
            self.mismatch(place)?;
        }
        self.after_value();
        Ok(())
    }

    /// An empty list in the place of one of which only a part is allowed would erase the rest.
    fn judge_empty_list(&self, place: u64) -> Step {
        let erases = self.mode == Mode::Refuse
            && matches!(self.frames.last(), Some(Frame { inside: Inside::Kept { node, .. }, .. })
                if !self.spec.node(*node).is_some_and(|node| node.may_be_emptied));
        if !erases {
            return Ok(());
        }
        let path = match self.path_to(None) {
            path if path.is_empty() => "[]".to_owned(),
            path => path,
        };
        Err(Refusal { offset: place, kind: RefusalKind::Emptied { path } })
    }

    fn mismatch(&mut self, place: u64) -> Result<Inside, Refusal> {
        if self.frames.is_empty() {
            return Err(Refusal { offset: place, kind: RefusalKind::WrongKind });
        }
        self.summary.mismatched += 1;
        self.leave_out(place)
    }

    fn leave_out(&self, place: u64) -> Result<Inside, Refusal> {
        if self.frames.is_empty() {
            return Err(Refusal { offset: place, kind: RefusalKind::WrongKind });
        }
        if self.mode == Mode::Drop {
            return Ok(Inside::Dropped);
        }
        let offset = if self.next.has_name { self.name.start } else { place };
        Err(Refusal { offset, kind: RefusalKind::Undeclared { path: self.path() } })
    }

    /// The path of the value that comes next, in the spelling of grants.
    fn path(&self) -> String {
        self.path_to(self.segment())
    }

    /// The same for a value that lies in the innermost open container, or for that container.
    fn path_to(&self, own: Option<Segment>) -> String {
        const MAX_CHARS: usize = 200;
        let mut path = String::new();
        for segment in
            self.frames.iter().filter_map(|frame| frame.segment.as_ref()).chain(own.as_ref())
        {
            if !path.is_empty() && *segment != Segment::Elements {
                path.push('.');
            }
            path.push_str(&segment.to_string());
        }
        path.chars().take(MAX_CHARS).collect()
    }

    fn segment(&self) -> Option<Segment> {
        if self.next.has_name {
            Some(Segment::Name(String::from_utf8_lossy(&self.name.decoded.bytes).into_owned()))
        } else {
            (!self.frames.is_empty()).then_some(Segment::Elements)
        }
    }

    /// Writes what stands before a value: a comma, and the name as spelled.
    fn prefix(&mut self, out: &mut Vec<u8>) {
        if let Some(Frame { inside: Inside::Kept { has_members, .. }, .. }) = self.frames.last_mut()
        {
            if std::mem::replace(has_members, true) {
                out.push(b',');
            }
            if self.next.has_name {
                out.extend_from_slice(&self.name.raw);
                out.push(b':');
            }
        }
    }

    fn copy(&mut self, at: usize, out: &mut Vec<u8>) -> Inside {
        self.prefix(out);
        self.copy_from = Some(at);
        Inside::Whole { is_outermost: true }
    }

    fn open(&mut self, kind: Kind, byte: u8, inside: Inside, out: &mut Vec<u8>) {
        let segment = if self.mode == Mode::Refuse { self.segment() } else { None };
        if matches!(inside, Inside::Kept { .. }) {
            out.push(byte);
        }
        self.frames.push(Frame { is_object: kind == Kind::Object, inside, segment });
        if kind == Kind::Array {
            self.begin_element();
        }
    }

    fn close(&mut self, byte: u8, chunk: &[u8], at: usize, place: u64, out: &mut Vec<u8>) -> Step {
        let fits = self.frames.last().is_some_and(|frame| frame.is_object == (byte == b'}'));
        let Some(frame) = self.frames.pop_if(|_| fits) else { return Err(malformed(place)) };
        let is_document = self.frames.is_empty();
        match frame.inside {
            Inside::Kept { bits, .. } => {
                self.seen.truncate(bits);
                if !is_document {
                    out.push(byte);
                }
            }
            Inside::Whole { is_outermost: true } => {
                let end = if is_document { at } else { at + 1 };
                self.end_copy(chunk, end, out);
            }
            Inside::Whole { is_outermost: false } | Inside::Dropped => {}
        }
        if is_document {
            self.held = Some(byte);
        }
        self.after_value();
        Ok(())
    }

    fn after_value(&mut self) {
        self.state = if self.frames.is_empty() { State::End } else { State::AfterValue };
    }

    /// A scalar ended before `end`: if it stood for itself, its copy ends there.
    fn end_scalar(&mut self, chunk: &[u8], end: usize, out: &mut Vec<u8>) {
        let is_within =
            matches!(self.frames.last(), Some(Frame { inside: Inside::Whole { .. }, .. }));
        if !is_within {
            self.end_copy(chunk, end, out);
        }
        self.after_value();
    }

    fn end_copy(&mut self, chunk: &[u8], end: usize, out: &mut Vec<u8>) {
        if let Some(from) = self.copy_from.take() {
            out.extend_from_slice(chunk.get(from..end).unwrap_or_default());
        }
    }

    /// A string to be rewritten is complete.
    fn rewrite(&mut self, role: Role, is_lone: bool, place: u64, out: &mut Vec<u8>) -> Step {
        let text = std::str::from_utf8(&self.text.bytes).ok();
        let text = text.filter(|_| !is_lone && !self.text.is_too_long);
        let rewritten = text.and_then(|text| match (role, self.rewriter.as_mut()) {
            (Role::OneOf(words), _) => self.spec.is_one_of(words, text).then(|| text.to_owned()),
            (Role::Link, Some(rewriter)) => rewriter.link(text),
            (Role::Plain | Role::Rewrite, Some(rewriter)) => rewriter.rewrite(text),
            (_, None) => None,
        });
        if let Some(text) = rewritten {
            self.prefix(out);
            write_string(&text, out);
        } else {
            self.summary.dropped += 1;
            self.leave_out(place)?;
        }
        Ok(())
    }
}

impl Number {
    fn step(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Minus, b'0') => Self::Zero,
            (Self::Minus, b'1'..=b'9') | (Self::Whole, b'0'..=b'9') => Self::Whole,
            (Self::Zero | Self::Whole, b'.') => Self::Dot,
            (Self::Dot | Self::Fraction, b'0'..=b'9') => Self::Fraction,
            (Self::Zero | Self::Whole | Self::Fraction, b'e' | b'E') => Self::Exponent,
            (Self::Exponent, b'+' | b'-') => Self::Sign,
            (Self::Exponent | Self::Sign | Self::Power, b'0'..=b'9') => Self::Power,
            _ => return None,
        })
    }

    const fn may_end(self) -> bool {
        matches!(self, Self::Zero | Self::Whole | Self::Fraction | Self::Power)
    }
}

/// A text as JSON, with no more escapes than needed.
fn write_string(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..0x20 => {
                let digit = |at: u8| HEX.get(usize::from(at)).copied().unwrap_or(b'0');
                out.extend_from_slice(&[
                    b'\\',
                    b'u',
                    b'0',
                    b'0',
                    digit(byte >> 4),
                    digit(byte & 15),
                ]);
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

fn malformed(offset: u64) -> Refusal {
    Refusal { offset, kind: RefusalKind::Malformed }
}

fn refusal((offset, kind): (u64, RefusalKind)) -> Refusal {
    Refusal { offset, kind }
}
