//! Whether the log was verified: what, when, up to where, and by which key.

use crate::views::moment;
use app::audit_check::{Checked, Known, Verdict};
use std::time::Duration;

pub(super) struct Badge {
    /// A class of the style sheet.
    pub tone: &'static str,
    pub heading: &'static str,
    pub lines: Vec<String>,
    pub remedy: String,
    pub key: Option<KeyView>,
    pub is_running: bool,
}

pub(super) struct KeyView {
    pub id: String,
    /// As it stands in the file of the public key.
    pub whole: String,
}

impl Badge {
    pub(super) fn of(known: &Known) -> Self {
        let mut badge = match &known.last {
            Some(checked) => Self::of_checked(checked),
            None => Self {
                tone: "soft",
                heading: "Not verified yet",
                lines: vec![
                    "Since this server began, nobody looked whether the log is whole.".into(),
                ],
                remedy: String::new(),
                key: None,
                is_running: false,
            },
        };
        if let Some(since) = known.running_since {
            badge.is_running = true;
            badge.lines.push(format!(
                "It is being verified since {}; open the page again to see what was found.",
                moment(since)
            ));
        }
        badge
    }

    fn of_checked(Checked { began_at, ended_at, verdict }: &Checked) -> Self {
        let when = moment(*began_at);
        let is_running = false;
        match verdict {
            Verdict::Whole(found) => {
                let whole = found.key.to_string();
                let id = whole.rsplit('+').nth(1).unwrap_or_default().to_owned();
                let took = spelled(ended_at.since(*began_at));
                let mut lines = vec![format!(
                    "On {when} every hash of the log {} was recomputed, and the signature of its \
                     checkpoint checked, in {took}.",
                    found.origin
                )];
                lines.push(match found.signed.checked_sub(1) {
                    Some(last) => format!("Signed up to entry {last}: {} entries.", found.signed),
                    None => "Its checkpoint signs no entry yet.".to_owned(),
                });
                lines.push(format!(
                    "Behind it: {} that no checkpoint signed then, {} without an end.",
                    counted(found.after_checkpoint, "entry", "entries"),
                    counted(found.open_intents, "call", "calls")
                ));
                if found.torn_bytes > 0 {
                    lines.push(format!(
                        "{} bytes at its end belong to no entry: what was being written, or what a \
                         crash tore.",
                        found.torn_bytes
                    ));
                }
                Self {
                    tone: "good",
                    heading: "Verified",
                    lines,
                    remedy: String::new(),
                    key: Some(KeyView { id, whole }),
                    is_running,
                }
            }
            Verdict::Broken { what, remedy, first_bad } => {
                let mut lines = vec![format!("On {when}: {}.", unmarked(what))];
                lines.extend(
                    first_bad.map(|index| {
                        format!("The first entry that is known to be bad is {index}.")
                    }),
                );
                Self {
                    tone: "bad",
                    heading: "The log is not what was signed",
                    lines,
                    remedy: unmarked(remedy),
                    key: None,
                    is_running,
                }
            }
            Verdict::Unknown { what, remedy } => Self {
                tone: "soft",
                heading: "Not verified",
                lines: vec![
                    format!("On {when} something could not be read: {}.", unmarked(what)),
                    "That says nothing of the log.".to_owned(),
                ],
                remedy: unmarked(remedy),
                key: None,
                is_running,
            },
        }
    }
}

fn spelled(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        return format!("{} ms", time.as_millis());
    }
    format!("{:.1} s", time.as_secs_f64())
}

/// What is marked for a terminal is quoted here.
fn unmarked(text: &str) -> String {
    text.replace('`', "\"")
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
