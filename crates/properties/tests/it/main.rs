//! Each fuzz target's property over its seeds, and over inputs that are made from these the way a
//! fuzzer makes them, always the same ones.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use properties::{TARGETS, holds};
use std::{
    collections::BTreeSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
};

/// Inputs that are made for each target; slow ones get fewer.
const MADE: usize = 3_000;
const FEWER: [(&str, usize); 5] = [
    ("audit_export", 600),
    ("audit_proof", 1_000),
    ("backup", 600),
    ("description", 1_500),
    ("request_head", 1_500),
];
/// No made input is longer.
const LONGEST: usize = 6_000;

fn fuzz() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

/// Bytes that mean something to some reader.
const ODD: &[u8] = b"\0\t\n\r \"'%*+,-./0:;<=>?@[\\]{}~\x7f\xc3\xff";

/// Files of a folder by name, in order.
fn files(dir: PathBuf) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut files: Vec<_> = entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, fs::read(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// Words of a dictionary of libFuzzer's: `"..."` with `\xHH`, `\\` and `\"`.
fn words(target: &str) -> Vec<Vec<u8>> {
    let text = fs::read(fuzz().join(format!("dictionaries/{target}.dict"))).unwrap_or_default();
    let text = String::from_utf8(text).unwrap();
    let quoted = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        line.split_once('"').and_then(|(_, rest)| rest.rsplit_once('"')).map(|(word, _)| word)
    });
    quoted
        .map(|word| {
            let mut bytes = Vec::new();
            let mut rest = word.bytes();
            while let Some(byte) = rest.next() {
                if byte != b'\\' {
                    bytes.push(byte);
                    continue;
                }
                match rest.next().unwrap() {
                    b'x' => {
                        let digits = [rest.next().unwrap(), rest.next().unwrap()];
                        let digits = std::str::from_utf8(&digits).unwrap();
                        bytes.push(u8::from_str_radix(digits, 16).unwrap());
                    }
                    other => bytes.push(other),
                }
            }
            bytes
        })
        .collect()
}

/// xorshift64*: the same inputs on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % sides
    }

    /// Bends an input a few times.
    fn bend(&mut self, seeds: &[(String, Vec<u8>)], words: &[Vec<u8>]) -> Vec<u8> {
        let mut data = seeds[self.below(seeds.len())].1.clone();
        for _ in 0..=self.below(5) {
            let at = self.below(data.len() + 1);
            let end = at + self.below((data.len() - at).min(40) + 1);
            match self.below(9) {
                0 if at < data.len() => data[at] ^= 1 << self.below(8),
                1 if at < data.len() => data[at] = u8::try_from(self.below(256)).unwrap(),
                2 => drop(data.drain(at..end)),
                3 => data.truncate(at),
                4 => {
                    let part = data[at..end].to_vec();
                    let to = self.below(data.len() + 1);
                    data.splice(to..to, part);
                }
                5 => {
                    let other = &seeds[self.below(seeds.len())].1;
                    let from = self.below(other.len() + 1);
                    let length = self.below((other.len() - from).min(300) + 1);
                    data.splice(at..end, other[from..from + length].iter().copied());
                }
                6 => {
                    data.insert(at, ODD[self.below(ODD.len())]);
                }
                _ if !words.is_empty() => {
                    let word = words[self.below(words.len())].clone();
                    data.splice(at..end, word);
                }
                _ => {}
            }
        }
        data.truncate(LONGEST);
        data
    }
}

fn check(target: &str) {
    let seeds = files(fuzz().join("seeds").join(target));
    let words = words(target);
    let mut deep = 0;
    for (name, seed) in &seeds {
        let reached = holds(target, seed);
        deep += usize::from(reached);
        // Seeds say what becomes of them.
        assert_eq!(reached, !name.starts_with("refused"), "{target}/{name}");
    }
    assert!(deep > 0, "no seed of {target} gets past the first refusal");
    let mut random = Random(0x5EED);
    let count = FEWER.iter().find(|(name, _)| *name == target).map_or(MADE, |(_, count)| *count);
    for number in 0..count {
        let data = random.bend(&seeds, &words);
        // What broke was said already; what broke it is kept.
        if catch_unwind(AssertUnwindSafe(|| holds(target, &data))).is_err() {
            let file = std::env::temp_dir().join(format!("weirgate-{target}-{number}"));
            fs::write(&file, &data).unwrap();
            panic!("the input lies in {}", file.display());
        }
    }
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            check(stringify!($name));
        })*

        /// A target that is not fuzzed, or fuzzed and not tested, guards nothing.
        #[test]
        fn every_target_is_fuzzed_and_tested() {
            let tested = BTreeSet::from([$(stringify!($name).to_owned()),*]);
            let known: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).into()).collect();
            assert_eq!(tested, known);
            let sources = files(fuzz().join("fuzz_targets"));
            let calls = |(name, source): &(String, Vec<u8>)| {
                let call = format!("properties::holds(\"{name}\", data)");
                assert!(String::from_utf8_lossy(source).contains(&call), "{name}");
                name.clone()
            };
            assert_eq!(sources.iter().map(calls).collect::<BTreeSet<_>>(), known);
            let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
            for name in known {
                assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
            }
        }
    };
}

targets! {
    address answer_head api_key audit_entry audit_export audit_proof auth backup checkpoint coding config
    description echo grants limits paths projection request_head url
}
