use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use hyper::HeaderMap;

use super::*;
use crate::vault::TransportError;

/// Answers from a script; notes what was sent.
struct Script {
    answers: RefCell<VecDeque<(u16, &'static str, &'static str)>>,
    sent: RefCell<Vec<String>>,
}

impl Network for &Script {
    async fn send(&self, request: Request<'_>) -> Result<Response, TransportError> {
        let host = request.url.split('/').nth(2).unwrap_or_default();
        self.sent.borrow_mut().push(match request.kind {
            Kind::Object { bearer } => format!("{host} {}", String::from_utf8_lossy(bearer.expose())),
            Kind::Metadata => "sign-in".to_owned(),
            Kind::SignIn { .. } => panic!("not this identity"),
        });
        let (status, challenge, body) = self.answers.borrow_mut().pop_front().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("www-authenticate", challenge.parse().unwrap());
        Ok(Response { status, headers, body: SecretValue::from(body.to_owned()), cut: None })
    }
}

const TOKEN_1: (u16, &str, &str) = (200, "", r#"{"access_token":"T1"}"#);
const TOKEN_2: (u16, &str, &str) = (200, "", r#"{"access_token":"T2"}"#);
const VALUE: (u16, &str, &str) = (200, "", r#"{"value":"v"}"#);
const REFUSED: (u16, &str, &str) = (401, r#"Bearer authorization="https://login/T", resource="https://vault.azure.net""#, "");
const FOREIGN: (u16, &str, &str) = (401, r#"Bearer authorization="https://login/T", resource="https://vault.azure.cn""#, "");

/// Reads a secret of `vault` and brings the outcome and what was sent.
async fn read(vault: &str, cloud: &PlanCloud, answers: &[(u16, &'static str, &'static str)]) -> (Result<String, String>, Vec<String>) {
    let script = Script { answers: RefCell::new(answers.iter().copied().collect()), sent: RefCell::default() };
    let identity = Identity::PodIdentity { endpoint: Some("http://127.0.0.1:1".to_owned()) };
    let client = Client::new(&script, cloud, &identity, Retry::new(Instant::now() + Duration::from_secs(60), || 0.0));
    let object = Object { vault: vault.parse().unwrap(), name: "a".parse().unwrap(), version: None, optional: false };
    let result = client.secret(&object).await;
    let text = result.map(|secret| String::from_utf8(secret.value.expose().to_vec()).unwrap()).map_err(|failure| failure.to_string());
    (text, script.sent.borrow().clone())
}

fn cloud() -> PlanCloud {
    PlanCloud {
        authority_host: "https://login.microsoftonline.com".to_owned(),
        resource: "https://vault.azure.net".to_owned(),
        verify_challenge: true,
        allowed_vault_hosts: vec!["kv.example:8443".to_owned()],
    }
}

#[tokio::test]
async fn the_first_request_already_carries_the_token() {
    let (result, sent) = read("https://p.vault.azure.net", &cloud(), &[TOKEN_1, VALUE]).await;
    assert_eq!((result.as_deref(), sent.as_slice()), (Ok("v"), &["sign-in".to_owned(), "p.vault.azure.net T1".to_owned()][..]));
}

#[tokio::test]
async fn a_refused_token_is_renewed_once() {
    let (result, sent) = read("https://p.vault.azure.net", &cloud(), &[TOKEN_1, REFUSED, TOKEN_2, VALUE]).await;
    assert_eq!(result.as_deref(), Ok("v"));
    assert_eq!(sent, ["sign-in", "p.vault.azure.net T1", "sign-in", "p.vault.azure.net T2"]);
    let (result, sent) = read("https://p.vault.azure.net", &cloud(), &[TOKEN_1, REFUSED, TOKEN_2, REFUSED]).await;
    assert_eq!((result, sent.len()), (Err("Key Vault answered 401".to_owned()), 4));
}

#[tokio::test]
async fn a_challenge_for_another_audience_ends_it_unless_challenges_are_not_verified() {
    let (result, sent) = read("https://p.vault.azure.net", &cloud(), &[TOKEN_1, FOREIGN]).await;
    assert_eq!(
        result,
        Err("p.vault.azure.net wants a token for https://vault.azure.cn, but the cloud's vaults take https://vault.azure.net".to_owned())
    );
    assert_eq!(sent.len(), 2);
    let lenient = PlanCloud { verify_challenge: false, ..cloud() };
    let (result, _) = read("https://p.vault.azure.net", &lenient, &[TOKEN_1, FOREIGN, TOKEN_2, VALUE]).await;
    assert_eq!(result.as_deref(), Ok("v"));
}

#[tokio::test]
async fn a_token_goes_to_the_clouds_vaults_and_the_operators_hosts_only() {
    for (vault, goes) in [
        ("https://p.vault.azure.net", true),
        ("https://p.vault.azure.net:8443", true),
        ("https://kv.example:8443", true),
        ("https://kv.example", false),
        ("https://vault.azure.net", false),
        ("https://pvault.azure.net", false),
        ("https://p.vault.azure.net.example", false),
        ("https://p.vault.azure.cn", false),
    ] {
        let (result, sent) = read(vault, &cloud(), &[TOKEN_1, VALUE]).await;
        assert_eq!((result.is_ok(), sent.len()), if goes { (true, 2) } else { (false, 0) }, "{vault}");
    }
    let (result, _) = read("https://p.vault.azure.cn", &cloud(), &[]).await;
    assert_eq!(result, Err("no token was sent, because p.vault.azure.cn is neither under vault.azure.net nor on the operator's list".to_owned()));
}

#[tokio::test]
async fn many_refusals_at_once_cost_one_sign_in() {
    let tokens = Tokens::default();
    let signed_in = RefCell::new(0);
    let sign_in = || async {
        *signed_in.borrow_mut() += 1;
        tokio::task::yield_now().await;
        Ok(SecretValue::from("T".to_owned()))
    };
    let first = tokens.get(None, sign_in()).await.unwrap();
    let renewed = futures::future::join_all((0..32).map(|_| tokens.get(Some(&first), sign_in()))).await;
    assert!(renewed.into_iter().all(|token| !Arc::ptr_eq(&token.unwrap(), &first)));
    assert_eq!(*signed_in.borrow(), 2);
}
