//! Texts and numbers.

use super::{Flat, Inventor, Spot};
use crate::described::{
    flavor::{Flavor, WORDS},
    schema::{Kinds, SchemaId},
};
use detect::FieldClass;
use serde_json::Value;

impl Inventor<'_> {
    pub(super) fn text(&self, ids: &[SchemaId], flat: &Flat, spot: Spot<'_>) -> Value {
        let limits = || self.schemas_of(flat).filter_map(|one| one.limits.as_deref());
        let min = limits().filter_map(|limits| limits.min_length).max().unwrap_or(0);
        let max = limits().filter_map(|limits| limits.max_length).min().unwrap_or(u64::MAX);
        let (min, max) = (
            usize::try_from(min).unwrap_or(usize::MAX),
            usize::try_from(max).unwrap_or(usize::MAX),
        );
        let flavor = self.flavors.of(spot.name, spot.outer, FieldClass::Text);
        let is_secret = flavor == Flavor::Secret;
        let mut candidates: Vec<String> = Vec::new();
        candidates.extend(flavor.text(spot.key, spot.around));
        let formats = limits().filter_map(|limits| limits.format?.invent(spot.key));
        candidates.extend(formats);
        for pattern in limits().filter_map(|limits| limits.pattern.as_ref()) {
            let key = (!is_secret).then_some(spot.key);
            candidates.extend(pattern.invent(key, min, max));
        }
        candidates
            .extend(limits().filter_map(|limits| limits.example.as_deref().map(str::to_owned)));
        candidates.extend(
            limits().filter_map(|limits| limits.default.as_ref()?.as_str().map(str::to_owned)),
        );
        let words = WORDS;
        let second = spot.key.at("second").text(&words);
        candidates.push(format!("{} {second}", spot.key.text(&words)));
        candidates.push(format!("{}{}", spot.key.text(&words), spot.key.below(1_000)));
        candidates.push(spot.key.below(1_000_000).to_string());
        candidates.push("a".to_owned());
        candidates.push(String::new());
        let fits = |text: &str| self.holds(ids, &Value::String(text.to_owned()));
        for text in candidates {
            if fits(&text) {
                return Value::String(text);
            }
            let sized = sized(text, min, max);
            // Long texts take the room of many values.
            self.room.set(self.room.get().saturating_sub(sized.len() / 256));
            if fits(&sized) {
                return Value::String(sized);
            }
        }
        Value::String(String::new())
    }

    pub(super) fn number(
        &self,
        ids: &[SchemaId],
        flat: &Flat,
        kinds: Kinds,
        spot: Spot<'_>,
    ) -> Value {
        let limits = || self.schemas_of(flat).filter_map(|one| one.limits.as_deref());
        let is_whole = !kinds.has(Kinds::FRACTION);
        let least = |a: f64, b: f64| a.max(b);
        let low = limits().filter_map(|limits| limits.minimum).reduce(least);
        let above = limits().filter_map(|limits| limits.above).reduce(least);
        let high = limits().filter_map(|limits| limits.maximum).reduce(f64::min);
        let below = limits().filter_map(|limits| limits.below).reduce(f64::min);
        let step = limits().find_map(|limits| limits.multiple_of);
        let unit = step.unwrap_or(1.0);
        let low = match (low, above) {
            (low, Some(above)) => Some(least(low.unwrap_or(f64::MIN), above + unit)),
            (low, None) => low,
        };
        let high = match (high, below) {
            (high, Some(below)) => Some(high.unwrap_or(f64::MAX).min(below - unit)),
            (high, None) => high,
        };
        let flavor = self.flavors.of(spot.name, spot.outer, FieldClass::Number);
        #[expect(clippy::cast_precision_loss, reason = "an invented number may be any")]
        let mut number = flavor.number(spot.key) as f64;
        if flavor == Flavor::Amount && !is_whole && step.is_none() {
            number /= 100.0;
        }
        let is_outside = |number: f64| {
            low.is_some_and(|low| number < low) || high.is_some_and(|high| number > high)
        };
        if is_outside(number) {
            #[expect(clippy::cast_precision_loss, reason = "an invented number may be any")]
            let drawn = spot.key.below(1_000) as f64;
            number = match (low, high) {
                (Some(low), Some(high)) if high >= low => {
                    low + drawn % (high - low).min(1e15).floor().max(1.0)
                }
                (Some(low), None) => low + drawn,
                (None, Some(high)) => high - drawn,
                _ => number,
            };
        }
        let candidates = [
            number,
            (number / unit).round() * unit,
            (number / unit).floor() * unit,
            (number / unit).ceil() * unit,
            low.unwrap_or(0.0),
            low.unwrap_or(0.0).ceil(),
            high.unwrap_or(0.0),
            high.unwrap_or(0.0).floor(),
            low.zip(high).map_or(0.5, |(low, high)| f64::midpoint(low, high)),
            above
                .zip(limits().find_map(|limits| limits.maximum))
                .map_or(0.0, |(low, high)| f64::midpoint(low, high)),
        ];
        let fits = |value: &Value| self.holds(ids, value);
        let found = candidates.into_iter().map(|one| json_number(one, is_whole)).find(fits);
        found.unwrap_or_else(|| json_number(number, is_whole))
    }
}

/// A text cut or filled up to a length, in characters.
fn sized(text: String, min: usize, max: usize) -> String {
    /// Nobody needs longer texts, whatever a description says.
    const MOST: usize = 4_096;
    let count = text.chars().count();
    if count > max {
        return text.chars().take(max).collect();
    }
    if count < min {
        let filler = if text.is_empty() { "a" } else { &text };
        return filler.chars().cycle().take(min.min(MOST)).collect();
    }
    text
}

fn json_number(number: f64, is_whole: bool) -> Value {
    if is_whole || number.fract() == 0.0 && number.abs() < 1e15 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "saturates, and is checked by the caller"
        )]
        return Value::from(number.round() as i64);
    }
    serde_json::Number::from_f64(number).map_or(Value::Null, Value::Number)
}
