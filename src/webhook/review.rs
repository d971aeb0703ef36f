//! A whole review as a pure function: bytes in, bytes out.

use super::answer::Verdict;
use super::defaults::PodDefaults;
use super::request::{Malformed, Request, Subject};
use crate::config::Config;
use crate::inject::inject;

/// Answers a review whose defaults are known.
///
/// # Errors
/// [`Malformed`] where there is no uid to answer to.
pub fn respond(body: &[u8], defaults: &PodDefaults, config: &Config) -> Result<Vec<u8>, Malformed> {
    let request = Request::parse(body)?;
    let verdict = match request.subject {
        Subject::Pod(pod) => Verdict::from(inject(&pod, &defaults.namespace, &defaults.account, config)),
        Subject::NotOurs => Verdict::NotOurs,
        Subject::Unreadable(why) => Verdict::Unreadable(why),
    };
    Ok(verdict.to_json(request.uid.as_str()))
}
