//! Draws the fields that `tests/it/labels.rs` is about: `sample FOLDER [SEED ANY WORD]` prints a line
//! for each, with what a person needs to judge it and nothing of what the detector says.
//!
//! The draw is fixed by the seed and the two numbers; those of the first draw are the defaults, those
//! of the others stand in `crates/detect/tests/data/fresh_fields.tsv`. Two parts: from each document the same number of fields, over all
//! kinds of type, whatever they are called (`any`); and for each of many words that personal and
//! secret fields, and their harmless neighbours, are called by, a few fields over all documents
//! (`word`). Of one document a name is drawn once.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a tool for looking"
)]

use provider::{Additional, Field, FieldKind, LoadLimits, Member, Provider, Shape, ShapeId, Step};
use std::collections::{BTreeMap, BTreeSet};

/// The first draw: its seed, fields of each document, fields for each word.
const FIRST: (&str, usize, usize) = ("weirgate labels 1", 19, 6);

/// Begins of words in names; wide on purpose.
const WORDS: &str = "access account address age agent allerg answer assignee auth author avatar bank \
    benefit bic bill bio birth blood body bonus bsb card cell cert child cit citizen city code comment \
    company compens contact content cookie country county credential credit crim custom customer cvc \
    cvv deduct depend device disab dob driv earn ein email emergency employ ethnic exp face family \
    fax finger first full gender genetic given guest handle health hire iban id identi illness image \
    income injur insur ip job key language last lat leave licen linkedin lng locale location login lon \
    mac mail manager marital matern medical member message middle mobile name nation ni note number \
    nino otp owner pan pass passcode passport password patern patient pay pension permit person phone \
    photo picture pin politic postal postcode pregnan private profile pronoun province race rate reason \
    region relation relig role routing salary secret sender session sex sick sign signature sin skype \
    social sort spouse ssn state street surname swift tax taxpayer tel text tin title token twitter \
    union url user username vaccin vat veteran visa voice wage webhook website weight zip zone";

fn main() {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "../shared/openapi-corpus".into());
    let argument = |place: usize| std::env::args().nth(place);
    let number = |place: usize, first| argument(place).map_or(first, |text| text.parse().unwrap());
    let seed = argument(2).unwrap_or_else(|| FIRST.0.into());
    let (any_per_document, per_word) = (number(3, FIRST.1), number(4, FIRST.2));
    let index = std::fs::read_to_string(format!("{folder}/INDEX.tsv")).unwrap();
    let mut all: Vec<Line> = Vec::new();
    for line in index.lines().skip(1) {
        let file = line.split('\t').next().unwrap();
        let source = std::fs::read(format!("{folder}/{file}")).unwrap();
        let provider = provider::load(&source, None, &LoadLimits::default()).unwrap();
        all.extend(lines(&seed, file, &provider));
    }
    all.sort_by_key(|line| line.rank);
    let mut names = BTreeSet::new();
    all.retain(|line| names.insert((line.file.clone(), line.name.to_ascii_lowercase())));
    let mut drawn: BTreeMap<usize, &str> = BTreeMap::new();
    for file in all.iter().map(|line| &line.file).collect::<BTreeSet<_>>() {
        let kinds: Vec<&str> =
            all.iter().map(|line| line.kind).collect::<BTreeSet<_>>().into_iter().collect();
        let mut taken = 0;
        // One of each kind in turn, strings each time: they are most of what there is.
        for kind in kinds.iter().flat_map(|kind| ["string", kind]).cycle().take(1_000) {
            if taken == any_per_document {
                break;
            }
            let next = all.iter().enumerate().find(|(place, line)| {
                line.file == *file && line.kind == kind && !drawn.contains_key(place)
            });
            if let Some((place, _)) = next {
                drawn.insert(place, "any");
                taken += 1;
            }
        }
    }
    for word in WORDS.split_whitespace() {
        let found = all.iter().enumerate().filter(|(_, line)| {
            line.words
                .iter()
                .any(|one| if word.len() < 4 { one == word } else { one.starts_with(word) })
        });
        for (place, _) in found.take(per_word) {
            drawn.entry(place).or_insert("word");
        }
    }
    let mut lines: Vec<(&Line, &str)> =
        drawn.iter().map(|(place, part)| (&all[*place], *part)).collect();
    lines.sort_by_key(|(line, _)| (&line.file, &line.object, &line.path));
    for (line, part) in lines {
        println!(
            "{}\t{}\t{}\t{part}\t{}\t{}\t{}\t{}",
            line.file,
            line.object,
            line.path,
            line.kind,
            line.format,
            line.choices,
            line.description
        );
    }
}

struct Line {
    rank: u64,
    file: String,
    object: String,
    path: String,
    name: String,
    words: Vec<String>,
    kind: &'static str,
    format: String,
    choices: String,
    description: String,
}

fn lines(seed: &str, file: &str, provider: &Provider) -> Vec<Line> {
    let mut lines = Vec::new();
    for object in &provider.objects {
        for field in &object.fields {
            let Some(kind) = kind(field) else { continue };
            let roots = object.read_shapes.iter().chain(&object.write_shapes);
            let Some(member) = roots.copied().find_map(|root| member(provider, root, &field.steps))
            else {
                continue;
            };
            let name = field.steps.iter().rev().find_map(|step| match step {
                Step::Member(name) => Some(name.clone()),
                _ => None,
            });
            let (format, choices) = scalar(provider, member.shape, 0);
            lines.push(Line {
                rank: rank(&format!("{seed}\n{file}\n{}\n{}", object.name, field.path)),
                file: file.to_owned(),
                object: object.name.clone(),
                path: field.path.clone(),
                words: words(name.as_deref().unwrap_or_default()),
                name: name.unwrap_or_default(),
                kind,
                format,
                choices,
                description: member.description.split_whitespace().collect::<Vec<_>>().join(" "),
            });
        }
    }
    lines
}

fn kind(field: &Field) -> Option<&'static str> {
    use provider::ScalarKind as Kind;
    Some(match &field.kind {
        FieldKind::Scalar { kind, .. } => match kind {
            Kind::String => "string",
            Kind::Integer => "integer",
            Kind::Number => "number",
            Kind::Boolean => "boolean",
            Kind::Date => "date",
            Kind::Enum => "enum",
            Kind::Mixed => "mixed",
        },
        FieldKind::Inline => "inline",
        FieldKind::FreeForm => "free-form",
        FieldKind::Untyped => "untyped",
        FieldKind::Named(_) | FieldKind::OneOfNamed(_) => return None,
    })
}

/// The member that a path leads to, through alternatives.
fn member<'p>(provider: &'p Provider, at: ShapeId, steps: &[Step]) -> Option<&'p Member> {
    match (provider.shape(at), steps.split_first()?) {
        (Shape::Union(all), _) => all.iter().find_map(|one| member(provider, *one, steps)),
        (Shape::Array { items }, (Step::Elements, rest)) => member(provider, *items, rest),
        (Shape::Object(object), (Step::AnyMember, rest)) => match object.additional {
            Additional::Map(values) => member(provider, values, rest),
            _ => None,
        },
        (Shape::Object(object), (Step::Member(name), rest)) => {
            let found = object.members.get(name)?;
            let is_last = rest.iter().all(|step| *step == Step::Elements);
            if is_last { Some(found) } else { member(provider, found.shape, rest) }
        }
        _ => None,
    }
}

fn scalar(provider: &Provider, at: ShapeId, depth: usize) -> (String, String) {
    match provider.shape(at) {
        Shape::Scalar { format, choices, .. } => {
            let shown: Vec<&str> = choices.iter().take(4).map(String::as_str).collect();
            (format.clone().unwrap_or_default(), shown.join("|"))
        }
        Shape::Array { items } if depth < 9 => scalar(provider, *items, depth + 1),
        Shape::Union(all) if depth < 9 => all
            .iter()
            .map(|one| scalar(provider, *one, depth + 1))
            .find(|(format, choices)| !format.is_empty() || !choices.is_empty())
            .unwrap_or_default(),
        _ => Default::default(),
    }
}

/// Splits at case and at what is no letter.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for c in name.chars() {
        if !c.is_alphabetic() || c.is_uppercase() && was_lower {
            words.push(String::new());
        }
        if c.is_alphabetic() {
            words.last_mut().unwrap().extend(c.to_lowercase());
        }
        was_lower = c.is_lowercase();
    }
    words
}

/// FNV-1a, stirred: the same on every machine and in every release.
fn rank(text: &str) -> u64 {
    let mut hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}
