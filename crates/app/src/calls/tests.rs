//! The summary and the pages of calls over a log as a gateway writes it.

use super::{End, Kind, Name, Wanted, day, find, list, newer};
use crate::{
    Instance, advisor,
    calls::Ledger,
    seals_tests::{Home, ctx},
    sequence::OpenLog,
};
use audit::{
    Commitment, Durability, Intent, Outcome, Record, Refused, RefusedCount, Unauthenticated,
};
use std::{sync::Arc, time::Duration};
use types::{Action, Clock as _, Environment, Id, SystemClock, SystemRandom, Timestamp};

/// An installation whose log is written to.
struct Book {
    _home: Home,
    instance: Arc<Instance>,
    log: OpenLog,
}

impl Book {
    async fn open() -> Self {
        let home = Home::new();
        let instance = Arc::new(home.init().await);
        let lock = instance.folder.lock_soon().await.unwrap();
        let log = OpenLog::open(&instance, lock, None, None).await.unwrap();
        Self { _home: home, instance, log }
    }

    async fn write(&self, record: &Record) {
        self.log.handle.append(record, Durability::Synced).unwrap().await.unwrap();
    }

    /// A call that begins.
    async fn begin(&self, client: u128, action: Action) -> Intent {
        let intent = intent(client, action);
        self.write(&Record::Intent(intent.clone())).await;
        intent
    }

    async fn end(&self, of: &Intent, code: Option<&str>) {
        self.write(&Record::Outcome(outcome(of, code))).await;
    }
}

fn intent(client: u128, action: Action) -> Intent {
    let at = SystemClock.now();
    Intent {
        request: Id::generate(at, &SystemRandom).unwrap(),
        at,
        environment: Environment::Live,
        key: Id::from_u128(client + 100),
        client: Id::from_u128(client),
        connection: Id::from_u128(4),
        customer: Commitment::from_bytes([5; 32]),
        provider: Id::from_u128(6),
        operation: "list_employees".into(),
        action,
        object: Some("Employee".into()),
        generation: 7,
        is_safe_method: true,
        network: None,
    }
}

fn outcome(of: &Intent, code: Option<&str>) -> Outcome {
    Outcome {
        request: of.request,
        at: of.at + Duration::from_millis(20),
        status: if code.is_some() { 502 } else { 200 },
        provider_status: Some(200),
        code: code.map(ToOwned::to_owned),
        bytes_in: 1_000,
        bytes_out: 300,
        dropped: 2,
        mismatched: 0,
        withheld: vec!["ssn".into(), "salary".into()],
        withheld_more: 1,
        duration_us: 20_000,
        attempts: None,
    }
}

fn refused(client: u128, code: &str) -> Record {
    let at = SystemClock.now();
    Record::Refused(Refused {
        request: Id::generate(at, &SystemRandom).unwrap(),
        at,
        key: Id::from_u128(client + 100),
        client: Id::from_u128(client),
        connection: None,
        operation: None,
        code: code.into(),
    })
}

#[tokio::test]
async fn the_day_counts_each_call_once_and_again_after_a_restart() {
    let book = Book::open().await;
    assert_eq!(day(&book.instance).await.unwrap().calls, 0);
    for n in 0..3 {
        let begun = book.begin(1, Action::Read).await;
        book.end(&begun, (n == 0).then_some("provider_error")).await;
        day(&book.instance).await.unwrap();
    }
    let lost = book.begin(1, Action::Read).await;
    let at = SystemClock.now();
    book.write(&Record::Interrupted { at, request: lost.request }).await;
    book.begin(1, Action::Read).await;
    book.write(&refused(2, "not_granted")).await;
    book.write(&Record::RefusedCount(RefusedCount { at, key: Id::from_u128(9), count: 5 })).await;
    let code = "key_missing".to_owned();
    book.write(&Record::Unauthenticated(Unauthenticated { at, code, count: 4 })).await;
    let counted = day(&book.instance).await.unwrap();
    assert_eq!((counted.calls, counted.failed, counted.refused), (4, 2, 10));
    assert!(counted.p95.unwrap() >= Duration::from_millis(20));
    assert!(counted.p95.unwrap() < Duration::from_millis(22));
    assert!(!counted.is_behind && counted.hours.len() == 24);
    let again = Ledger::default();
    let now = counted.hours.last().unwrap().begins_at;
    let known = again.look(&book.instance.folder, |known| known.hours.day(now, false)).unwrap();
    assert_eq!(known, counted);
}

/// What was known of a log that is another one now counts no more.
#[tokio::test]
async fn a_log_that_was_replaced_is_read_anew() {
    let (first, second) = (Book::open().await, Book::open().await);
    for _ in 0..3 {
        let begun = first.begin(1, Action::Read).await;
        first.end(&begun, None).await;
    }
    let begun = second.begin(1, Action::Read).await;
    second.end(&begun, None).await;
    let ledger = Ledger::default();
    let calls = |book: &Book| {
        let count = |known: &super::ledger::Known| known.hours.calls_since(Timestamp::EPOCH).1;
        ledger.look(&book.instance.folder, count).unwrap()
    };
    assert_eq!(calls(&first), 3);
    assert_eq!(calls(&second), 1, "a shorter one");
    assert_eq!(calls(&first), 3, "a longer one");
}

#[tokio::test]
async fn calls_are_listed_by_what_they_are_about_and_in_pages() {
    let book = Book::open().await;
    let slow = book.begin(3, Action::Download).await;
    let mut requests = Vec::new();
    for n in 0..120 {
        let begun = book.begin(1 + n % 2, Action::Read).await;
        book.end(&begun, (n % 10 == 0).then_some("provider_timeout")).await;
        requests.push(begun.request);
    }
    book.write(&refused(2, "grant_expired")).await;
    book.end(&slow, None).await;
    let waiting = book.begin(1, Action::Update).await;
    requests.reverse();

    let (mut before, mut seen, mut pages) = (None, Vec::new(), 0);
    loop {
        let page = list(&book.instance, Wanted::default(), before).await.unwrap();
        assert!(page.calls.len() <= 50 && page.calls.is_sorted_by(|a, b| a.index > b.index));
        seen.extend(page.calls);
        pages += 1;
        before = page.older;
        if before.is_none() {
            break;
        }
    }
    assert_eq!((seen.len(), pages), (123, 3));
    assert!(matches!(seen[0].end, End::UnderWay) && seen[0].request == waiting.request);
    assert!(matches!(&seen[1].end, End::Refused { code } if code == "grant_expired"));
    // Its end lies on another page than its beginning.
    assert!(matches!(seen[122].end, End::Answered(_)) && seen[122].request == slow.request);
    let walked: Vec<_> = seen[2..122].iter().map(|call| call.request).collect();
    assert_eq!(walked, requests);
    let End::Answered(one) = &seen[5].end else { panic!("{:?}", seen[5]) };
    assert_eq!((one.withheld, one.dropped, one.attempts), (3, 2, 1));

    let count =
        async |wanted: Wanted| list(&book.instance, wanted, None).await.unwrap().calls.len();
    let of = |kind| Wanted { kind: Some(kind), ..Wanted::default() };
    let code = |code: &str| Wanted { code: Some(code.into()), ..Wanted::default() };
    let client = |id| Wanted { client: Some(Id::from_u128(id)), ..Wanted::default() };
    assert_eq!(count(of(Kind::Failed)).await, 12);
    assert_eq!(count(of(Kind::Refused)).await, 1);
    assert_eq!(count(of(Kind::UnderWay)).await, 1);
    assert_eq!(count(code("provider_timeout")).await, 12);
    assert_eq!(count(code("502")).await, 12);
    assert_eq!(count(code("grant_expired")).await, 1);
    assert_eq!(count(client(3)).await, 1);
    assert_eq!(count(Wanted { kind: Some(Kind::Failed), ..client(2) }).await, 0);
    let elsewhere = Wanted { connection: Some(Id::from_u128(5)), ..Wanted::default() };
    assert_eq!(count(elsewhere).await, 0);
    let provider = Wanted { provider: Some(Id::from_u128(6)), ..of(Kind::UnderWay) };
    assert_eq!(count(provider).await, 1);
}

#[tokio::test]
async fn a_call_is_found_by_its_request_and_by_any_of_its_entries() {
    let book = Book::open().await;
    let first = book.begin(1, Action::Read).await;
    for _ in 0..400 {
        let begun = book.begin(2, Action::Read).await;
        book.end(&begun, None).await;
    }
    book.end(&first, Some("provider_reset")).await;
    let other = refused(2, "not_granted");
    book.write(&other).await;
    let found = find(&book.instance, Name::Request(first.request)).await.unwrap().unwrap();
    let End::Answered(end) = &found.call.end else { panic!("{found:?}") };
    assert_eq!(end.index, found.call.index + 801);
    assert_eq!((found.withheld.join(" "), found.withheld_more), ("ssn salary".to_owned(), 1));
    for name in [Name::Entry(found.call.index), Name::Entry(end.index)] {
        let same = find(&book.instance, name).await.unwrap().unwrap();
        assert_eq!((same.call.request, same.call.end_index()), (first.request, Some(end.index)));
    }
    let last = find(&book.instance, Name::Entry(end.index + 1)).await.unwrap().unwrap();
    assert!(matches!(last.call.end, End::Refused { .. }));
    let by_id = find(&book.instance, Name::Request(last.call.request)).await.unwrap().unwrap();
    assert_eq!(by_id.call.index, last.call.index);
    for none in [Name::Entry(0), Name::Entry(9_999), Name::Request(ctx().request)] {
        assert!(find(&book.instance, none).await.unwrap().is_none(), "{none:?}");
    }
}

#[tokio::test]
async fn what_ended_since_is_told_once_and_what_was_left_out_is_said() {
    let book = Book::open().await;
    let begun = book.begin(1, Action::Read).await;
    assert!(newer(&book.instance, 0).await.unwrap().calls.is_empty(), "it has not ended");
    book.end(&begun, None).await;
    let soon = async |count: usize| {
        let told = async {
            loop {
                let told = newer(&book.instance, 0).await.unwrap();
                if told.calls.len() == count {
                    return told;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), told).await.unwrap()
    };
    let told = soon(1).await;
    assert!(!told.has_gap);
    let last = told.calls[0].end_index().unwrap();
    assert!(newer(&book.instance, last).await.unwrap().calls.is_empty());
    let mut waiting = Vec::new();
    for _ in 0..1_030 {
        let record = refused(1, "not_granted");
        waiting.push(book.log.handle.append(&record, Durability::NextGroup).unwrap());
    }
    for ticket in waiting {
        ticket.await.unwrap();
    }
    let told = soon(1_024).await;
    assert!(told.has_gap);
    let last = told.calls.last().unwrap().index;
    assert!(!newer(&book.instance, last - 5).await.unwrap().has_gap);
    assert_eq!(newer(&book.instance, last - 5).await.unwrap().calls.len(), 5);
}

/// The advice counts from the same summary as home does.
#[tokio::test]
async fn advice_follows_the_log() {
    let book = Book::open().await;
    let advise = async |days: u64| {
        advisor::advise(&book.instance, Duration::from_hours(24 * days)).await.unwrap()
    };
    let first = advise(1).await;
    assert_eq!((first.calls, first.grants.len()), (0, 0));
    let begun = book.begin(1, Action::Read).await;
    book.end(&begun, None).await;
    let then = advise(3_650).await;
    assert_eq!(then.calls, 1);
    assert!(then.looked_back_to.unwrap() <= begun.at && then.since < then.looked_back_to.unwrap());
}
