//! Lists in pages, with a link to the next one.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::call::Call;

use super::limits::PAGE;
use super::refusal::Refusal;

/// Which page of a list is asked for.
pub(super) struct Page {
    start: usize,
    size: usize,
}

/// A page as it travels.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listing<T> {
    value: Vec<T>,
    next_link: Option<String>,
}

impl Page {
    pub(super) fn of(call: &Call) -> Result<Page, Refusal> {
        let size = match call.query("maxresults") {
            None => PAGE,
            Some(text) => text.parse().ok().filter(|size| (1..=PAGE).contains(size)).ok_or(Refusal::InvalidParameter("maxresults"))?,
        };
        let start = match call.query("$skiptoken") {
            None => 0,
            Some(token) => read_token(token).ok_or(Refusal::InvalidParameter("$skiptoken"))?,
        };
        Ok(Page { start, size })
    }

    /// This page of `items`. The link is absolute and names the port, as Key Vault's does.
    pub(super) fn cut<T>(&self, items: impl Iterator<Item = T>, call: &Call) -> Listing<T> {
        let mut value: Vec<T> = items.skip(self.start).take(self.size + 1).collect();
        let more = value.len() > self.size;
        value.truncate(self.size);
        Listing { value, next_link: more.then(|| self.next_link(call)) }
    }

    fn next_link(&self, call: &Call) -> String {
        let host = call.host();
        let port = if host.contains(':') { "" } else { ":443" };
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("api-version", call.query("api-version").unwrap_or_default());
        if call.query("maxresults").is_some() {
            query.append_pair("maxresults", &self.size.to_string());
        }
        format!("https://{host}{port}{}?{}&$skiptoken={}", call.path, query.finish(), write_token(self.start + self.size))
    }
}

fn write_token(start: usize) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(format!(r#"{{"NextMarker":{start}}}"#))
}

fn read_token(token: &str) -> Option<usize> {
    let json = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
    let marker: serde_json::Value = serde_json::from_slice(&json).ok()?;
    usize::try_from(marker.get("NextMarker")?.as_u64()?).ok()
}
