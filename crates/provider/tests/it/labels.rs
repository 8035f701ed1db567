//! How well labels agree with those that were given by hand, and what an overlay does to them.

use crate::{
    corpus::corpus,
    labelled::{Figures, Judged, judge},
};
use provider::{LoadLimits, load};
use serde_json::json;
use std::time::Instant;

#[test]
fn labels_agree_with_those_given_by_hand() {
    let Some(corpus) = corpus() else { return };
    let judged = judge(&corpus);
    let all = Figures::of(&judged);
    eprintln!("labels, all: {all}");
    for half in ["tune", "held", "fresh", "more", "last"] {
        let part = judged.iter().filter(|one| one.field.half == half);
        eprintln!("labels, {half}: {}", Figures::of(part));
    }
    assert!(all.fields >= 1_200 && all.wanted >= 400, "{all}");
    assert!(all.precision() >= 0.90 && all.recall() >= 0.90, "{all}");
    let held = Figures::of(judged.iter().filter(|one| one.field.half == "held"));
    assert!(held.precision() >= 0.90 && held.recall() >= 0.90, "{held}");
}

/// What by hand is a credential, a government id, financial or a special category is hardly ever
/// part of `*`, whatever category it was given.
#[test]
fn sensitive_fields_are_withheld_from_the_star() {
    let Some(corpus) = corpus() else { return };
    let judged = judge(&corpus);
    let is_sensitive =
        |one: &&Judged| one.field.wanted.as_deref().is_some_and(detect::is_sensitive_category);
    let all: Vec<&Judged> = judged.iter().filter(is_sensitive).collect();
    let passing: Vec<String> = all
        .iter()
        .filter(|one| !one.is_sensitive)
        .map(|one| format!("{} {} {}", one.field.file, one.field.object, one.field.path))
        .collect();
    assert!(all.len() >= 100, "{}", all.len());
    assert!(passing.len() * 50 <= all.len(), "{} of {}: {passing:#?}", passing.len(), all.len());
}

/// Confidence says something: what is surer is right more often.
#[test]
fn what_is_surer_is_right_more_often() {
    let Some(corpus) = corpus() else { return };
    let judged = judge(&corpus);
    let of = |range: std::ops::RangeInclusive<u8>| {
        let part = judged.iter().filter(|one| one.found.is_some());
        Figures::of(part.filter(|one| range.contains(&one.confidence)))
    };
    let (sure, likely, maybe) = (of(90..=100), of(75..=89), of(1..=74));
    eprintln!("labels, 90 % and above: {sure}");
    eprintln!("labels, 75 % to 89 %: {likely}");
    eprintln!("labels, below 75 %: {maybe}");
    assert!(sure.precision() >= likely.precision() && likely.precision() > maybe.precision());
    assert!(sure.precision() >= 0.95, "{sure}");
}

/// A bound that holds on a busy machine; `docs/benchmarks.md` has figures.
#[test]
fn judging_is_fast() {
    let begun = Instant::now();
    let hint = detect::FieldHint {
        description: "The address of the place where the employee works most of the time.",
        ..detect::FieldHint::default()
    };
    for number in 0..10_000 {
        let name = format!("employee{number}WorkAddressLine{number}");
        let label = detect::label_field(&name, &["Employee", "address"], &hint);
        assert!(label.is_some(), "{name}");
    }
    assert!(begun.elapsed().as_millis() < 5_000, "{:?}", begun.elapsed());
}

#[test]
fn an_overlay_decides_a_label_and_whether_it_is_sensitive() {
    let description = json!({
        "openapi": "3.0.0", "info": {"title": "T", "version": "1"},
        "paths": {"/people": {"get": {"operationId": "people", "responses": {"200": {
            "description": "", "content": {"application/json": {"schema": {
                "type": "array", "items": {"$ref": "#/components/schemas/Person"}}}}}}}}},
        "components": {"schemas": {"Person": {"type": "object", "properties": {
            "nickname": {"type": "string"}, "code": {"type": "string"}, "xq": {"type": "string"}}}}},
    });
    let overlay = json!({
        "overlay": "1.0.0", "info": {"title": "O", "version": "1"},
        "actions": [
            {"target": "$.components.schemas.Person.properties.code",
             "update": {"x-weirgate-label": "user.health_and_medical"}},
            {"target": "$.components.schemas.Person.properties.xq",
             "update": {"x-weirgate-label": {"category": "user.workplace", "sensitive": false}}},
        ],
    });
    let (description, overlay) = (description.to_string(), overlay.to_string());
    let limits = LoadLimits::default();
    let provider = load(description.as_bytes(), Some(overlay.as_bytes()), &limits).unwrap();
    let (_, person) = provider.object_by_name("Person").unwrap();
    let label = |path: &str| {
        let field = person.fields.iter().find(|field| field.path == path).unwrap();
        let label = field.label.clone().unwrap();
        (label.category, label.is_sensitive, label.confidence, label.reason)
    };
    let given = "x-weirgate-label".to_owned();
    assert_eq!(label("code"), ("user.health_and_medical".into(), true, 100, given.clone()));
    assert_eq!(label("xq"), ("user.workplace".into(), false, 100, given));
    assert_eq!(label("nickname"), ("user.name".into(), false, 80, "name `nick name+`".into()));
}
