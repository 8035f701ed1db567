//! Files that browsers load: whose they are, and how much of them a page needs.

use crate::calls::Book;
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeSet, io::Write as _, path::Path};

/// As the note beside them says it.
#[test]
fn what_others_wrote_is_as_it_was_published() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/vendor");
    let note = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let noted: BTreeSet<(String, String)> = note
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|line| {
            // Its name, and the last of what is marked.
            let marked: Vec<&str> = line.split('`').step_by(2).collect();
            (marked[0].to_owned(), line.rsplit('`').nth(1).unwrap().to_owned())
        })
        .collect();
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name == "README.md" {
            continue;
        }
        let digest = Sha256::digest(std::fs::read(&path).unwrap());
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        found.insert((name, digest));
    }
    assert_eq!(found, noted);
    assert!(!found.is_empty());
}

fn gzipped(text: &str) -> usize {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap().len()
}

/// A slow line loads in a blink what a page needs, and no page has a script that another one needs.
#[tokio::test]
async fn a_page_loads_what_it_needs_and_little() {
    let book = Book::open().await;
    let mut ada = book.house.administrator().await.browser;
    let call = book.call(None).await;
    for (path, wanted) in [
        ("/".to_owned(), vec!["uplot", "home"]),
        ("/calls".to_owned(), vec!["calls"]),
        ("/calls?before=1".to_owned(), vec![]),
        (format!("/calls/{}", call.request), vec![]),
        ("/audit".to_owned(), vec![]),
        ("/account".to_owned(), vec![]),
    ] {
        let page = ada.get(&path).await.text;
        let mut loaded = (Vec::new(), 0, 0);
        for part in page.split("=\"/assets/").skip(1) {
            let name = part.split('"').next().unwrap();
            let file = book.house.send("GET", &format!("/assets/{name}"), &[], "").await;
            assert_eq!(file.status, 200, "{name}");
            let kept = file.headers["cache-control"].to_str().unwrap();
            assert!(kept.contains("immutable"), "{name}: {kept}");
            match file.headers["content-type"].to_str().unwrap() {
                "text/css; charset=utf-8" => loaded.2 += gzipped(&file.text),
                "text/javascript; charset=utf-8" => {
                    loaded.0.push(name.split('-').next().unwrap().to_owned());
                    loaded.1 += gzipped(&file.text);
                }
                other => panic!("{name}: {other}"),
            }
        }
        let (scripts, script_bytes, style_bytes) = loaded;
        assert_eq!(scripts, wanted, "{path}");
        assert!(script_bytes <= 40_000, "{path}: {script_bytes} bytes of script");
        assert!(style_bytes <= 10_000, "{path}: {style_bytes} bytes of style");
    }
}
