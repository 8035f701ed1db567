//! A browser without a screen: it keeps cookies, and sends the forms of pages that it has seen.

use crate::client::{self, Response};
use std::{collections::BTreeMap, io, net::SocketAddr};

/// See the module.
#[derive(Debug, Clone)]
pub struct Browser {
    addr: SocketAddr,
    pub cookies: BTreeMap<String, String>,
    /// What the forms of the page carry that was seen last.
    pub form: String,
}

/// Where a form led, and what was seen there.
#[derive(Debug)]
pub struct Led {
    /// Empty if it led nowhere else.
    pub to: String,
    pub page: Response,
}

impl Browser {
    pub const fn new(addr: SocketAddr) -> Self {
        Self { addr, cookies: BTreeMap::new(), form: String::new() }
    }

    /// # Errors
    /// Where nobody answers.
    pub fn get(&mut self, path: &str) -> io::Result<Response> {
        self.send("GET", path, "")
    }

    /// Sends a form; a redirect is followed.
    ///
    /// # Errors
    /// Where nobody answers.
    pub fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> io::Result<Led> {
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        body.append_pair("form", &self.form).extend_pairs(fields);
        let page = self.send("POST", path, &body.finish())?;
        match page.header("location").map(ToOwned::to_owned) {
            Some(to) => Ok(Led { page: self.get(&to)?, to }),
            None => Ok(Led { to: String::new(), page }),
        }
    }

    fn send(&mut self, method: &str, path: &str, body: &str) -> io::Result<Response> {
        let pairs = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
        let cookies = pairs.collect::<Vec<_>>().join("; ");
        let origin = format!("http://{}", self.addr);
        let mut headers = vec![("Cookie", cookies.as_str())];
        if method == "POST" {
            headers.push(("Origin", &origin));
            headers.push(("Content-Type", "application/x-www-form-urlencoded"));
        }
        let answer = client::send(self.addr, method, path, &headers, body.as_bytes())?;
        for (_, cookie) in answer.headers.iter().filter(|(name, _)| name == "set-cookie") {
            let pair = cookie.split(';').next().and_then(|pair| pair.split_once('='));
            if let Some((name, value)) = pair {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        if let Some((_, rest)) = answer.text().split_once("name=\"form\" value=\"") {
            self.form = rest.split('"').next().unwrap_or_default().to_owned();
        }
        Ok(answer)
    }
}
