//! Forty descriptions of real vendors, which lie beside the project and are not part of it: every
//! operation is called, and every answer judged by another validator.

use super::{
    judge::{Judge, proof},
    open_mock, send,
};
use crate::described::{
    mock::{Mock, Reply},
    render::CODE,
    table::Table,
};
use http::header;
use jsonschema::Validator;
use provider::{LoadLimits, StatusRange, parse_document};
use serde_json::Value;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

pub(super) fn corpus() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/openapi-corpus");
    if path.join("INDEX.tsv").is_file() {
        return Some(path);
    }
    eprintln!("skipped: the corpus of real descriptions is not beside the project");
    None
}

pub(super) fn files(corpus: &Path) -> Vec<String> {
    let index = std::fs::read_to_string(corpus.join("INDEX.tsv")).unwrap();
    index.lines().skip(1).filter_map(|line| line.split('\t').next().map(str::to_owned)).collect()
}

/// The places of the schemas that may describe an answer with this status and media type.
fn schema_pointer(judge: &Judge, sample_key: &str, method: &str, reply: &Reply) -> Option<String> {
    let resolve = |mut pointer: String| {
        for _ in 0..10 {
            match judge.at(&pointer).and_then(|value| value.get("$ref")).and_then(Value::as_str) {
                Some(reference) => pointer = reference.trim_start_matches('#').to_owned(),
                None => break,
            }
        }
        pointer
    };
    let key = sample_key.replace('~', "~0").replace('/', "~1");
    let responses =
        resolve(format!("/paths/{key}")) + &format!("/{}/responses", method.to_ascii_lowercase());
    let status = reply.status.as_u16();
    let names = [
        status.to_string(),
        format!("{}XX", status / 100),
        format!("{}xx", status / 100),
        "default".to_owned(),
    ];
    let name = names.iter().find(|name| judge.at(&format!("{responses}/{name}")).is_some())?;
    let response = resolve(format!("{responses}/{name}"));
    if judge.at(&format!("{response}/schema")).is_some() {
        return Some(format!("{response}/schema"));
    }
    let media = reply.headers.iter().find(|(name, _)| name == header::CONTENT_TYPE)?;
    let media = media.1.to_str().unwrap();
    let content = judge.at(&format!("{response}/content"))?.as_object()?;
    let essence = |text: &str| text.split(';').next().unwrap_or(text).trim().to_ascii_lowercase();
    let declared = content
        .keys()
        .find(|one| essence(one) == media)
        .or_else(|| content.keys().find(|one| *one == "*/*"))?;
    let pointer = format!("{response}/content/{}", declared.replace('~', "~0").replace('/', "~1"));
    let pointer = resolve(pointer) + "/schema";
    judge.at(&pointer).map(|_| pointer)
}

type Proof = fn(&Value, &Value) -> bool;

/// Answers that no value can be valid for, because of a schema that required members lead to.
const UNSATISFIABLE: [(&str, &[&str], &[&str], Proof); 4] = [
    (
        "klaviyo.json",
        &[
            "create_campaign",
            "get_campaign",
            "update_campaign",
            "create_campaign_clone",
            "get_campaign_for_campaign_message",
        ],
        &["data", "attributes", "send_options"],
        proof::all_alternatives_are_subsumed,
    ),
    (
        "okta-management.yaml",
        &[
            "getAuthenticatorMethod",
            "replaceAuthenticatorMethod",
            "activateAuthenticatorMethod",
            "deactivateAuthenticatorMethod",
        ],
        &[],
        proof::all_alternatives_are_subsumed,
    ),
    (
        "zoom-swagger2.json",
        &["webhookCreate", "webhook"],
        &["events"],
        proof::enumeration_has_no_value_of_the_type,
    ),
    (
        "recurly.yaml",
        &["create_plan", "get_plan", "update_plan", "remove_plan"],
        &["code"],
        proof::pattern_matches_nothing,
    ),
];

/// Whether an operation's answer is known to have no valid value; the proof is made.
fn is_unsatisfiable(document: &Value, file: &str, id: &str, pointer: &str) -> bool {
    let known = UNSATISFIABLE.iter().find(|(one, ids, _, _)| *one == file && ids.contains(&id));
    let Some((_, _, way, proof)) = known else { return false };
    let schema = proof::required(document, document.pointer(pointer).unwrap(), way);
    assert!(proof(document, schema), "{file} {id} can be satisfied");
    true
}

/// Calls and judges everything of one description.
struct Run<'r> {
    file: &'r str,
    document: &'r Value,
    judge: Judge,
    mock: Mock,
    keys: Vec<String>,
    validators: HashMap<String, Validator>,
    failures: Vec<String>,
    judged: usize,
    unsatisfiable: usize,
}

impl Run<'_> {
    /// Judges an answer of an operation, if it is JSON and a schema is declared for it.
    fn judge(&mut self, index: usize, reply: &Reply) {
        let operation = &self.mock.table.entries[index].operation;
        let (id, text, method) =
            (operation.id.clone(), operation.path.text().to_owned(), operation.method.as_str());
        let key = self.keys.iter().find(|key| key.split(['#', '?']).next() == Some(text.as_str()));
        let key = key.cloned().unwrap_or(text);
        let is_json = reply.headers.iter().any(|(name, value)| {
            name == header::CONTENT_TYPE && value.to_str().unwrap().contains("json")
        });
        let Some(pointer) = schema_pointer(&self.judge, &key, method, reply).filter(|_| is_json)
        else {
            return;
        };
        if !self.validators.contains_key(&pointer) {
            match self.judge.validator(&pointer) {
                Ok(validator) => {
                    self.validators.insert(pointer.clone(), validator);
                }
                Err(error) => {
                    self.failures.push(format!("{} {id}: no schema: {error}", self.file));
                    return;
                }
            }
        }
        self.judged += 1;
        let body: Value = serde_json::from_slice(&reply.body).unwrap();
        let Some(error) = self.validators[&pointer].iter_errors(&body).next() else { return };
        if is_unsatisfiable(self.document, self.file, &id, &pointer) {
            self.unsatisfiable += 1;
            return;
        }
        self.failures.push(format!(
            "{} {id} {}: invalid at {} ({}): {:.200}",
            self.file,
            reply.status,
            error.instance_path(),
            error.schema_path(),
            error.to_string()
        ));
    }
}

#[test]
fn every_answer_is_valid_against_its_description() {
    let Some(corpus) = corpus() else { return };
    let mut failures = Vec::new();
    let (mut operations, mut successes, mut errors, mut unsatisfiable) = (0, 0, 0, 0);
    for file in files(&corpus) {
        let bytes = std::fs::read(corpus.join(&file)).unwrap();
        let document = parse_document(&bytes, &LoadLimits::default()).unwrap();
        let mut run = Run {
            file: &file,
            judge: Judge::new(&document),
            document: &document,
            mock: open_mock(Table::read(&bytes, &LoadLimits::default()).unwrap()),
            keys: document["paths"].as_object().unwrap().keys().cloned().collect(),
            validators: HashMap::new(),
            failures: Vec::new(),
            judged: 0,
            unsatisfiable: 0,
        };
        for index in 0..run.mock.table.entries.len() {
            operations += 1;
            let sample = run.mock.sample(index).unwrap();
            let reply = send(&run.mock, &sample);
            if let Some((_, code)) = reply.headers.iter().find(|(name, _)| *name == CODE) {
                let id = &run.mock.table.entries[index].operation.id;
                run.failures.push(format!("{file} {id}: {code:?} to {sample:?}: {:?}", reply.body));
                continue;
            }
            run.judge(index, &reply);
            run.mock.reset();
        }
        successes += run.judged;
        for index in 0..run.mock.table.entries.len() {
            let declared: Vec<u16> = run.mock.table.entries[index]
                .answers
                .iter()
                .filter_map(|answer| match answer.status {
                    StatusRange::Exact(code @ 400..=599) => Some(code),
                    StatusRange::Class(class @ 4..=5) => Some(class * 100),
                    StatusRange::Default => Some(500),
                    _ => None,
                })
                .collect();
            let sample = run.mock.sample(index).unwrap();
            for status in declared {
                let mut sample = sample.clone();
                sample.headers.push(("x-sandbox-fault".to_owned(), status.to_string()));
                let reply = send(&run.mock, &sample);
                assert_eq!(reply.status.as_u16(), status);
                run.judge(index, &reply);
            }
        }
        errors += run.judged;
        unsatisfiable += run.unsatisfiable;
        failures.append(&mut run.failures);
    }
    errors -= successes;
    for failure in &failures {
        eprintln!("{failure:.600}");
    }
    eprintln!(
        "{operations} operations: {successes} successes and {errors} errors judged, \
         {unsatisfiable} cannot be valid, {} failures",
        failures.len()
    );
    assert!(failures.is_empty());
}
