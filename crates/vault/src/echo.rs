//! A provider that repeats the credential it was sent: in an error's text, in a page that shows the
//! request, in a link. The spellings in which that happens are known while the call lasts, and are
//! looked for in what would leave.

use crate::{
    escapes::undone,
    injection::{OpenInjection, OpenPart},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use memchr::{memchr, memchr3, memmem};
use secrecy::zeroize::Zeroizing;
use std::fmt;

/// A secret that is shorter would be found in harmless text.
const MIN_BYTES: usize = 8;

/// What a byte of a secret takes at most in escapes within escapes, if an echo is to be found wherever a
/// text is cut: a character reference of six, each of them in an escape of JSON.
const WIDEST_ESCAPE: usize = 36;

/// The spellings of one call's credential; wiped on drop.
pub struct Echoes {
    needles: Vec<Needle>,
    /// The same with what looks like an escape undone, for texts of which the escapes are.
    bare: Vec<Needle>,
    longest: usize,
}

type Needle = Zeroizing<Vec<u8>>;

impl fmt::Debug for Echoes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Echoes(hidden)")
    }
}

impl Echoes {
    /// Of a call that sends no credential.
    pub const fn none() -> Self {
        Self { needles: Vec::new(), bare: Vec::new(), longest: 0 }
    }

    pub fn of(opened: &OpenInjection) -> Self {
        let mut echoes = Self::none();
        for part in opened.iter() {
            match part {
                OpenPart::Header { value, is_secret: true, .. } => echoes.add_header(value),
                OpenPart::Unsent { value } => echoes.add(value),
                OpenPart::Query { value, is_secret: true, .. } => {
                    let decoded = percent_encoding::percent_decode_str(value);
                    let decoded = Zeroizing::new(decoded.collect::<Vec<u8>>());
                    echoes.add(&decoded);
                    echoes.add_parts(&decoded);
                }
                OpenPart::Header { .. } | OpenPart::Query { .. } => {}
            }
        }
        echoes
    }

    /// A value may begin with the word of its scheme, in any header: what is repeated then is mostly
    /// the rest.
    fn add_header(&mut self, value: &[u8]) {
        let at = value.iter().position(|byte| *byte == b' ');
        let at = at.filter(|at| value.get(..*at).is_some_and(is_word));
        let (scheme, sent) = at.map_or((&b""[..], value), |at| {
            let (scheme, sent) = value.split_at_checked(at).unwrap_or((b"", value));
            (scheme, sent.trim_ascii())
        });
        if scheme.eq_ignore_ascii_case(b"basic") {
            self.add_basic(sent);
        } else {
            self.add(if sent.len() < MIN_BYTES { value } else { sent });
            self.add_parts(sent);
        }
    }

    /// `Token token="KEY", id=7`, `session=KEY; id=7`, `Key KEY` or `ID:KEY`: what is repeated may be the
    /// key alone.
    fn add_parts(&mut self, sent: &[u8]) {
        for part in sent.split(|byte| b",; \t".contains(byte)) {
            let given = after(b'=', part).filter(|given| !given.is_empty()).map(unquoted);
            self.add(given.unwrap_or_default());
            // What names the key is mostly known to many.
            self.add(after(b':', given.unwrap_or(part)).unwrap_or_default());
        }
        let last = sent.rsplit(u8::is_ascii_whitespace).next();
        self.add(last.filter(|last| after(b'=', last).is_none()).unwrap_or_default());
    }

    /// The pair as it is sent, and what in it is secret: mostly the password, but where that is
    /// short or the same for everybody (some providers take a key as the user), the user.
    fn add_basic(&mut self, sent: &[u8]) {
        let end = sent.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
        self.add(sent.get(..end).unwrap_or(sent));
        let Ok(pair) = STANDARD.decode(sent).map(Zeroizing::new) else { return };
        let Some(colon) = pair.iter().position(|byte| *byte == b':') else { return };
        let password = pair.get(colon + 1..).unwrap_or(b"");
        if password.len() >= MIN_BYTES && !is_placeholder(password) {
            self.add(password);
        } else {
            self.add(pair.get(..colon).unwrap_or(b""));
        }
    }

    fn add(&mut self, secret: &[u8]) {
        if secret.len() < MIN_BYTES {
            return;
        }
        self.push(Zeroizing::new(secret.to_vec()));
        // As forms are written; all else of `%XX` is undone where it comes.
        self.push(respelled(secret, |byte| byte == b' ', |_, out| out.push(b'+')));
        // Read as Latin-1, which is what HTTP once said of headers.
        self.push(respelled(secret, |byte| !byte.is_ascii(), latin_1));
        // Its own backslashes may look like escapes.
        if memchr(b'\\', secret).is_some() {
            self.push(respelled(secret, |byte| b"\"\\".contains(&byte), backslash));
        }
    }

    fn push(&mut self, needle: Needle) {
        // Backslashes of its own may begin what looks like an escape, and is undone with the others
        // unless it is spelled as one itself.
        let bare = respelled(&needle, |byte| byte == b'\\', |_, _| {});
        let bare = Zeroizing::new(undone(&bare));
        let plain = Zeroizing::new(undone(&needle));
        for bare in [bare, plain] {
            if bare.len() >= MIN_BYTES && !self.bare.contains(&bare) {
                self.bare.push(bare);
            }
        }
        if !self.needles.contains(&needle) {
            self.longest = self.longest.max(needle.len());
            self.needles.push(needle);
        }
    }

    /// Whether `text` repeats the credential, as it stands or with the escapes of JSON, HTML and URLs undone.
    pub fn are_in(&self, text: &[u8]) -> bool {
        let find = |needles: &[Needle], text: &[u8]| {
            needles.iter().any(|needle| memmem::find(text, needle).is_some())
        };
        find(&self.needles, text)
            || (!self.bare.is_empty()
                && memchr3(b'\\', b'&', b'%', text).is_some()
                && find(&self.bare, &undone(text)))
    }

    /// How many bytes at the end of `text` may be the beginning of an echo that goes on in what
    /// follows: more where it may be spelled in escapes.
    pub fn overlap(&self, text: &[u8]) -> usize {
        let wide = self.longest.saturating_mul(WIDEST_ESCAPE);
        let end = text.get(text.len().saturating_sub(wide)..).unwrap_or(text);
        let is_escaped = memchr3(b'\\', b'&', b'%', end).is_some();
        (if is_escaped { wide } else { self.longest }).saturating_sub(1)
    }
}

/// What follows the first of these.
fn after(mark: u8, text: &[u8]) -> Option<&[u8]> {
    let at = text.iter().position(|byte| *byte == mark)?;
    text.get(at + 1..)
}

/// A scheme's name, and no beginning of what is sent.
fn is_word(text: &[u8]) -> bool {
    text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

/// A password that says only that there is none, such as `api_token` or `x-oauth-basic`.
fn is_placeholder(password: &[u8]) -> bool {
    const WORDS: [&str; 22] = [
        "access", "any", "api", "apikey", "auth", "basic", "bearer", "blank", "dummy", "empty",
        "ignored", "key", "no", "none", "nopass", "oauth", "pass", "password", "secret", "token",
        "unused", "x",
    ];
    let mut words = password.split(|byte| b"-_. ".contains(byte));
    words.all(|word| {
        word.is_empty() || WORDS.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
    })
}

fn unquoted(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(text)
}

fn respelled(
    secret: &[u8],
    is_changed: impl Fn(u8) -> bool,
    write: impl Fn(u8, &mut Vec<u8>),
) -> Needle {
    // The longest spelling of a byte has three; a buffer that grows would leave copies behind.
    let mut out = Zeroizing::new(Vec::with_capacity(3 * secret.len()));
    for byte in secret.iter().copied() {
        if is_changed(byte) {
            write(byte, &mut out);
        } else {
            out.push(byte);
        }
    }
    out
}

fn backslash(byte: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'\\', byte]);
}

fn latin_1(byte: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(char::from(byte).encode_utf8(&mut [0; 2]).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Injection, MemoryKey, SealedInjection, injection::Part};
    use types::SeededRandom;

    fn echoes(part: Part) -> Echoes {
        let key = MemoryKey::generate(&SeededRandom::new(1)).unwrap();
        let injection = Injection::new(vec![part], None).unwrap();
        let sealed = SealedInjection::seal(&key, &injection).unwrap();
        Echoes::of(&sealed.open(&key).unwrap())
    }

    fn escaped(text: &str, prefix: &str, is_upper: bool) -> String {
        let spell =
            |unit: u16| if is_upper { format!("{unit:04X}") } else { format!("{unit:04x}") };
        text.encode_utf16().map(|unit| format!("{prefix}{}", spell(unit))).collect()
    }

    #[test]
    fn an_echo_is_found_in_every_spelling() {
        let key = "k/2 <a>&\"b\\c=é+z";
        let json = serde_json::to_string(key).unwrap();
        let html = key.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let html = html.replace('"', "&#34;").replace('/', "&#x2F;");
        let percent = |text: &str, kept: &[u8]| -> String {
            let spell = |byte: u8| match byte {
                _ if byte.is_ascii_alphanumeric() || kept.contains(&byte) => {
                    char::from(byte).into()
                }
                _ => format!("%{byte:02X}"),
            };
            text.bytes().map(spell).collect()
        };
        let references = |text: &str, spell: fn(u32) -> String| -> String {
            text.chars().map(|c| spell(u32::from(c))).collect()
        };
        let spellings = [
            key.to_owned(),
            json.clone(),
            json.replace('/', "\\/"),
            json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"),
            url::form_urlencoded::byte_serialize(key.as_bytes()).collect(),
            percent_encoding::utf8_percent_encode(key, percent_encoding::NON_ALPHANUMERIC)
                .to_string(),
            escaped(key, "\\u", false),
            escaped(key, "\\u", true),
            escaped(key, "\\\\u", false),
            json.replace('+', "\\u002B").replace('é', "\\u00e9").replace('/', "\\/"),
            json.replace('é', "\\u00c3\\u00A9"),
            // By encodeURIComponent, by Go for paths, in mixed case, twice, and in JSON.
            percent(key, b"!'()*"),
            percent(key, b"&=+$@:"),
            percent(key, b"").replace("%3C", "%3c"),
            percent(key, b"").replace('%', "%25"),
            percent(key, b"").replace('%', "\\u0025"),
            // As PHP, Go and others write it into a page; that in JSON; and twice.
            html.clone(),
            html.replace('é', "&eacute;"),
            html.replace('&', "\\u0026"),
            html.replace('&', "&amp;"),
            references(key, |c| format!("&#{c};")),
            references(key, |c| format!("&#x{c:x};")),
            references(key, |c| format!("&#x{c:04X};")).replace('&', "\\u0026"),
            escaped(key, "\\u005cu", false),
            escaped(&references(key, |c| format!("&#x{c:x};")), "\\u", false),
            key.replace('é', "Ã©"),
        ];
        for found in [
            echoes(Part::bearer(key)),
            echoes(Part::header("s", "x-key", key).unwrap()),
            echoes(Part::query("s", "key", key).unwrap()),
        ] {
            for spelling in &spellings {
                let text = format!("no such key: {spelling}, sorry");
                assert!(found.are_in(text.as_bytes()), "{spelling}");
                for cut in 1..spelling.len() {
                    let (first, second) = spelling.split_at_checked(cut).unwrap_or(("", spelling));
                    let first = format!("{}{first}", "x".repeat(500));
                    let kept = first.len() - found.overlap(first.as_bytes()).min(first.len());
                    let window = [&first.as_bytes()[kept..], second.as_bytes()].concat();
                    assert!(found.are_in(&window), "{spelling} cut at {cut}");
                }
            }
            assert!(!found.are_in(b"k/2 <a>&b") && !found.are_in(b"k/2 &lt;a&gt;&amp;b"));
        }
    }

    /// A secret that holds what reads like an escape.
    #[test]
    fn a_secrets_own_escapes_do_not_hide_it() {
        let found = echoes(Part::bearer(r"k/\u0041-012345"));
        for spelling in [
            r"k/\u0041-012345",
            r"k\/\\u0041-012345",
            r"k\/\u005cu0041-012345",
            r"\u006b/\\u0041-01234\u0035",
        ] {
            assert!(found.are_in(format!("no such key: {spelling}").as_bytes()), "{spelling}");
        }
        assert!(!found.are_in(br"k\/\\u0042-012345"));
    }

    #[test]
    fn of_a_pair_the_secret_half_is_looked_for() {
        let found = echoes(Part::basic("ada@example.com", "correct horse"));
        assert!(found.are_in(b"YWRhQGV4YW1wbGUuY29tOmNvcnJlY3QgaG9yc2U="));
        assert!(found.are_in(b"user=ada&password=correct+horse"));
        assert!(!found.are_in(b"{\"email\":\"ada@example.com\"}"));
        for password in ["x", "api_token", "x-oauth-basic", "X-OAuth-Basic", "no password"] {
            let found = echoes(Part::basic("sk_live_51H8", password));
            assert!(found.are_in(b"Invalid API key: sk_live_51H8"), "{password}");
            assert!(!found.are_in(b"api_token and x-oauth-basic are words"), "{password}");
        }
        // An account's name stands in every answer of some providers.
        let found = echoes(Part::basic("AC5b7e0c14d25b7e0c14d2", "9f8e7d6c5b4a"));
        assert!(!found.are_in(b"{\"account_sid\":\"AC5b7e0c14d25b7e0c14d2\"}"));
    }

    #[test]
    fn a_schemes_word_need_not_be_repeated() {
        let found = echoes(Part::header("s", "x-key", "Token 5b7e0c14d2").unwrap());
        assert!(found.are_in(b"no such token: 5b7e0c14d2"));
        for given in
            ["Token token=5b7e0c14d2", "Token id=7, token=\"5b7e0c14d2\"", "Key k=5b7e0c14d2=="]
        {
            let found = echoes(Part::header("s", "x-key", given).unwrap());
            assert!(found.are_in(b"no such token: 5b7e0c14d2=="), "{given}");
            assert!(!found.are_in(b"no such token: 5b7e0c14d"), "{given}");
        }
        for given in [
            "token apikey_1:erpsecret_77aa",
            "id77:erpsecret_77aa",
            "Custom id=77; key=erpsecret_77aa",
            "Custom id=77;key=id77:erpsecret_77aa",
            "Api Key erpsecret_77aa",
            "first=77; session=erpsecret_77aa; last=1",
            "session=erpsecret_77aa; last=1",
        ] {
            for part in [
                Part::header("s", "x-key", given).unwrap(),
                Part::query("s", "key", given).unwrap(),
            ] {
                assert!(echoes(part).are_in(b"no such key: erpsecret_77aa"), "{given}");
            }
            let found = echoes(Part::header("s", "x-key", given).unwrap());
            assert!(!found.are_in(b"no such key: apikey_1"), "{given}");
        }
        let found = echoes(Part::header("s", "x-key", "basic YTpjb3JyZWN0IGhvcnNl").unwrap());
        assert!(found.are_in(b"the password is correct horse"));
        let found = echoes(Part::header("s", "x-key", "correct key").unwrap());
        assert!(found.are_in(b"correct key") && !found.are_in(b"another key"));
    }

    #[test]
    fn short_secrets_are_not_looked_for() {
        assert!(!echoes(Part::bearer("12345")).are_in(b"{\"id\":12345}"));
        assert!(!Echoes::none().are_in(b"anything"));
    }
}
