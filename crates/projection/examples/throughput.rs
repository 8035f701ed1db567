//! Megabytes per second of the projection of a made-up document: `throughput [MEGABYTES]`.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a tool for measuring"
)]

use projection::{Limits, Mode, Projector, Spec, parse_list};
use std::time::Instant;

fn main() {
    let megabytes: usize = std::env::args().nth(1).map_or(256, |text| text.parse().unwrap());
    let one = r#"{"id":"e-17","firstName":"Ada","lastName":"Lovelace","workEmail":"ada@example.com","ssn":"078-05-1120","salary":{"amount":120000.5,"currency":"EUR"},"address":{"street":"12 Long Lane","city":"London","postalCode":"EC1A"},"jobs":[{"title":"Analyst","startDate":"2020-01-01","endDate":null},{"title":"Engineer","startDate":"2022-03-01","endDate":null}],"notes":"Grüße aus der Küche, \"quoted\" and plain text that goes on for a while"}"#;
    let element = format!("{one},");
    let half = r"results[].id,results[].firstName,results[].workEmail,results[].address.city,results[].jobs[].title,next";
    for (what, paths) in
        [("few fields", "results[].id"), ("half of the fields", half), ("all, whole", "results")]
    {
        let spec = Spec::from_paths(&parse_list(paths).unwrap());
        let mut projector = Projector::new(spec, Limits::default(), Mode::Drop);
        let mut out = Vec::with_capacity(1 << 20);
        let chunk = element.repeat(256 * 1_024 / element.len());
        let begun = Instant::now();
        projector.feed(br#"{"results":["#, &mut out).unwrap();
        let mut bytes = 0;
        while bytes < megabytes << 20 {
            out.clear();
            projector.feed(chunk.as_bytes(), &mut out).unwrap();
            bytes += chunk.len();
        }
        projector.feed(one.as_bytes(), &mut out).unwrap();
        projector.feed(br#"],"next":null}"#, &mut out).unwrap();
        projector.finish(&mut out).unwrap();
        println!("{what}: {:.0} MB/s", bytes as f64 / 1e6 / begun.elapsed().as_secs_f64());
    }
}
