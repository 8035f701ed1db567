//! Grant files are read whole or not at all: what has no problem is what another reader of TOML finds
//! in it, and each problem has its line.

use crate::input::parts;
use app::grants::{AllowEntry, Placed, parse};
use toml::{Table, Value};

pub(crate) fn hold(data: &[u8]) -> bool {
    let given: [&[u8]; 2] = parts(data);
    let files: Vec<(String, Vec<u8>)> =
        given.iter().zip(["a.toml", "b.toml"]).map(|(b, name)| (name.into(), b.to_vec())).collect();
    let (entries, problems) = parse(&files);
    for problem in &problems {
        let (_, bytes) = files.iter().find(|(name, _)| *name == problem.file).expect("its file");
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
        assert!((1..=lines).contains(&problem.line), "{problem} of {lines} lines");
        assert!(!problem.what.is_empty() && !problem.remedy.is_empty());
    }
    if !problems.is_empty() {
        return false;
    }
    let mut count = 0;
    for (name, bytes) in &files {
        let text = std::str::from_utf8(bytes).expect("what is no text has a problem");
        let table: Table = text.parse().expect("what is no TOML has a problem");
        let ours = entries.grants.iter().filter(|entry| entry.file == *name);
        let theirs = table.get("grant").and_then(Value::as_array).into_iter().flatten();
        assert_eq!(ours.clone().count(), theirs.clone().count());
        let roles = entries.roles.iter().filter(|entry| entry.file == *name);
        let written = table.get("role").and_then(Value::as_array).into_iter().flatten();
        assert_eq!(roles.clone().count(), written.clone().count());
        for (entry, role) in roles.zip(written) {
            count += 1;
            let named = entry.name.as_ref().map(|one| one.text.clone());
            assert_eq!(named, said(role.get("name")));
            let acts = role["acts"].as_array().expect("a list").iter().map(|one| said(Some(one)));
            let ours: Vec<_> = entry.acts.iter().map(|one| Some(one.text.clone())).collect();
            assert_eq!(ours, acts.collect::<Vec<_>>());
        }
        for (entry, grant) in ours.zip(theirs) {
            count += 1;
            for (key, placed) in [
                ("client", &entry.client),
                ("provider", &entry.provider),
                ("connection", &entry.connection),
                ("purpose", &entry.purpose),
                ("expires", &entry.expires),
            ] {
                assert_eq!(placed.as_ref().map(|one| one.text.clone()), said(grant.get(key)));
            }
            let allow = grant["allow"].as_array().expect("a list");
            assert_eq!(entry.allow.len(), allow.len());
            for (ours, theirs) in entry.allow.iter().zip(allow) {
                is_same(ours, theirs);
            }
        }
    }
    count > 0
}

fn said(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.clone()),
        Value::Datetime(date) => Some(date.to_string()),
        other => panic!("{other} was taken as a text"),
    }
}

fn is_same(ours: &AllowEntry, theirs: &Value) {
    let object = ours.object.as_ref().map(|one| one.text.clone());
    assert_eq!(object, said(theirs.get("object")));
    let lists: [(&str, &[Placed]); 5] = [
        ("actions", &ours.actions),
        ("fields", &ours.fields),
        ("params", &ours.params),
        ("headers", &ours.headers),
        ("operations", &ours.operations),
    ];
    for (key, placed) in lists {
        let ours: Vec<Option<String>> = placed.iter().map(|one| Some(one.text.clone())).collect();
        let theirs = theirs.get(key).and_then(Value::as_array).into_iter().flatten();
        assert_eq!(ours, theirs.map(|one| said(Some(one))).collect::<Vec<_>>(), "{key}");
    }
}
