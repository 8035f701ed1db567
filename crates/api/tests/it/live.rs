//! Pages that follow calls: what they are told, until when, and how many there may be.

use crate::{
    browser::{Browser, STREAM},
    calls::Book,
};
use api::{Body, Site};
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use std::time::Duration;

/// A stream that was opened.
struct Stream(Body);

impl Stream {
    async fn open(site: &Site, browser: &Browser, query: &str, last: Option<u64>) -> Self {
        let answer = ask(site, browser, query, last).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], STREAM);
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let mut stream = Self(answer.into_body());
        assert_eq!(stream.next().await.unwrap(), "retry: 3000\n\n");
        stream
    }

    /// What is sent next; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        let frame = tokio::time::timeout(Duration::from_mins(1), self.0.frame()).await;
        let frame = frame.unwrap()?;
        let bytes = frame.unwrap().into_data().unwrap();
        Some(String::from_utf8(bytes.to_vec()).unwrap())
    }

    async fn ends_with(mut self, why: &str) {
        let last = self.next().await.unwrap();
        assert!(last.starts_with("event: end\ndata: ") && last.contains(why), "{last}");
        assert_eq!(self.next().await, None);
    }
}

async fn ask(
    site: &Site,
    browser: &Browser,
    query: &str,
    last: Option<u64>,
) -> http::Response<Body> {
    let mut request = Request::get(format!("/calls/stream{query}"))
        .header("host", "localhost:8401")
        .header("cookie", browser.cookie_line());
    if let Some(last) = last {
        request = request.header("last-event-id", last.to_string());
    }
    site.answer(None, request.body(Empty::<bytes::Bytes>::new()).unwrap()).await
}

fn id_of(event: &str) -> u64 {
    event.strip_prefix("id: ").unwrap().split('\n').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_call_that_ends_later_is_told_and_one_before_is_not() {
    let book = Book::open().await;
    let ada = book.house.administrator().await.browser;
    book.call(None).await;
    let mut stream = Stream::open(&book.house.site, &ada, "", None).await;
    let failed = "?end=failed";
    let mut filtered = Stream::open(&book.house.site, &ada, failed, None).await;
    let at_rest = tokio::time::timeout(Duration::from_millis(1_500), stream.0.frame()).await;
    assert!(at_rest.is_err(), "what ended before was told");
    let first = book.call(None).await;
    let told = stream.next().await.unwrap();
    assert!(told.contains("event: call\ndata: {\"index\":") && told.contains("payroll"));
    assert_eq!(told.matches("event: call").count(), 1, "{told}");
    book.call(Some("provider_timeout")).await;
    let second = filtered.next().await.unwrap();
    assert!(second.contains("provider_timeout") && second.matches("event: ").count() == 1);
    assert!(stream.next().await.unwrap().contains("provider_timeout"));

    // After the entry that it saw last, and not before.
    let (last, begun) = (id_of(&told), id_of(&second));
    let mut again = Stream::open(&book.house.site, &ada, "", Some(last)).await;
    assert_eq!(id_of(&again.next().await.unwrap()), begun);
    let query = format!("?after={}", last - 1);
    let mut both = Stream::open(&book.house.site, &ada, &query, None).await;
    assert_eq!(both.next().await.unwrap().matches("event: call").count(), 2);
    // An entry that is not there yet: of another log, or made up.
    drop((again, both, filtered));
    let mut other = Stream::open(&book.house.site, &ada, "?after=999999999", None).await;
    let at_rest = tokio::time::timeout(Duration::from_millis(1_500), other.0.frame()).await;
    assert!(at_rest.is_err());
    book.call(None).await;
    assert!(other.next().await.unwrap().contains("event: call"));
    assert_eq!(first.client, book.client);
}

#[tokio::test]
async fn many_calls_at_once_are_counted_and_not_all_sent() {
    let book = Book::open().await;
    let ada = book.house.administrator().await.browser;
    let mut stream = Stream::open(&book.house.site, &ada, "", None).await;
    let rest = tokio::time::timeout(Duration::from_millis(1_500), stream.0.frame()).await;
    assert!(rest.is_err());
    for _ in 0..120 {
        book.call(None).await;
    }
    let (mut sent, mut left_out) = (0, 0);
    while sent + left_out < 120 {
        let told = stream.next().await.unwrap();
        let now = told.matches("event: call").count();
        assert!(now <= 50, "{now}");
        sent += now;
        if let Some((_, rest)) = told.split_once("event: more\ndata: ") {
            left_out += rest.split(' ').next().unwrap().parse::<usize>().unwrap();
        }
    }
    assert_eq!(sent + left_out, 120);
}

#[tokio::test]
async fn a_stream_ends_with_the_session_the_person_and_the_right() {
    let book = Book::open().await;
    let house = &book.house;
    let mut ada = house.administrator().await.browser;
    let open = async |browser: &Browser| Stream::open(&house.site, browser, "", None).await;
    let id = async |address: &str| {
        let address = identity::EmailAddress::parse(address).unwrap();
        app::people::users::find(&house.instance, address.as_str()).await.unwrap()
    };

    let mut gone = house.invited("gone@example.com", &["auditor"]).await.browser;
    let stream = open(&gone).await;
    gone.get("/account").await;
    gone.post("/sign-out", &[]).await;
    stream.ends_with("signed out").await;

    let disabled = house.invited("dis@example.com", &["auditor"]).await.browser;
    let stream = open(&disabled).await;
    ada.get("/users").await;
    let user = id("dis@example.com").await;
    let done = ada.post(&format!("/users/{user}/disable"), &[]).await;
    assert_eq!(done.location(), "/users", "{}", done.text);
    stream.ends_with("signed out").await;

    let demoted = house.invited("dem@example.com", &["auditor"]).await.browser;
    let stream = open(&demoted).await;
    ada.get("/users").await;
    let user = id("dem@example.com").await;
    let done = ada.post(&format!("/users/{user}/roles"), &[("roles", "read-only")]).await;
    assert_eq!(done.location(), "/users", "{}", done.text);
    stream.ends_with("do not permit").await;
}

/// Whoever may not read clients any more is told their ids from the next call on.
#[tokio::test]
async fn names_that_somebody_sees_no_more_are_not_told() {
    let book = Book::open().await;
    let house = &book.house;
    let mut ada = house.administrator().await.browser;
    let role = "[[role]]\nname = \"listener\"\nacts = [\"audit.read\"]\n";
    let files = [("roles.toml".to_owned(), role.as_bytes().to_vec())];
    let plan = app::apply::plan_files(&house.instance, &files).await.unwrap();
    let removal = app::apply::Removal::SomeGrantsRemain;
    app::apply::commit(&house.instance, &house.context(), plan, removal).await.unwrap();
    let leo = house.invited("leo@example.com", &["auditor"]).await.browser;
    let mut stream = Stream::open(&house.site, &leo, "", None).await;
    book.call(None).await;
    assert!(stream.next().await.unwrap().contains("payroll"));
    let address = identity::EmailAddress::parse("leo@example.com").unwrap();
    let user = app::people::users::find(&house.instance, address.as_str()).await.unwrap();
    ada.get("/users").await;
    let done = ada.post(&format!("/users/{user}/roles"), &[("roles", "listener")]).await;
    assert_eq!(done.location(), "/users", "{}", done.text);
    book.call(None).await;
    let told = stream.next().await.unwrap();
    assert!(told.contains("event: call") && !told.contains("payroll"), "{told}");
}

/// A page that is open by itself is nobody's activity.
#[tokio::test]
async fn following_keeps_nobody_signed_in() {
    let book = Book::open().await;
    let house = &book.house;
    let mut ada = house.administrator().await.browser;
    ada.get("/").await;
    let mut stream = Stream::open(&house.site, &ada, "", None).await;
    house.wait(Duration::from_mins(20));
    let at_rest = tokio::time::timeout(Duration::from_millis(1_500), stream.0.frame()).await;
    assert!(at_rest.is_err(), "it was judged, and goes on");
    drop(Stream::open(&house.site, &ada, "", None).await);
    house.wait(Duration::from_mins(11));
    stream.ends_with("signed out").await;
    assert_eq!(ada.get("/").await.location(), "/sign-in");
}

#[tokio::test]
async fn streams_are_bounded_and_their_places_given_back() {
    let book = Book::open().await;
    let house = &book.house;
    let ada = house.administrator().await.browser;
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(Stream::open(&house.site, &ada, "", None).await);
    }
    assert_eq!(ask(&house.site, &ada, "", None).await.status(), 429);
    open.pop();
    open.push(Stream::open(&house.site, &ada, "", None).await);
    assert_eq!(ask(&house.site, &ada, "?end=x", None).await.status(), 429);
    open.pop();
    // One that is refused takes no place.
    for _ in 0..5 {
        assert_eq!(ask(&house.site, &ada, "?end=x", None).await.status(), 422);
    }
    for n in 0..7 {
        let other = house.invited(&format!("n{n}@example.com"), &["auditor"]).await.browser;
        for _ in 0..4 {
            open.push(Stream::open(&house.site, &other, "", None).await);
        }
    }
    open.push(Stream::open(&house.site, &ada, "", None).await);
    let last = house.invited("last@example.com", &["auditor"]).await.browser;
    assert_eq!(open.len(), 32);
    assert_eq!(ask(&house.site, &last, "", None).await.status(), 429);
    open.clear();
    drop(Stream::open(&house.site, &last, "", None).await);
}

/// Where nothing happens something is said all the same, with where to go on from.
#[tokio::test]
async fn a_stream_says_that_it_is_there() {
    let book = Book::open().await;
    let ada = book.house.administrator().await.browser;
    let call = book.call(None).await;
    let mut stream = Stream::open(&book.house.site, &ada, "", None).await;
    let began = std::time::Instant::now();
    let told = stream.next().await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(14), "{:?}", began.elapsed());
    assert!(told.contains("event: at\ndata: ") && id_of(&told) > 0, "{told}");
    assert!(!told.contains(&call.request.to_string()));
}
