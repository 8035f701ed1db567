//! Tests of whole descriptions, in process.

mod collections;
mod corpus;
mod judge;
mod shop;

use super::{
    auth::Auth,
    draw::Key,
    fault::Rules,
    mock::{Call, Mock, MockOptions, Reply},
    oauth::Oauth,
    sample::Sample,
    table::Table,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use std::{sync::Arc, time::Duration};
use types::{ManualClock, SecretText, Timestamp};

/// A mock of a description; with a credential, authentication is enforced.
fn mock(table: Table, credential: Option<&str>) -> Mock {
    let schemes = table.security_schemes.clone();
    let auth = Auth {
        is_enforced: credential.is_some(),
        credential: SecretText::new(credential.unwrap_or_default().to_owned()),
        oauth: Oauth::new(Key::new(1), Duration::from_mins(1), &schemes),
        schemes,
    };
    let options = MockOptions {
        seed: 1,
        count: 25,
        root_url: "http://127.0.0.1:1".to_owned(),
        auth,
        rules: Rules::default(),
        clock: Arc::new(ManualClock::at(Timestamp::from_micros(1_000_000))),
    };
    Mock::new(table, options)
}

fn open_mock(table: Table) -> Mock {
    mock(table, None)
}

fn send(mock: &Mock, sample: &Sample) -> Reply {
    let mut headers = HeaderMap::new();
    for (name, value) in &sample.headers {
        let name = HeaderName::try_from(name.as_str()).unwrap();
        headers.append(name, HeaderValue::try_from(value.as_str()).unwrap());
    }
    if let Some(media) = &sample.media {
        headers.insert(header::CONTENT_TYPE, HeaderValue::try_from(media.as_str()).unwrap());
    }
    mock.handle(Call {
        method: &Method::try_from(sample.method).unwrap(),
        path: &sample.path,
        query: &sample.query,
        headers: &headers,
        body: &sample.body,
    })
}
