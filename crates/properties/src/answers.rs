//! An answer that is taken has one framing, is read alike however it is cut, and has the content
//! that a plain reader finds in it.

use crate::input::Dice;
use http::{Response, header};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

pub(crate) fn hold(data: &[u8]) -> bool {
    let mut dice = Dice::of(data);
    let whole = exchanged(&[data]);
    for pieces in [data.chunks(1).collect(), dice.cut(data)] {
        let (one, other) = (exchanged(&pieces), &whole);
        let both = (one.as_ref().map(content_of), other.as_ref().map(content_of));
        assert_eq!(both.0, both.1, "cut otherwise");
    }
    let Some(answer) = whole else { return false };
    let headers = answer.headers();
    let lengths = headers.get_all(header::CONTENT_LENGTH).iter().count();
    let codings = headers.get_all(header::TRANSFER_ENCODING).iter().count();
    assert!(lengths + codings <= 1, "two framings");
    assert!((200..600).contains(&answer.status().as_u16()), "{}", answer.status());
    let plain = read(data);
    assert_eq!(plain, Some((answer.status().as_u16(), answer.body().clone())));
    true
}

fn content_of(answer: &Response<Vec<u8>>) -> (u16, Vec<u8>) {
    (answer.status().as_u16(), answer.body().clone())
}

fn exchanged(pieces: &[&[u8]]) -> Option<Response<Vec<u8>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        let provider = async move {
            // An answer before its question is none.
            let mut asked = [0; 256];
            let _ = theirs.read(&mut asked).await;
            for piece in pieces {
                let _ = theirs.write_all(piece).await;
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(outbound::fuzzing::exchange(ours), provider).0.ok()
    })
}

/// Status and content, by RFC 9112 §6.3.
fn read(bytes: &[u8]) -> Option<(u16, Vec<u8>)> {
    let mut rest = bytes;
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 128];
        let mut head = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(end) = head.parse(rest).ok()? else { return None };
        rest = &rest[end..];
        let status = head.code?;
        if status < 200 {
            continue;
        }
        let value = |name: &str| {
            head.headers.iter().find(|one| one.name.eq_ignore_ascii_case(name)).map(|one| one.value)
        };
        if matches!(status, 204 | 304) {
            return Some((status, Vec::new()));
        }
        if value("transfer-encoding").is_some() {
            return Some((status, chunks(rest)?));
        }
        let Some(length) = value("content-length") else { return Some((status, rest.to_vec())) };
        let length: usize = std::str::from_utf8(length).ok()?.parse().ok()?;
        return Some((status, rest.get(..length)?.to_vec()));
    }
}

fn chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        // What follows the digits is an extension, of any bytes.
        let digits = rest[..end].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let digits = std::str::from_utf8(&rest[..digits]).ok()?;
        let size = usize::from_str_radix(digits, 16).ok()?;
        if size == 0 {
            return Some(content);
        }
        rest = rest.get(end + 1..)?;
        content.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
}
