//! A credential that a provider repeats is found in every spelling that is listed, wherever in a
//! stream it is cut; and in plain text nothing else is.

use crate::input::{Dice, parts, text};
use percent_encoding::percent_decode_str;
use serde_json::json;
use std::sync::LazyLock;
use types::{SecretBytes, SeededRandom};
use vault::{Credential, Echoes, MemoryKey, Placement, SealedInjection};

/// Shorter ones are found in harmless text, and are not looked for.
const MIN_BYTES: usize = 8;

static KEY: LazyLock<MemoryKey> =
    LazyLock::new(|| MemoryKey::generate(&SeededRandom::new(1)).expect("a key"));

/// As of a call that sent this secret.
pub(crate) fn echoes(secret: &str, placement: Placement) -> Option<Echoes> {
    let secret = match placement {
        Placement::Basic => json!({"username": "ada@example.com", "password": secret}),
        Placement::Bearer => json!({"token": secret}),
        _ => json!({"api_key": secret}),
    };
    let secret = SecretBytes::new(secret.to_string().into_bytes());
    let injection = Credential::parse(&secret).ok()?.place(&[("s".into(), placement)]).ok()?;
    let sealed = SealedInjection::seal(&KEY, &injection).expect("it is sealed");
    Some(Echoes::of(&sealed.open(&KEY).expect("it is opened")))
}

pub(crate) fn hold(data: &[u8]) -> bool {
    let [secret, around] = parts(data);
    let Some(secret) = text(secret) else { return false };
    // A word before a blank is taken for a scheme's, and backslashes alone are no secret. Of several
    // escapes that a secret holds itself, one may be spelled one way and another otherwise, for which
    // nobody looks; and what follows one that is cut short may complete it, as a backslash may that stands
    // between a percent sign and its digits.
    let long = secret.bytes().filter(|byte| *byte != b'\\').count();
    let own_escapes = secret.matches("\\u").count();
    let own_percents = secret.matches(['%', '&']).count();
    // A reference of its own (`&amp;`) is undone with the others, and may leave one byte of twelve; one
    // by number goes on in what follows.
    let own_references = secret.matches('&').count();
    if long < MIN_BYTES + 6 * own_escapes + 2 * own_percents + 11 * own_references
        || secret.contains("&#")
        || secret.contains(' ')
        || own_escapes > 1
        || own_escapes == 1 && is_cut_short(secret)
        || secret.contains('\\') && own_percents > 0
        || secret.matches('%').count() > 1
        || ends_in_an_escape(secret)
    {
        return false;
    }
    let mut dice = Dice::of(data);
    let name = || "x-key".to_owned();
    let mut looked_for = false;
    for placement in [
        Placement::Bearer,
        Placement::Basic,
        Placement::Header { name: name() },
        Placement::Query { name: name() },
    ] {
        // Words alone say as a password that there is none.
        let is_words =
            secret.bytes().all(|byte| byte.is_ascii_alphabetic() || b"-_.".contains(&byte));
        if placement == Placement::Basic && is_words {
            continue;
        }
        let Some(echoes) = echoes(secret, placement) else { continue };
        looked_for = true;
        for spelling in spellings(secret, &mut dice) {
            // Apart, so that no escape that `around` begins takes the first letters.
            let repeated = [around, b" ", spelling.as_bytes(), around].concat();
            assert!(echoes.are_in(&repeated), "{spelling}");
            // As a stream is looked at: what may be a beginning is kept until more has come.
            let (first, second) = repeated.split_at(around.len() + 1 + dice.below(spelling.len()));
            let kept = first.len() - echoes.overlap(first).min(first.len());
            let window = [&first[kept..], second].concat();
            assert!(echoes.are_in(&window), "{spelling} cut at {}", first.len());
        }
        // Without escapes, only what is there is found; of what has parts, a part may be. A byte that no
        // UTF-8 has is left out of a text.
        let has_parts =
            secret.contains([',', ';', ':', '=']) || secret.contains(char::is_whitespace);
        let is_plain = secret.is_ascii()
            && !has_parts
            && !secret.contains('\\')
            && !around.contains(&b'\\')
            && !around.contains(&0xFF);
        if is_plain && echoes.are_in(around) {
            assert!(is_repeated(secret, around), "found where it is not");
        }
    }
    looked_for
}

/// Whether what follows a secret may make an escape of its end.
fn ends_in_an_escape(secret: &str) -> bool {
    let end: Vec<char> = secret.chars().rev().take(8).collect();
    end.iter().take(5).any(|c| *c == '%') || end.contains(&'&')
}

/// Whether the first `\u` of a secret has not its four digits.
fn is_cut_short(secret: &str) -> bool {
    let after = secret.split_once("\\u").map_or("", |(_, after)| after);
    after.bytes().take_while(u8::is_ascii_hexdigit).count() < 4
}

/// What is listed: as it is, in JSON with any of its escapes, in a URL, in a form.
fn spellings(secret: &str, dice: &mut Dice) -> Vec<String> {
    let quoted = json!(secret).to_string();
    let json = quoted.trim_matches('"').to_owned();
    let json = if secret.ends_with('"') || secret.starts_with('"') { quoted } else { json };
    let escaped = |upper: bool| -> String {
        let unit =
            |unit: u16| if upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") };
        secret.encode_utf16().map(unit).collect()
    };
    let mixed: String = secret
        .chars()
        .map(|c| match dice.below(3) {
            0 => c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
            _ if matches!(c, '"' | '\\' | '/') => format!("\\{c}"),
            _ if c.is_control() => format!("\\u{:04X}", u32::from(c)),
            _ => c.to_string(),
        })
        .collect();
    let percent = |spell: fn(u8) -> String| -> String {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
        let one = |byte: u8| if plain(&byte) { char::from(byte).into() } else { spell(byte) };
        secret.bytes().map(one).collect()
    };
    vec![
        secret.to_owned(),
        json.clone(),
        json.replace('/', "\\/"),
        escaped(false),
        escaped(true),
        mixed,
        percent(|byte| format!("%{byte:02X}")),
        percent(|byte| format!("%{byte:02x}")),
    ]
}

fn is_repeated(secret: &str, text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let decoded = percent_decode_str(&text).decode_utf8_lossy();
    // A pair is sent in base64, which is looked for as well.
    let pair = format!("ada@example.com:{secret}");
    let pair = base64::Engine::encode(&base64::engine::general_purpose::STANDARD_NO_PAD, pair);
    [secret, pair.as_str()].iter().any(|one| text.contains(one) || decoded.contains(one))
}
