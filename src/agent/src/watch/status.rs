//! What is known of the refreshes so far, for people (`..status.json`) and for programs (metrics). Never a value.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::clock::rfc3339;
use keyvault_client::Class;

/// The file beside `..data`.
pub(super) const STATUS: &str = "..status.json";

/// Vault, kind, name and version.
pub(super) type Object = (String, &'static str, String, String);

/// Refreshes that ended in one class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Failures {
    count: u64,
    last: String,
    at: Option<SystemTime>,
}

/// The state of the sidecar.
#[derive(Clone, Debug, Default)]
pub(super) struct Status {
    /// Whether every file is in place.
    pub(super) ready: bool,
    /// When everything was last seen to be as in the vaults.
    pub(super) last_success: Option<SystemTime>,
    pub(super) last_try: Option<SystemTime>,
    pub(super) next_try: Option<SystemTime>,
    /// What the files are made of.
    pub(super) objects: BTreeSet<Object>,
    refreshed: u64,
    failures: BTreeMap<String, Failures>,
}

impl Status {
    /// Counts a refresh that left nothing to do.
    pub(super) fn succeeded(&mut self, at: SystemTime) {
        (self.last_success, self.last_try) = (Some(at), Some(at));
        self.refreshed += 1;
    }

    /// Counts a refresh that did not do everything; `line` says why.
    pub(super) fn failed(&mut self, at: SystemTime, class: Class, line: &str) {
        self.last_try = Some(at);
        let failures = self.failures.entry(class.to_string()).or_default();
        *failures = Failures { count: failures.count + 1, last: line.to_owned(), at: Some(at) };
    }

    /// The file, with the objects of one directory, and those that are missing there.
    pub(super) fn json(&self, objects: &BTreeSet<Object>, missing: &[serde_json::Value]) -> Vec<u8> {
        let time = |time: Option<SystemTime>| time.map(rfc3339);
        let object = |(vault, kind, name, version): &Object| json!({ "vault": vault, "kind": kind, "name": name, "version": version });
        let failures: BTreeMap<&String, _> = self
            .failures
            .iter()
            .map(|(class, failures)| (class, json!({ "count": failures.count, "last": failures.last, "at": time(failures.at) })))
            .collect();
        let status = json!({
            "lastSuccess": time(self.last_success), "lastTry": time(self.last_try), "nextTry": time(self.next_try), "refreshed": self.refreshed,
            "objects": objects.iter().map(object).collect::<Vec<_>>(), "missing": missing, "failures": failures,
        });
        format!("{status:#}\n").into_bytes()
    }

    /// Prometheus's text format. Every class is there from the start, so that its first failure is an increase.
    pub(super) fn metrics(&self, now: SystemTime) -> String {
        let mut text = String::new();
        if let Some((time, since)) = self.last_success.and_then(|time| Some((time, time.duration_since(UNIX_EPOCH).ok()?))) {
            text.push_str("# HELP keyvault_agent_last_success_timestamp_seconds When everything was last seen to be as in the vaults.\n");
            text.push_str("# TYPE keyvault_agent_last_success_timestamp_seconds gauge\n");
            // Writing to a String does not fail.
            let _ = writeln!(text, "keyvault_agent_last_success_timestamp_seconds {}", since.as_secs());
            text.push_str("# HELP keyvault_agent_last_success_age_seconds How long ago that was.\n");
            text.push_str("# TYPE keyvault_agent_last_success_age_seconds gauge\n");
            // A clock that was set back makes it 0.
            let _ = writeln!(text, "keyvault_agent_last_success_age_seconds {}", now.duration_since(time).unwrap_or_default().as_secs());
        }
        text.push_str("# HELP keyvault_agent_refreshes_total Refreshes by outcome: ok, or the class of the first problem.\n");
        text.push_str("# TYPE keyvault_agent_refreshes_total counter\n");
        let _ = writeln!(text, "keyvault_agent_refreshes_total{{outcome=\"ok\"}} {}", self.refreshed);
        for class in Class::ALL.map(|class| class.to_string()) {
            let count = self.failures.get(&class).map_or(0, |failures| failures.count);
            let _ = writeln!(text, "keyvault_agent_refreshes_total{{outcome=\"{class}\"}} {count}");
        }
        text.push_str("# HELP keyvault_agent_object_version_info The versions that the files are made of.\n");
        text.push_str("# TYPE keyvault_agent_object_version_info gauge\n");
        // None of these can have a quote in it: names and versions are letters, digits and hyphens.
        for (vault, kind, name, version) in &self.objects {
            let labels = format!("vault=\"{vault}\",kind=\"{kind}\",name=\"{name}\",version=\"{version}\"");
            let _ = writeln!(text, "keyvault_agent_object_version_info{{{labels}}} 1");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn status() -> Status {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let mut status = Status { next_try: Some(at(90)), ..Status::default() };
        status.succeeded(at(30));
        status.failed(at(60), Class::Throttled, "throttled demo/a: Key Vault answered 429");
        status.objects = BTreeSet::from([("demo".to_owned(), "secret", "a".to_owned(), "0f".to_owned())]);
        status
    }

    #[test]
    fn the_file_says_when_what_and_why_not() {
        let status = status();
        let json: serde_json::Value = serde_json::from_slice(&status.json(&status.objects, &[json!("m")])).unwrap();
        let expected = json!({
            "lastSuccess": "1970-01-01T00:00:30Z", "lastTry": "1970-01-01T00:01:00Z", "nextTry": "1970-01-01T00:01:30Z", "refreshed": 1,
            "objects": [{"vault": "demo", "kind": "secret", "name": "a", "version": "0f"}],
            "missing": ["m"],
            "failures": {"throttled": {"count": 1, "last": "throttled demo/a: Key Vault answered 429", "at": "1970-01-01T00:01:00Z"}},
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn metrics_have_every_outcome_and_every_version() {
        let text = status().metrics(UNIX_EPOCH + Duration::from_secs(75));
        assert_eq!(text.matches("\nkeyvault_agent_refreshes_total{").count(), Class::ALL.len() + 1);
        for line in [
            "keyvault_agent_last_success_timestamp_seconds 30",
            "keyvault_agent_last_success_age_seconds 45",
            "keyvault_agent_refreshes_total{outcome=\"ok\"} 1",
            "keyvault_agent_refreshes_total{outcome=\"throttled\"} 1",
            "keyvault_agent_refreshes_total{outcome=\"dns\"} 0",
            "keyvault_agent_object_version_info{vault=\"demo\",kind=\"secret\",name=\"a\",version=\"0f\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(!Status::default().metrics(UNIX_EPOCH).contains("last_success"));
    }
}
