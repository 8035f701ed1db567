//! The rules made ready once, and the order in which they are asked.

use super::{
    FieldClass, FieldHint, Reason,
    rules::{
        AROUND, Around, DESCRIPTIONS, FLAG_BEGINS, FLAGS, FOLLOWING, FORMATS, GENERIC, HARMLESS,
        Holds, REFERRING, Rule, SECTIONS, WITHIN,
    },
    words::{Pattern, Test, head, is_number, is_person, words},
};
use std::{collections::HashMap, sync::LazyLock};

/// A category with what spoke for it.
pub(super) type Verdict = (&'static str, u8, Reason);

/// The most characters of a description that are looked at: what it begins with counts.
const MAX_DESCRIPTION: usize = 160;

struct Rules {
    harmless: Vec<Pattern>,
    around: Vec<(Pattern, Around)>,
    within: Vec<(Around, Holds, Pattern, Rule)>,
    names: Vec<(Pattern, Holds, &'static [&'static str], Rule)>,
    /// Places in `names` by the first word of the pattern.
    by_word: HashMap<String, Vec<usize>>,
    /// Places in `names` whose first word has many spellings.
    by_begin: Vec<(Test, usize)>,
}

static RULES: LazyLock<Rules> = LazyLock::new(Rules::prepare);

impl Rules {
    fn prepare() -> Self {
        let mut rules = Self {
            harmless: HARMLESS.iter().copied().map(Pattern::parse).collect(),
            around: AROUND.iter().map(|(text, around)| (Pattern::parse(text), *around)).collect(),
            within: WITHIN
                .iter()
                .map(|(around, holds, rule)| (*around, *holds, Pattern::parse(rule.0), *rule))
                .collect(),
            names: SECTIONS
                .iter()
                .flat_map(|section| {
                    section
                        .rules
                        .iter()
                        .map(|rule| (Pattern::parse(rule.0), section.holds, section.unless, *rule))
                })
                .collect(),
            by_word: HashMap::new(),
            by_begin: Vec::new(),
        };
        for (place, (pattern, ..)) in rules.names.iter().enumerate() {
            match pattern.first() {
                Some(Test::Word(word)) => {
                    rules.by_word.entry(word.to_owned()).or_default().push(place);
                }
                Some(Test::Plural(word)) => {
                    for ending in ["", "s", "es"] {
                        rules.by_word.entry(format!("{word}{ending}")).or_default().push(place);
                    }
                }
                Some(test) => rules.by_begin.push((test, place)),
                None => {}
            }
        }
        rules
    }

    /// The first rule of names that fits.
    fn by_name(&self, words: &[String], class: FieldClass) -> Option<Verdict> {
        let known = words.iter().filter_map(|word| self.by_word.get(word)).flatten().copied();
        let begun = self
            .by_begin
            .iter()
            .filter_map(|(test, place)| words.iter().any(|word| test.fits(word)).then_some(*place));
        let mut places: Vec<usize> = known.chain(begun).collect();
        places.sort_unstable();
        places.dedup();
        let head = head(words).unwrap_or_default();
        places
            .into_iter()
            .filter_map(|place| self.names.get(place))
            .find(|(pattern, holds, unless, _)| {
                can_hold(*holds, class) && !unless.contains(&head) && pattern.fits(words)
            })
            .map(|(_, _, _, (pattern, category, confidence))| {
                (*category, *confidence, Reason::Name(pattern))
            })
    }

    /// The first rule of surroundings that fits.
    fn by_surroundings(
        &self,
        words: &[String],
        outer: &[&str],
        class: FieldClass,
    ) -> Option<Verdict> {
        let nearest = outer.iter().rev().map(|name| telling(name)).find(|it| !it.is_empty())?;
        let around: Vec<Around> = self
            .around
            .iter()
            .filter(|(pattern, _)| pattern.fits(&nearest))
            .map(|(_, around)| *around)
            .collect();
        self.within
            .iter()
            .find(|(needed, holds, pattern, _)| {
                around.contains(needed) && can_hold(*holds, class) && pattern.fits(words)
            })
            .map(|(around, _, _, (pattern, category, confidence))| {
                (*category, *confidence, Reason::Within(around.word(), pattern))
            })
    }
}

/// Whether a name promises more than it holds.
pub(super) fn is_harmless(words: &[String]) -> bool {
    RULES.harmless.iter().any(|pattern| pattern.fits(words))
}

/// Judges a field by its words, its surroundings, its format and the begin of its description.
pub(super) fn judge(words: &[String], outer: &[&str], hint: &FieldHint<'_>) -> Option<Verdict> {
    let rules = &*RULES;
    let class = hint.class;
    by_format(hint.format)
        .or_else(|| rules.by_surroundings(words, outer, class))
        .or_else(|| rules.by_name(words, class))
        .or_else(|| by_description(hint))
        .filter(|(category, ..)| !category.is_empty())
}

/// Whether a name or a description says that a field is a flag, whatever its type.
pub(super) fn is_flag(words: &[String], description: &str) -> bool {
    if words.len() > 1 && words.first().is_some_and(|it| FLAG_BEGINS.contains(&it.as_str())) {
        return true;
    }
    let begin = beginning(description);
    FLAGS.iter().any(|flag| begin.starts_with(flag))
}

fn can_hold(holds: Holds, class: FieldClass) -> bool {
    match holds {
        Holds::Values => true,
        Holds::Texts => class != FieldClass::Number,
        Holds::Words => class == FieldClass::Text,
        Holds::References => matches!(class, FieldClass::Text | FieldClass::Number),
    }
}

fn by_format(format: Option<&str>) -> Option<Verdict> {
    let (format, category, confidence) = FORMATS.iter().find(|one| Some(one.0) == format)?;
    Some((*category, *confidence, Reason::Format(format)))
}

/// Only what a description says first.
fn by_description(hint: &FieldHint<'_>) -> Option<Verdict> {
    if !matches!(hint.class, FieldClass::Text | FieldClass::Number) {
        return None;
    }
    let begin = beginning(hint.description);
    let found = DESCRIPTIONS.iter().find(|(phrase, holds, ..)| {
        can_hold(*holds, hint.class) && begin.strip_prefix(phrase).is_some_and(stands_alone)
    });
    if let Some((phrase, _, category, confidence)) = found {
        return Some((*category, *confidence, Reason::Description(phrase)));
    }
    REFERRING
        .iter()
        .find(|phrase| begin.strip_prefix(**phrase).is_some_and(names_somebody))
        .map(|phrase| ("user.unique_id", 70, Reason::Description(phrase)))
}

/// Whether what follows a phrase does not make it part of another: `password.`, `password of the`,
/// not `password's age` or `password policy`.
fn stands_alone(rest: &str) -> bool {
    let Some(after) = rest.strip_prefix(' ') else {
        return !rest
            .starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '\'' | '\u{2019}'));
    };
    let end = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
    let word = after.get(..end).unwrap_or_default();
    word.is_empty() || FOLLOWING.contains(&word)
}

/// Whether a text begins with somebody: ` user who`, ` [team member](...)`, not ` user's role`.
fn names_somebody(rest: &str) -> bool {
    let rest = rest.trim_start_matches([' ', '[', '`', '*']);
    let mut at = 0;
    for _ in 0..2 {
        let Some(from) = rest.get(at..) else { return false };
        let end = from.find(|c: char| !c.is_alphabetic()).unwrap_or(from.len());
        let word = from.get(..end).unwrap_or_default();
        let after = from.get(end..).unwrap_or_default();
        if is_person(word) {
            return stands_alone(after);
        }
        at += end + 1;
    }
    false
}

/// How a description begins, lower case, without an article and without whose it is.
fn beginning(description: &str) -> String {
    let text: String = description.chars().take(MAX_DESCRIPTION).collect::<String>().to_lowercase();
    let mut rest = text.trim_start();
    loop {
        let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
        let is_possessive = word.ends_with("'s") || word.ends_with("\u{2019}s");
        if after.is_empty() || !(is_possessive || matches!(word, "the" | "a" | "an" | "your")) {
            return rest.to_owned();
        }
        rest = after.trim_start();
    }
}

/// The words of an object's or member's name without those that say nothing.
fn telling(name: &str) -> Vec<String> {
    let mut words = words(name);
    while words.last().is_some_and(|word| is_number(word) || GENERIC.contains(&word.as_str())) {
        words.pop();
    }
    words
}
