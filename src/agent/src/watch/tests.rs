//! A whole day against a scripted vault, by a clock that runs as fast as it may.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;

use hyper::HeaderMap;

use super::*;
use keyvault_client::{Kind, Request, Response, TransportError};

/// Refreshes of a day at the shortest interval that the webhook lets through.
const CYCLES: usize = 2_880;

/// Its secret `moving` has a new version after every tenth request; now and then it throttles, or is not there at all. The fifth sign-in is refused.
#[derive(Default)]
struct Vault {
    requests: RefCell<BTreeMap<String, usize>>,
    sign_ins: Cell<usize>,
    /// Tokens that it does not take any more.
    expired: Cell<usize>,
}

impl Network for &Vault {
    async fn send(&self, request: Request<'_>) -> Result<Response, TransportError> {
        let answer = |status, body: String| Ok(Response { status, headers: HeaderMap::new(), body: body.into(), cut: None, server: "p".into() });
        let bearer = match request.kind {
            Kind::Object { bearer } => String::from_utf8_lossy(bearer.expose()).into_owned(),
            Kind::Metadata | Kind::SignIn { .. } | Kind::ProxiedSignIn { .. } => {
                self.sign_ins.set(self.sign_ins.get() + 1);
                if self.sign_ins.get() == 5 {
                    return answer(401, String::new());
                }
                return answer(200, format!(r#"{{"access_token":"{}"}}"#, self.sign_ins.get()));
            }
        };
        if bearer.parse::<usize>().unwrap() <= self.expired.get() {
            return answer(401, String::new());
        }
        let path = request.url.split('?').next().unwrap().splitn(4, '/').nth(3).unwrap().to_owned();
        let count = *self.requests.borrow_mut().entry(path.clone()).and_modify(|count| *count += 1).or_insert(1);
        if path == "secrets/moving" && count.is_multiple_of(120) {
            // A token lives an hour.
            self.expired.set(self.sign_ins.get());
        }
        match (path.as_str(), count % 500) {
            ("secrets/moving", 100) => answer(429, String::new()),
            ("secrets/moving", 200) => Err(TransportError::Broken { server: "p".into(), reason: "gone".to_owned() }),
            ("secrets/moving", 300) => answer(404, String::new()),
            ("secrets/moving", _) => answer(200, secret(&path, count / 10)),
            _ => answer(200, secret(path.trim_end_matches("/0123456789abcdef0123456789abcdef"), 15)),
        }
    }
}

fn secret(path: &str, version: usize) -> String {
    format!(r#"{{"value":"value {version}","id":"https://p.vault.azure.net/{path}/{version:x}"}}"#)
}

fn plan(directory: &Path) -> String {
    let fetch = |id: &str, extra: &str| format!(r#"{{"id":"{id}","secret":{{"vault":"https://p.vault.azure.net","name":"{id}"{extra}}}}}"#);
    let entry = |file: &str, value: &str| format!(r#"{{"file":"{file}","mode":"0400","value":{value}}}"#);
    let variable = |name: &str, object: &str| format!(r#"{{"name":"{name}","object":"{object}"}}"#);
    let variables = [variable("M", "moving"), variable("S", "still"), variable("F", "fixed")].join(",");
    let environment = format!(r#"{{"environment":[{variables}]}}"#);
    let fetch = [fetch("moving", ""), fetch("still", ""), fetch("fixed", r#","version":"0123456789abcdef0123456789abcdef""#)].join(",");
    let entries = [entry("moving", r#"{"object":"moving"}"#), entry("still", r#"{"object":"still"}"#), entry("all", &environment)].join(",");
    format!(
        r#"{{"version":1,"cloud":{{"authorityHost":"https://login.microsoftonline.com","resource":"https://vault.azure.net"}},
        "identity":{{"podIdentity":{{}}}},"deadline":"2m","fetch":[{fetch}],"directories":[{{"path":"{}","entries":[{entries}]}}],
        "refresh":{{"every":"30s"}}}}"#,
        directory.display()
    )
}

/// Descriptors of this process that lead into `directory`: other tests run beside this one.
fn descriptors(directory: &Path) -> usize {
    let open = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    open.filter(|path| path.starts_with(directory)).count()
}

#[tokio::test(start_paused = true)]
async fn a_day_of_refreshes_leaves_nothing_behind() {
    let root = tempfile::tempdir().unwrap();
    let plan = Plan::from_json(&plan(root.path())).unwrap();
    let (vault, refresh) = (Vault::default(), plan.refresh.clone().unwrap());
    let job = Job { plan: &plan, digest: "d", refresh: &refresh, listener: None, now: SystemTime::now, random: || 0.5 };
    let mut watch = Watch::begin(job, &vault).await.unwrap();
    let sizes = |watch: &Watch<'_, _>| (watch.files.values_held(), descriptors(root.path()), fs::read_dir(root.path()).unwrap().count());
    // `..data`, `..status.json`, what it points to, and three links.
    assert_eq!(sizes(&watch), (1, 0, 5), "before the status is written");

    let day = Duration::from_secs(24 * 3_600);
    assert!(tokio::time::timeout(day, watch.keep_on()).await.is_err());
    assert_eq!(sizes(&watch), (1, 0, 6));

    let requests = vault.requests.borrow();
    assert!((CYCLES - 10..=CYCLES + 100).contains(&requests["secrets/moving"]), "{requests:?}");
    assert_eq!(requests["secrets/fixed/0123456789abcdef0123456789abcdef"], 1, "pinned");
    assert!((25..=27).contains(&vault.sign_ins.get()), "one token an hour, not {}", vault.sign_ins.get());
    let text = fs::read_to_string(root.path().join("all")).unwrap();
    let now = fs::read_to_string(root.path().join("moving")).unwrap();
    assert_eq!(text, format!("M='{now}'\nS='value 15'\nF='value 15'\n"));
    let status: serde_json::Value = serde_json::from_slice(&fs::read(root.path().join(STATUS)).unwrap()).unwrap();
    for (class, count) in [("throttled", 6), ("connect", 6), ("not-found", 6), ("auth", 1)] {
        assert_eq!(status["failures"][class]["count"], count, "{class}: {status}");
    }
}
