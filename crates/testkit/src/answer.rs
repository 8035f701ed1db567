//! One scripted answer: what is sent, in which pieces, with which pauses, and how it ends.

use flate2::{Compression, write::GzEncoder};
use serde_json::Value;
use std::{fmt::Write as _, io::Write as _, time::Duration};

/// How the body's length is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `Content-Length` as it is.
    Length,
    /// `Content-Length` with this number, whatever is sent: a lie unless it happens to be right.
    Declared(u64),
    /// `Transfer-Encoding: chunked`, one chunk per part. The last chunk is sent only with
    /// [`End::KeepAlive`]; every other end cuts the body.
    Chunked,
    /// Nothing is told: the body ends with the connection (or there is none).
    None,
}

/// What happens after the last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The connection waits for the next request.
    KeepAlive,
    /// A polite end: TLS closure alert and FIN.
    Close,
    /// FIN without a TLS closure alert.
    Drop,
    /// RST.
    Reset,
    /// Nothing more is sent, and the connection stays open until the peer leaves.
    Silence,
}

/// One step of an answer as the server carries it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Pause(Duration),
    Send(Vec<u8>),
    /// The same bytes so many times.
    Repeat(Vec<u8>, u64),
}

/// See [`Answer::message`].
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    /// Each so many times.
    pub(crate) parts: Vec<(Vec<u8>, u64)>,
    pub(crate) end: End,
    pub(crate) before_head: Duration,
    pub(crate) before_part: Duration,
}

/// A scripted answer. Built from a status or from bytes, then changed step by step:
///
/// ```
/// use testkit::{Answer, End, Framing};
/// let cut = Answer::json(200, &serde_json::json!({"id": "1"}))
///     .framing(Framing::Declared(900))
///     .end(End::Reset);
/// ```
#[derive(Clone, Debug)]
pub struct Answer {
    head: Head,
    parts: Vec<Vec<u8>>,
    framing: Framing,
    end: End,
    before_head: Duration,
    before_part: Duration,
    /// How often the middle one of three parts is sent.
    repeats: Option<u64>,
}

#[derive(Clone, Debug)]
enum Head {
    Made {
        status: u16,
        headers: Vec<(String, String)>,
    },
    /// The parts hold the head too.
    Verbatim,
}

impl Answer {
    /// A status without a body, told so by `Content-Length: 0` (not with 204 and 304).
    pub fn status(status: u16) -> Self {
        let framing = if matches!(status, 204 | 304) { Framing::None } else { Framing::Length };
        Self {
            head: Head::Made { status, headers: Vec::new() },
            parts: Vec::new(),
            framing,
            end: End::KeepAlive,
            before_head: Duration::ZERO,
            before_part: Duration::ZERO,
            repeats: None,
        }
    }

    /// A body of a media type.
    pub fn body(status: u16, media: &str, body: impl Into<Vec<u8>>) -> Self {
        let mut answer = Self::status(status).header("Content-Type", media);
        answer.framing = Framing::Length;
        answer.parts = vec![body.into()];
        answer
    }

    /// JSON, well-formed.
    pub fn json(status: u16, value: &Value) -> Self {
        Self::json_text(status, value.to_string())
    }

    /// Bytes that claim to be JSON.
    pub fn json_text(status: u16, text: impl Into<Vec<u8>>) -> Self {
        Self::body(status, "application/json", text)
    }

    /// A web page.
    pub fn html(status: u16, text: &str) -> Self {
        Self::body(status, "text/html; charset=utf-8", text)
    }

    /// A redirect.
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::status(status).header("Location", location)
    }

    /// JSON bytes under `Content-Encoding: gzip`.
    pub fn gzip(status: u16, text: &[u8]) -> Self {
        Self::json_text(status, gzip(text)).header("Content-Encoding", "gzip")
    }

    /// `{"id":"aaaa..."}` of at least `decoded_bytes`, about a thousand times smaller on the wire.
    pub fn gzip_bomb(decoded_bytes: usize) -> Self {
        Self::json_text(200, bomb(decoded_bytes)).header("Content-Encoding", "gzip")
    }

    /// JSON without an end in sight, in chunks: a beginning, the same middle so many times, an end.
    /// Only the middle lies in memory, once.
    pub fn long(beginning: &str, middle: impl Into<Vec<u8>>, times: u64, end: &str) -> Self {
        let parts = [beginning.as_bytes().to_vec(), middle.into(), end.as_bytes().to_vec()];
        let mut answer = Self::json_text(200, "").parts(parts).framing(Framing::Chunked);
        answer.repeats = Some(times);
        answer
    }

    /// These bytes instead of a well-formed answer, head included.
    pub fn verbatim(bytes: impl Into<Vec<u8>>) -> Self {
        let mut answer = Self::status(200);
        answer.head = Head::Verbatim;
        answer.framing = Framing::None;
        answer.parts = vec![bytes.into()];
        answer
    }

    /// Adds a header; without effect on a verbatim answer.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Head::Made { headers, .. } = &mut self.head {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Sends the body (or the verbatim bytes) in these pieces.
    #[must_use]
    pub fn parts<P: Into<Vec<u8>>>(mut self, parts: impl IntoIterator<Item = P>) -> Self {
        self.parts = parts.into_iter().map(Into::into).collect();
        self
    }

    /// Cuts what is sent of the body into pieces of `bytes` (at least 1).
    #[must_use]
    pub fn in_pieces_of(mut self, bytes: usize) -> Self {
        let whole = self.parts.concat();
        self.parts = whole.chunks(bytes.max(1)).map(<[u8]>::to_vec).collect();
        self
    }

    /// Leaves the second half of the body out; the length is told rightly.
    #[must_use]
    pub fn cut_body_in_half(mut self) -> Self {
        let mut whole = self.parts.concat();
        whole.truncate(whole.len() / 2);
        self.parts = vec![whole];
        self
    }

    /// Sends the second part so many times.
    #[must_use]
    pub fn repeated(mut self, times: u64) -> Self {
        self.repeats = Some(times);
        self
    }

    /// How the length is told, see [`Framing`].
    #[must_use]
    pub fn framing(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    /// What happens after the last byte; at first [`End::KeepAlive`].
    #[must_use]
    pub fn end(mut self, end: End) -> Self {
        self.end = end;
        self
    }

    /// Waits before the head.
    #[must_use]
    pub fn pause_before_head(mut self, pause: Duration) -> Self {
        self.before_head = pause;
        self
    }

    /// Waits before each part of the body.
    #[must_use]
    pub fn pause_before_parts(mut self, pause: Duration) -> Self {
        self.before_part = pause;
        self
    }

    /// What the server does, in order.
    pub(crate) fn script(&self) -> (Vec<Step>, End) {
        let mut steps = vec![Step::Pause(self.before_head)];
        if let Head::Made { status, headers } = &self.head {
            steps.push(Step::Send(self.head_bytes(*status, headers)));
        }
        for (number, part) in self.parts.iter().enumerate() {
            steps.push(Step::Pause(self.before_part));
            let bytes = match self.framing {
                Framing::Chunked => chunk(part),
                _ => part.clone(),
            };
            steps.push(match self.repeats {
                Some(times) if number == 1 => Step::Repeat(bytes, times),
                _ => Step::Send(bytes),
            });
        }
        if self.framing == Framing::Chunked && self.end == End::KeepAlive {
            steps.push(Step::Send(b"0\r\n\r\n".to_vec()));
        }
        steps.retain(|step| !matches!(step, Step::Pause(pause) if pause.is_zero()));
        // A body without a length ends only with the connection.
        let endless = self.framing == Framing::None && !self.parts.is_empty();
        let end = match self.end {
            End::KeepAlive if endless => End::Close,
            end => end,
        };
        (steps, end)
    }

    /// The answer as messages rather than bytes; `None` if it is verbatim, which only HTTP/1.1 can be.
    pub(crate) fn message(&self) -> Option<Message> {
        let Head::Made { status, headers } = &self.head else { return None };
        let mut headers = headers.clone();
        let length = match self.framing {
            Framing::Length => Some(self.parts.iter().map(|part| part.len() as u64).sum()),
            Framing::Declared(length) => Some(length),
            Framing::Chunked | Framing::None => None,
        };
        headers.extend(length.map(|length| ("content-length".to_owned(), length.to_string())));
        let times = |number: usize| if number == 1 { self.repeats.unwrap_or(1) } else { 1 };
        let parts = self.parts.iter().enumerate();
        Some(Message {
            status: *status,
            headers,
            parts: parts.map(|(number, part)| (part.clone(), times(number))).collect(),
            end: self.end,
            before_head: self.before_head,
            before_part: self.before_part,
        })
    }

    fn head_bytes(&self, status: u16, headers: &[(String, String)]) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {status} Scripted\r\n");
        let length = self.parts.iter().map(Vec::len).sum::<usize>();
        // Writing to a String cannot fail.
        let _ = match self.framing {
            Framing::Length => write!(head, "Content-Length: {length}\r\n"),
            Framing::Declared(length) => write!(head, "Content-Length: {length}\r\n"),
            Framing::Chunked => write!(head, "Transfer-Encoding: chunked\r\n"),
            Framing::None => Ok(()),
        };
        for (name, value) in headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

/// Chunked coding of one chunk (RFC 9112 §7.1); nothing for an empty part, which would be the end.
fn chunk(part: &[u8]) -> Vec<u8> {
    if part.is_empty() {
        return Vec::new();
    }
    let mut chunk = format!("{:x}\r\n", part.len()).into_bytes();
    chunk.extend_from_slice(part);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // Writing to a Vec cannot fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

fn bomb(decoded_bytes: usize) -> Vec<u8> {
    const BLOCK_BYTES: usize = 64 * 1024;
    let block = vec![b'a'; BLOCK_BYTES];
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    // Writing to a Vec cannot fail.
    let _ = encoder.write_all(br#"{"id":""#);
    for _ in 0..decoded_bytes.div_ceil(BLOCK_BYTES) {
        let _ = encoder.write_all(&block);
    }
    let _ = encoder.write_all(br#""}"#);
    encoder.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;
    use std::io::Read as _;

    fn sent(answer: &Answer) -> (String, End) {
        let (steps, end) = answer.script();
        let bytes: Vec<u8> = steps
            .into_iter()
            .filter_map(|step| match step {
                Step::Send(bytes) => Some(bytes),
                Step::Repeat(bytes, times) => Some(bytes.repeat(usize::try_from(times).unwrap())),
                Step::Pause(_) => None,
            })
            .flatten()
            .collect();
        (String::from_utf8(bytes).unwrap(), end)
    }

    #[test]
    fn framing_is_what_was_asked_for() {
        let head = "HTTP/1.1 200 Scripted\r\n";
        let media = "Content-Type: application/json\r\n\r\n";
        let answer = Answer::json_text(200, "{}");
        for (framing, end, expected, ends) in [
            (Framing::Length, End::KeepAlive, "Content-Length: 2\r\n", End::KeepAlive),
            (Framing::Declared(9), End::Reset, "Content-Length: 9\r\n", End::Reset),
            (Framing::None, End::KeepAlive, "", End::Close),
            (Framing::None, End::Silence, "", End::Silence),
        ] {
            let answer = answer.clone().framing(framing).end(end);
            assert_eq!(sent(&answer), (format!("{head}{expected}{media}{{}}"), ends));
        }
        let chunked = answer.in_pieces_of(1).framing(Framing::Chunked);
        let (text, _) = sent(&chunked);
        assert!(text.ends_with("\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"), "{text}");
        let (text, _) = sent(&chunked.end(End::Close));
        assert!(text.ends_with("1\r\n}\r\n"), "{text}");
    }

    #[test]
    fn a_long_answer_is_what_it_is_made_of() {
        let (text, _) = sent(&Answer::long("[", "1,", 3, "2]"));
        let chunks = "1\r\n[\r\n2\r\n1,\r\n2\r\n1,\r\n2\r\n1,\r\n2\r\n2]\r\n0\r\n\r\n";
        assert!(text.ends_with(&format!("\r\n\r\n{chunks}")), "{text}");
    }

    #[test]
    fn a_status_alone_has_no_length_where_none_may_be() {
        assert_eq!(sent(&Answer::status(204)).0, "HTTP/1.1 204 Scripted\r\n\r\n");
        assert_eq!(
            sent(&Answer::status(500)).0,
            "HTTP/1.1 500 Scripted\r\nContent-Length: 0\r\n\r\n"
        );
        assert_eq!(sent(&Answer::status(204)).1, End::KeepAlive);
    }

    #[test]
    fn verbatim_bytes_stay_as_they_are() {
        let answer = Answer::verbatim("HTTP/1.1 200 OK\r\nX").header("A", "b");
        assert_eq!(sent(&answer).0, "HTTP/1.1 200 OK\r\nX");
    }

    #[test]
    fn pauses_stand_where_they_were_put() {
        let second = Duration::from_secs(1);
        let (steps, _) = Answer::json_text(200, "{}")
            .in_pieces_of(1)
            .pause_before_head(second * 3)
            .pause_before_parts(second)
            .script();
        let pauses: Vec<bool> = steps.iter().map(|step| matches!(step, Step::Pause(_))).collect();
        assert_eq!(pauses, [true, false, true, false, true, false]);
        assert_eq!(steps.first(), Some(&Step::Pause(second * 3)));
    }

    #[test]
    fn a_bomb_is_small_until_it_is_decoded() {
        let packed = bomb(4 << 20);
        assert!(packed.len() < 16 << 10, "{}", packed.len());
        let mut text = String::new();
        GzDecoder::new(packed.as_slice()).read_to_string(&mut text).unwrap();
        assert!(text.len() > 4 << 20);
        assert!(serde_json::from_str::<Value>(&text).is_ok());
        let mut plain = String::new();
        GzDecoder::new(gzip(b"abc").as_slice()).read_to_string(&mut plain).unwrap();
        assert_eq!(plain, "abc");
    }
}
