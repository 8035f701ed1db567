//! The fields that were labelled by hand, and how often the labels agree with them.

use provider::{LoadLimits, Provider, load};
use std::{collections::BTreeMap, fmt, path::Path};

/// A line of `labelled_fields.tsv`; its head says how the fields were drawn and labelled.
#[derive(Debug)]
pub struct Labelled {
    pub file: String,
    pub object: String,
    pub path: String,
    pub drawn: String,
    pub half: String,
    /// `None` where the hand wrote `none`.
    pub wanted: Option<String>,
}

/// A labelled field with what was judged of it.
#[derive(Debug)]
pub struct Judged {
    pub field: Labelled,
    /// `unclassified` is no category: the judgement is that nothing can be told.
    pub found: Option<String>,
    pub confidence: u8,
    pub reason: String,
    pub is_sensitive: bool,
}

/// Reads the lines.
pub fn labelled() -> Vec<Labelled> {
    const DRAWS: [&str; 2] = [
        include_str!("../../../detect/tests/data/labelled_fields.tsv"),
        include_str!("../../../detect/tests/data/fresh_fields.tsv"),
    ];
    DRAWS
        .into_iter()
        .flat_map(|draw| draw.lines().filter(|line| !line.starts_with('#')).skip(1))
        .map(|line| {
            let cells: Vec<&str> = line.split('\t').collect();
            let [file, object, path, drawn, _, _, half, label] = cells[..] else {
                panic!("eight cells, not {line:?}")
            };
            Labelled {
                file: file.to_owned(),
                object: object.to_owned(),
                path: path.to_owned(),
                drawn: drawn.to_owned(),
                half: half.to_owned(),
                wanted: (label != "none").then(|| label.to_owned()),
            }
        })
        .collect()
}

/// Judges them all as an import does, from the descriptions in `corpus`.
pub fn judge(corpus: &Path) -> Vec<Judged> {
    let mut providers: BTreeMap<String, Provider> = BTreeMap::new();
    let all = labelled();
    let drawn = all.len();
    let judged: Vec<Judged> = all
        .into_iter()
        .filter_map(|field| {
            let provider = providers.entry(field.file.clone()).or_insert_with(|| {
                let source = std::fs::read(corpus.join(&field.file)).unwrap();
                load(&source, None, &LoadLimits::default()).unwrap()
            });
            // What was drawn from an object that is none any more is not judged any more.
            let (_, object) = provider.object_by_name(&field.object)?;
            let found = object.fields.iter().find(|one| one.path == field.path)?;
            let label = found.label.as_ref();
            let category = label.map(|label| label.category.clone());
            Some(Judged {
                found: category.filter(|category| category != "unclassified"),
                confidence: label.map_or(0, |label| label.confidence),
                reason: label.map_or_else(String::new, |label| label.reason.clone()),
                is_sensitive: label.is_some_and(|label| label.is_sensitive),
                field,
            })
        })
        .collect();
    assert!(judged.len() * 100 >= drawn * 95, "{} of {drawn}", judged.len());
    judged
}

/// How many agree.
#[derive(Debug, Default, Clone, Copy)]
pub struct Figures {
    pub fields: usize,
    /// With a category by hand.
    pub wanted: usize,
    /// With a category by judgement.
    pub found: usize,
    /// With the same category by both.
    pub agreed: usize,
}

impl Figures {
    pub fn of<'j>(all: impl IntoIterator<Item = &'j Judged>) -> Self {
        let mut figures = Self::default();
        for one in all {
            figures.fields += 1;
            figures.wanted += usize::from(one.field.wanted.is_some());
            figures.found += usize::from(one.found.is_some());
            figures.agreed += usize::from(one.found.is_some() && one.found == one.field.wanted);
        }
        figures
    }

    /// Of the categories that were given, the part that is right.
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    pub fn precision(&self) -> f64 {
        self.agreed as f64 / self.found as f64
    }

    /// Of the fields that have a category, the part that was given it.
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    pub fn recall(&self) -> f64 {
        self.agreed as f64 / self.wanted as f64
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} fields, {} with a category; precision {:.3}, recall {:.3}",
            self.fields,
            self.wanted,
            self.precision(),
            self.recall()
        )
    }
}
