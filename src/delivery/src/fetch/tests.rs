use std::cell::{Cell, RefCell};
use std::time::Duration;

use hyper::HeaderMap;

use super::*;
use keyvault_client::{Kind, Request, Response, Secret, StoredCertificate, TransportError};
use keyvault_common::names::ObjectName;
use keyvault_common::plan::{Encoding, Identity, PlanCloud};
use keyvault_common::secret::SecretValue;

/// A vault that takes a while for each answer and counts how many requests are in it at once.
#[derive(Default)]
struct Vault {
    /// Answers of this many requests, then 200.
    throttled: Cell<u32>,
    retry_after: &'static str,
    down: bool,
    inside: Cell<usize>,
    most: RefCell<Vec<usize>>,
}

impl Network for &Vault {
    async fn send(&self, request: Request<'_>) -> Result<Response, TransportError> {
        let mut headers = HeaderMap::new();
        let name = request.url.rsplit('/').next().unwrap_or_default().split('?').next().unwrap_or_default().to_owned();
        let answer = |status, headers, body: String| Ok(Response { status, headers, body: body.into(), cut: None, server: "p".into() });
        if matches!(request.kind, Kind::Metadata) {
            return answer(200, headers, r#"{"access_token":"T"}"#.to_owned());
        }
        self.inside.set(self.inside.get() + 1);
        self.most.borrow_mut().push(self.inside.get());
        tokio::time::sleep(Duration::from_millis(10)).await;
        self.inside.set(self.inside.get() - 1);
        if self.down {
            return Err(TransportError::Broken { server: "p".into(), reason: "gone".to_owned() });
        }
        if let Some(left) = self.throttled.get().checked_sub(1) {
            self.throttled.set(left);
            headers.insert("retry-after", self.retry_after.parse().unwrap());
            return answer(429, headers, String::new());
        }
        match name.as_str() {
            "missing" => answer(404, headers, String::new()),
            "denied" => answer(403, headers, String::new()),
            name => answer(200, headers, format!(r#"{{"value":"value of {name}"}}"#)),
        }
    }
}

fn objects(names: &[&str]) -> Vec<Fetch> {
    names
        .iter()
        .enumerate()
        .map(|(id, name)| Fetch {
            id: id.to_string(),
            kind: keyvault_common::names::ObjectKind::Secret,
            object: Object {
                vault: "https://p.vault.azure.net".parse().unwrap(),
                name: name.trim_end_matches('?').parse().unwrap(),
                version: None,
                optional: name.ends_with('?'),
            },
        })
        .collect()
}

async fn run(vault: &Vault, objects: &[Fetch], deadline: Duration) -> Result<Vec<String>, Vec<String>> {
    let cloud = PlanCloud {
        authority_host: "https://login.microsoftonline.com".to_owned(),
        resource: "https://vault.azure.net".to_owned(),
        verify_challenge: true,
        allowed_vault_hosts: Vec::new(),
    };
    let identity = Identity::PodIdentity { client_id: None, endpoint: "http://127.0.0.1:1".parse().ok() };
    let retry = Retry::new(Instant::now() + deadline, || 0.5);
    let client = Client::new(vault, &cloud, &identity, retry.clone());
    match fetch(&client, objects, &retry).await {
        Ok((values, _)) => {
            let mut texts: Vec<String> = values.iter().map(|(id, value)| format!("{id}: {}", text(value))).collect();
            texts.sort();
            Ok(texts)
        }
        Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
    }
}

fn text(object: &format::Object) -> String {
    match object {
        format::Object::Secret(read) => String::from_utf8_lossy(read.secret.value.expose()).into_owned(),
        other @ (format::Object::Certificate(_) | format::Object::Key(_)) => panic!("{other:?} is no secret"),
    }
}

fn many() -> Vec<Fetch> {
    let names: Vec<String> = (0..100).map(|n| format!("s{n}")).collect();
    objects(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

#[tokio::test(start_paused = true)]
async fn values_come_by_id_and_a_missing_optional_one_is_left_out() {
    let values = run(&Vault::default(), &objects(&["a", "missing?", "b"]), Duration::from_secs(60)).await;
    assert_eq!(values.unwrap(), ["0: value of a", "2: value of b"]);
}

#[tokio::test(start_paused = true)]
async fn every_problem_is_reported_in_the_plans_order() {
    let problems = run(&Vault::default(), &objects(&["missing", "a", "denied?", "missing?"]), Duration::from_secs(60)).await;
    assert_eq!(
        problems.unwrap_err(),
        [
            "p/missing: Key Vault at p answered 404",
            "p/denied: Key Vault at p refused the identity that the pod's label aadpodidbinding is bound to: 403"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_vault_gets_one_request_first_and_then_at_most_64_at_a_time() {
    let vault = Vault::default();
    assert_eq!(run(&vault, &many(), Duration::from_secs(60)).await.unwrap().len(), 100);
    let most = vault.most.borrow();
    assert_eq!(most[..4], [1, 1, 2, 3], "{most:?}");
    assert_eq!(most.iter().max(), Some(&64));
}

#[tokio::test(start_paused = true)]
async fn after_throttling_one_request_goes_and_then_more_with_each_success() {
    let vault = Vault { throttled: Cell::new(2), retry_after: "2", ..Vault::default() };
    let start = Instant::now();
    assert_eq!(run(&vault, &many(), Duration::from_secs(60)).await.unwrap().len(), 100);
    assert!(start.elapsed() >= Duration::from_secs(4), "{:?}", start.elapsed());
    let most = vault.most.borrow();
    assert_eq!(most[..9], [1, 1, 1, 1, 2, 1, 2, 3, 4], "{most:?}");
    assert!(*most.iter().max().unwrap() <= 64);
}

#[tokio::test(start_paused = true)]
async fn a_used_up_window_is_asked_once_in_each_pause_however_many_objects_wait() {
    let vault = Vault { throttled: Cell::new(4), retry_after: "soon", ..Vault::default() };
    let start = Instant::now();
    assert_eq!(run(&vault, &many(), Duration::from_secs(60)).await.unwrap().len(), 100);
    assert!((18..19).contains(&start.elapsed().as_secs()), "four pauses of 4.5 s, and no wait of an object on top: {:?}", start.elapsed());
    assert_eq!(vault.most.borrow()[..7], [1, 1, 1, 1, 1, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_single_object_is_tried_again_when_the_pause_is_over_and_not_later() {
    let vault = Vault { throttled: Cell::new(9), retry_after: "soon", ..Vault::default() };
    let start = Instant::now();
    assert_eq!(run(&vault, &objects(&["a"]), Duration::from_secs(60)).await.unwrap().len(), 1);
    assert_eq!(start.elapsed().as_secs(), 40, "nine pauses of 4.5 s");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_vault_that_wants_more_time_than_there_is() {
    let vault = Vault { throttled: Cell::new(1_000), retry_after: "3600", ..Vault::default() };
    let start = Instant::now();
    let problems = run(&vault, &many(), Duration::from_secs(60)).await.unwrap_err();
    assert_eq!(problems.len(), 100);
    assert!(problems[99].starts_with("p/s99: Key Vault at p answered 429 (asks to wait 3600s, but the deadline is in 5"), "{}", problems[99]);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_object_whose_turn_never_came_says_that_the_vault_throttles() {
    let vault = Vault { throttled: Cell::new(1_000), retry_after: "soon", ..Vault::default() };
    let problems = run(&vault, &many(), Duration::from_secs(5)).await.unwrap_err();
    assert_eq!(problems.len(), 100);
    assert_eq!(problems[0], "p/s0: Key Vault at p answered 429 (tried 2 times until the deadline)");
    assert_eq!(vault.most.borrow().len(), 2, "one at the start and one after the pause");
    assert_eq!(problems[99], "p/s99: no answer before the deadline, because Key Vault throttles");
}

#[tokio::test(start_paused = true)]
async fn a_vault_that_stays_down_is_tried_until_the_deadline() {
    let vault = Vault { down: true, ..Vault::default() };
    let start = Instant::now();
    let problems = run(&vault, &objects(&["a"]), Duration::from_secs(10)).await.unwrap_err();
    assert_eq!(problems, ["p/a: the connection to p broke: gone (tried 6 times until the deadline)"]);
    assert!(start.elapsed() <= Duration::from_secs(10));
}

// === selections ===

/// A vault whose list has this many secrets, 25 to a page, with empty pages between them.
struct Lists {
    count: usize,
    /// Answers of this many requests, then 200.
    throttled: Cell<u32>,
    pages: Cell<usize>,
    /// The list never ends.
    endless: bool,
}

impl Network for &Lists {
    async fn send(&self, request: Request<'_>) -> Result<Response, TransportError> {
        let answer = |status, body: String| Ok(Response { status, headers: HeaderMap::new(), body: body.into(), cut: None, server: "p".into() });
        if matches!(request.kind, Kind::Metadata) {
            return answer(200, r#"{"access_token":"T"}"#.to_owned());
        }
        if let Some(left) = self.throttled.get().checked_sub(1) {
            self.throttled.set(left);
            return answer(429, String::new());
        }
        self.pages.set(self.pages.get() + 1);
        let start: usize = request.url.split_once("$skiptoken=").map_or(0, |(_, start)| start.parse().unwrap());
        let item = |n: usize| {
            let enabled = n % 10 != 3;
            format!(
                r#"{{"id":"https://p.vault.azure.net/secrets/s-{n}","attributes":{{"enabled":{enabled}}},"managed":{},"tags":{{"n":"{n}"}}}}"#,
                n % 10 == 4
            )
        };
        let is_empty = start % 2 == 1;
        let items: Vec<String> = (start / 2 * 25..self.count.min((start / 2 + 1) * 25)).filter(|_| !is_empty).map(item).collect();
        let more = self.endless || (start / 2 + 1) * 25 < self.count || (is_empty && start / 2 * 25 < self.count);
        let next = if more { format!(r#""https://p.vault.azure.net:443/secrets?$skiptoken={}""#, start + 1) } else { "null".to_owned() };
        answer(200, format!(r#"{{"value":[{}],"nextLink":{next}}}"#, items.join(",")))
    }
}

async fn list(lists: &Lists, selectors: &[&str]) -> Result<Vec<String>, Vec<String>> {
    let cloud = PlanCloud {
        authority_host: "https://login.microsoftonline.com".to_owned(),
        resource: "https://vault.azure.net".to_owned(),
        verify_challenge: true,
        allowed_vault_hosts: Vec::new(),
    };
    let identity = Identity::PodIdentity { client_id: None, endpoint: "http://127.0.0.1:1".parse().ok() };
    let retry = Retry::new(Instant::now() + Duration::from_secs(60), || 0.5);
    let client = Client::new(lists, &cloud, &identity, retry.clone());
    let selection = |(id, text): (usize, &&str)| {
        let selector = serde_json::from_str(text.trim_end_matches('?')).unwrap();
        keyvault_common::plan::Select {
            id: id.to_string(),
            vault: "https://p.vault.azure.net".parse().unwrap(),
            selector,
            optional: text.ends_with('?'),
        }
    };
    let selections: Vec<_> = selectors.iter().enumerate().map(selection).collect();
    let words = |names: &Vec<ObjectName>| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    match select(&client, &selections, &retry).await {
        Ok(names) => Ok(names.iter().map(words).collect()),
        Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
    }
}

fn lists(count: usize) -> Lists {
    Lists { count, throttled: Cell::new(0), pages: Cell::new(0), endless: false }
}

#[tokio::test(start_paused = true)]
async fn every_page_is_read_once_for_all_selections_and_what_cannot_be_given_is_left_out() {
    let vault = lists(60);
    let names = list(&vault, &[r#"{"prefix":"S-5"}"#, r#"{"tags":{"n":"7"}}"#, r#"{"prefix":"x"}?"#]).await.unwrap();
    assert_eq!(names, ["s-5 s-50 s-51 s-52 s-55 s-56 s-57 s-58 s-59", "s-7", ""]);
    assert_eq!(vault.pages.get(), 5, "three pages, and an empty one after each but the last");
}

#[tokio::test(start_paused = true)]
async fn none_and_too_many_are_problems_that_name_the_pattern() {
    assert_eq!(list(&lists(60), &[r#"{"prefix":"x-"}"#]).await.unwrap_err(), ["p/x-*: no secret of the vault matches"]);
    let most = list(&lists(126), &[r#"{"prefix":"s-"}"#]).await.unwrap();
    assert_eq!(most[0].split(' ').count(), 100, "126 but for those that are disabled or of certificates");
    let too_many = "p/s-*: 101 secrets match, and a selection gives at most 100: narrow its prefix or tags, or split it in two";
    assert_eq!(list(&lists(127), &[r#"{"prefix":"s-"}"#]).await.unwrap_err(), [too_many]);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_page_is_asked_for_again() {
    let vault = Lists { throttled: Cell::new(3), ..lists(30) };
    assert_eq!(list(&vault, &[r#"{"prefix":"s-2"}"#]).await.unwrap(), ["s-2 s-20 s-21 s-22 s-25 s-26 s-27 s-28 s-29"]);
    assert_eq!(vault.pages.get(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_list_without_an_end_is_given_up() {
    let vault = Lists { endless: true, ..lists(10) };
    let problems = list(&vault, &[r#"{"prefix":"s-1"}"#, r#"{"prefix":"s-2"}"#]).await.unwrap_err();
    let why = "the vault's list of secrets has no end after 400 pages (10000 secrets): name each secret";
    assert_eq!(problems, [format!("p/s-1*: {why}"), format!("p/s-2*: {why}")]);
    assert_eq!(vault.pages.get(), 400);
}

#[tokio::test]
async fn what_derives_keys_is_opened_beside_everything_else() {
    let secret = || {
        let value = SecretValue::from(include_str!("../../../../tests/fixtures/pfx/kv-ec-chain3.b64").to_owned());
        let content_type = Some("application/x-pkcs12".to_owned());
        Secret { value, content_type, of_certificate: true, file_encoding: Encoding::Utf8, version: String::new() }
    };
    let object = &objects(&["web"])[0].object;
    for stored in [Stored::Secret(secret()), Stored::Certificate(StoredCertificate::Secret(secret()))] {
        let mut opening = std::pin::pin!(open(object, stored));
        tokio::select! {
            biased;
            _ = &mut opening => panic!("nothing else was polled meanwhile"),
            () = std::future::ready(()) => {}
        }
        assert!(matches!(opening.await, Ok(format::Object::Certificate(_) | format::Object::Secret(_))));
    }
}
