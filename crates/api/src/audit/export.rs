//! A stretch of the log as a file, however long: it is written as fast as it is read at the other end,
//! and never held whole.

use super::form::Given;
use crate::{
    console::Console,
    guard::to_step_up,
    pages::{Asked, Home, Refusal, or_failed, person},
    views,
};
use app::{
    DataFolder, Error,
    audit_log::{self, Form, reading},
    audit_search::{self, Names},
    people::sessions,
};
use axum::{
    body::{Body, Bytes},
    extract::{Extension, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use policy::{Act, Decision};
use std::{
    io::{self, BufWriter, Write},
    net::IpAddr,
    ops::Range,
    sync::Arc,
    time::Duration,
};
use tokio::{sync::mpsc, time::Instant};
use types::{Id, Timestamp, User};

/// What is written before it is handed on, in bytes.
const PIECE: usize = 64 * 1_024;
/// Pieces that wait for whoever reads; then the writer waits.
const WAITING: usize = 4;
/// How often it is judged whether whoever takes them still may.
const JUDGED_EVERY: Duration = Duration::from_millis(500);

pub(crate) async fn export(
    State(console): Home,
    Extension(visit): Asked,
    body: Bytes,
) -> Result<Response, Refusal> {
    let signed_in = person(&visit)?;
    let given = Given::of(&body);
    let Some((form, wanted)) = wish(&given) else {
        return Ok(views::message(
            StatusCode::UNPROCESSABLE_ENTITY,
            "It could not be done",
            "The entries to take along are not named rightly.",
            "Give numbers of entries, the first below the one at which it ends, or none for all.",
        ));
    };
    let Ok(place) = Arc::clone(&console.log.exports.0).try_acquire_owned() else {
        return Ok(views::message(
            StatusCode::SERVICE_UNAVAILABLE,
            "Not now",
            "As many exports are under way as may be at once.",
            "Try again when one of them has ended.",
        ));
    };
    let folder = console.instance.folder.clone();
    let range = match wanted {
        Wish::Entries(range) => range,
        Wish::Period { from, to } => {
            let range = reading(&console.instance, move |instance| {
                audit_search::range_of(&instance.folder, from, to)
            });
            or_failed(range.await)?
        }
    };
    let recorded = async {
        let ctx = console.context(Some(signed_in))?;
        audit_log::record_export(&console.instance, &ctx, signed_in, &range, form).await
    };
    match recorded.await {
        Err(Error::StepUpNeeded) => return Ok(to_step_up("/audit")),
        recorded => or_failed(recorded)?,
    }
    let name = file_name(form, &range);
    let (sender, mut pieces) = mpsc::channel(WAITING);
    tokio::task::spawn_blocking(move || {
        let out = Pieces(sender.clone());
        if let Err(error) = write(&folder, form, range, out) {
            // Nobody waits for it any more, otherwise.
            let _ = sender.blocking_send(Err(error));
        }
        drop(place);
    });
    // What cannot begin is a page that says so, and no file.
    let first = match pieces.recv().await {
        Some(first) => or_failed(first)?,
        None => Bytes::new(),
    };
    let taker = Taker { user: signed_in.user, source: visit.source, judged_at: Instant::now() };
    let rest = stream::unfold(Some((pieces, taker, console)), |going_on| async {
        let (mut pieces, mut taker, console) = going_on?;
        let piece = pieces.recv().await?;
        let piece = match piece {
            Ok(piece) => taker.judged(&console).await.map(|()| piece),
            error => error,
        };
        if let Err(error) = &piece {
            tracing::error!(%error, "an export of the log ended early");
            return Some((piece, None));
        }
        Some((piece, Some((pieces, taker, console))))
    });
    let all = futures_util::StreamExt::chain(stream::iter([Ok(first)]), rest);
    let kind = match form {
        Form::Bundle => "text/plain; charset=utf-8",
        Form::Lines => "application/x-ndjson",
    };
    let mut response = Body::from_stream(all).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_DISPOSITION, name);
    Ok(response)
}

/// Who takes entries along, for as long as it takes.
struct Taker {
    user: Id<User>,
    source: Option<IpAddr>,
    judged_at: Instant,
}

impl Taker {
    /// Whether they still may: not once they signed out, were disabled or lost the right.
    async fn judged(&mut self, console: &Console) -> Result<(), Error> {
        if self.judged_at.elapsed() < JUDGED_EVERY {
            return Ok(());
        }
        self.judged_at = Instant::now();
        let somebody = sessions::somebody_now(&console.instance, self.user).await?;
        let decision = somebody.map(|one| console.decide(&one, Act::AuditExport, self.source));
        match decision {
            // The step-up was asked for when it began.
            Some(Decision::Allowed(_) | Decision::NeedsStepUp(_)) => Ok(()),
            _ => Err(Error::NoLongerPermitted),
        }
    }
}

enum Wish {
    Entries(Range<u64>),
    Period { from: Option<Timestamp>, to: Option<Timestamp> },
}

/// What a form asks for, if it can be meant.
fn wish(given: &Given) -> Option<(Form, Wish)> {
    let form = match given.value("as") {
        "bundle" => Form::Bundle,
        "jsonl" => Form::Lines,
        _ => return None,
    };
    let number = |name, none: u64| match given.value(name).trim() {
        "" => Some(none),
        text => text.parse().ok(),
    };
    let range = number("first", 0)?..number("end", u64::MAX)?;
    if range.is_empty() {
        return None;
    }
    let filter = given.filter(&Names::default()).ok()?;
    let is_whole = range == (0..u64::MAX);
    let (from, to) = (filter.from, filter.to);
    let has_period = from.is_some() || to.is_some();
    Some((
        form,
        if is_whole && has_period { Wish::Period { from, to } } else { Wish::Entries(range) },
    ))
}

fn file_name(form: Form, range: &Range<u64>) -> HeaderValue {
    let ending = match form {
        Form::Bundle => "txt",
        Form::Lines => "jsonl",
    };
    let end = Some(range.end).filter(|end| *end < u64::MAX);
    let end = end.map(|end| format!("-{end}")).unwrap_or_default();
    let name = format!("attachment; filename=\"weirgate-audit-{}{end}.{ending}\"", range.start);
    HeaderValue::try_from(name).unwrap_or(HeaderValue::from_static("attachment"))
}

fn write(folder: &DataFolder, form: Form, range: Range<u64>, out: Pieces) -> Result<(), Error> {
    let mut out = BufWriter::with_capacity(PIECE, out);
    match form {
        Form::Bundle => audit_log::export(folder, range, &mut out).map(drop),
        Form::Lines => {
            audit_log::each_entry(folder, range, |index, record| {
                writeln!(out, "{}", audit_log::to_json(index, record))
            })?;
            let failed = |_| Error::Internal { what: "an export was not taken to its end" };
            out.flush().map_err(failed)
        }
    }
}

/// Hands on what is written, and waits where nobody reads.
struct Pieces(mpsc::Sender<Result<Bytes, Error>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes))).map_err(gone)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
