//! Texts read as types, each problem with its place.

use super::{
    Origin, Problem, Setting,
    keys::{Key, key},
};
use std::{path::PathBuf, str::FromStr, time::Duration};
use types::Rate;

const NO_KEY: Key = key("", "", "", "");

/// Reads texts as types.
pub(super) struct Reader<'a> {
    pub settings: &'a [Setting],
    pub problems: Vec<Problem>,
}

impl Reader<'_> {
    pub(super) fn text(&self, name: &str) -> &Setting {
        static NONE: Setting =
            Setting { key: &NO_KEY, value: String::new(), origin: Origin::Default };
        self.settings.iter().find(|setting| setting.key.name == name).unwrap_or(&NONE)
    }

    pub(super) fn fail(&mut self, name: &str, what: &str, remedy: String) {
        let setting = self.text(name);
        let place = match &setting.origin {
            Origin::Flag => format!("--{}", name.replace('_', "-")),
            origin => origin.to_string(),
        };
        let line = match setting.origin {
            Origin::File { line, .. } => Some(line),
            _ => None,
        };
        let what = format!("`{name}` {what}");
        self.problems.push(Problem { place, line, is_about_a_key: true, what, remedy });
    }

    pub(super) fn parse<T: FromStr>(&mut self, name: &str, fallback: T) -> T {
        if let Ok(value) = self.text(name).value.parse() {
            return value;
        }
        let unit = self.text(name).key.unit;
        self.fail(name, "is malformed", format!("Give a value of the form: {unit}."));
        fallback
    }

    pub(super) fn positive(&mut self, name: &str) -> u64 {
        let value = self.parse(name, 1_u64);
        if value == 0 {
            self.fail(name, "is zero", "Give a positive number.".into());
        }
        value
    }

    pub(super) fn rates(&mut self, name: &str) -> Vec<Rate> {
        match Rate::parse_list(&self.text(name).value) {
            Ok(rates) => rates,
            Err(error) => {
                let remedy = "Separate several by commas; leave it empty for no limit.";
                self.fail(name, &format!("is malformed: {error}"), remedy.into());
                Vec::new()
            }
        }
    }

    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        let value = &self.text(name).value;
        (!value.is_empty()).then(|| PathBuf::from(value))
    }

    pub(super) fn millis(&mut self, name: &str) -> Duration {
        Duration::from_millis(self.positive(name))
    }
}
