use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use hyper::HeaderMap;

use super::*;
use crate::TransportError;

/// Answers from a script; notes what was sent.
struct Script {
    answers: RefCell<VecDeque<(u16, &'static str, &'static str)>>,
    sent: RefCell<Vec<String>>,
    paths: RefCell<Vec<String>>,
}

impl Network for &Script {
    async fn send(&self, request: Request<'_>) -> Result<Response, TransportError> {
        let host = request.url.split('/').nth(2).unwrap_or_default();
        self.paths.borrow_mut().push(request.url.splitn(4, '/').nth(3).unwrap_or_default().to_owned());
        self.sent.borrow_mut().push(match request.kind {
            Kind::Object { bearer } => format!("{host} {}", String::from_utf8_lossy(bearer.expose())),
            Kind::Metadata => "sign-in".to_owned(),
            Kind::SignIn { .. } | Kind::ProxiedSignIn { .. } => panic!("not this identity"),
        });
        let (status, challenge, body) = self.answers.borrow_mut().pop_front().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("www-authenticate", challenge.parse().unwrap());
        Ok(Response { status, headers, body: SecretValue::from(body.to_owned()), cut: None, server: Server::from(host) })
    }
}

const TOKEN_1: (u16, &str, &str) = (200, "", r#"{"access_token":"T1"}"#);
const TOKEN_2: (u16, &str, &str) = (200, "", r#"{"access_token":"T2"}"#);
const VALUE: (u16, &str, &str) = (200, "", r#"{"value":"v"}"#);
const REFUSED: (u16, &str, &str) = (401, r#"Bearer authorization="https://login/T", resource="https://vault.azure.net""#, "");
const FOREIGN: (u16, &str, &str) = (401, r#"Bearer authorization="https://login/T", resource="https://vault.azure.cn""#, "");

/// Reads a secret of `vault` and brings the outcome and what was sent.
async fn read(vault: &str, cloud: &PlanCloud, answers: &[(u16, &'static str, &'static str)]) -> (Result<String, String>, Vec<String>) {
    let script = Script { answers: RefCell::new(answers.iter().copied().collect()), sent: RefCell::default(), paths: RefCell::default() };
    let identity = Identity::PodIdentity { client_id: None, endpoint: "http://127.0.0.1:1".parse().ok() };
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
    assert_eq!(
        (result, sent.len()),
        (Err("Key Vault at p.vault.azure.net refused the identity that the pod's label aadpodidbinding is bound to: 401".to_owned()), 4)
    );
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
        Ok((SecretValue::from("T".to_owned()), "client c".to_owned()))
    };
    let first = tokens.get(None, sign_in()).await.unwrap();
    let renewed = futures::future::join_all((0..32).map(|_| tokens.get(Some(&first), sign_in()))).await;
    assert!(renewed.into_iter().all(|token| !Arc::ptr_eq(&token.unwrap(), &first)));
    assert_eq!(*signed_in.borrow(), 2);
}

const NO_SECRET: (u16, &str, &str) = (404, "", r#"{"error":{"code":"SecretNotFound"}}"#);
const FORBIDDEN: (u16, &str, &str) = (403, "", r#"{"error":{"code":"Forbidden","innererror":{"code":"ForbiddenByRbac"}}}"#);
const DISABLED: (u16, &str, &str) = (403, "", r#"{"error":{"code":"Forbidden","innererror":{"code":"SecretDisabled"}}}"#);
const NO_CERTIFICATE: (u16, &str, &str) = (404, "", r#"{"error":{"code":"CertificateNotFound"}}"#);
const THROTTLED: (u16, &str, &str) = (429, "", "");
const KEPT: (u16, &str, &str) = (200, "", r#"{"cer":"AQID","policy":{"key_props":{"exportable":false}}}"#);
const EXPORTABLE: (u16, &str, &str) = (200, "", r#"{"cer":"AQID","policy":{"key_props":{"exportable":true}}}"#);
const WITHOUT_POLICY: (u16, &str, &str) = (200, "", r#"{"cer":"AQID"}"#);
const NO_BASE64: (u16, &str, &str) = (200, "", r#"{"cer":"A!","policy":{"key_props":{"exportable":false}}}"#);

/// Reads an object and brings the outcome and the paths that were asked for.
async fn read_kind(kind: ObjectKind, answers: &[(u16, &'static str, &'static str)]) -> (Result<Stored, Failure>, Vec<String>) {
    let answers = [TOKEN_1].iter().chain(answers).copied().collect();
    let script = Script { answers: RefCell::new(answers), sent: RefCell::default(), paths: RefCell::default() };
    let (cloud, identity) = (cloud(), Identity::PodIdentity { client_id: None, endpoint: "http://127.0.0.1:1".parse().ok() });
    let client = Client::new(&script, &cloud, &identity, Retry::new(Instant::now() + Duration::from_secs(60), || 0.0));
    let version = Some("fa30baf29582406ca154583060b42e39".parse().unwrap());
    let object = Object { vault: "https://p.vault.azure.net".parse().unwrap(), name: "a".parse().unwrap(), version, optional: false };
    let result = client.read(kind, &object).await;
    let paths = script.paths.borrow()[1..].iter().map(|path| path.split("/fa30").next().unwrap().to_owned()).collect();
    (result, paths)
}

#[tokio::test]
async fn a_certificate_is_the_secret_of_its_name_and_itself_only_where_that_cannot_be_read() {
    let (result, paths) = read_kind(ObjectKind::Certificate, &[VALUE]).await;
    assert!(matches!(result, Ok(Stored::Certificate(StoredCertificate::Secret(secret))) if secret.value.expose() == b"v"));
    assert_eq!(paths, ["secrets/a"]);
    for refused in [NO_SECRET, FORBIDDEN] {
        let (result, paths) = read_kind(ObjectKind::Certificate, &[refused, KEPT]).await;
        assert!(matches!(result, Ok(Stored::Certificate(StoredCertificate::Public { der, .. })) if der == [1, 2, 3]));
        assert_eq!(paths, ["secrets/a", "certificates/a"]);
    }
}

#[tokio::test]
async fn why_a_certificate_cannot_be_had_is_concluded_from_what_both_requests_say() {
    let forbidden =
        "Key Vault at p.vault.azure.net refused the identity that the pod's label aadpodidbinding is bound to: 403 Forbidden ForbiddenByRbac";
    let half = "the certificate can be read, and its private key, which is the secret of the same name, cannot: ";
    for (answers, class, expected) in [
        (vec![DISABLED], Class::Disabled, "Key Vault at p.vault.azure.net answered 403 Forbidden SecretDisabled".to_owned()),
        (vec![FORBIDDEN, EXPORTABLE], Class::Rbac, format!("{half}{forbidden}")),
        (vec![FORBIDDEN, WITHOUT_POLICY], Class::Rbac, format!("{half}{forbidden}")),
        (vec![FORBIDDEN, FORBIDDEN], Class::Rbac, forbidden.to_owned()),
        (vec![FORBIDDEN, NO_CERTIFICATE], Class::NotFound, "Key Vault at p.vault.azure.net answered 404 CertificateNotFound".to_owned()),
        (vec![NO_SECRET, NO_CERTIFICATE], Class::NotFound, "Key Vault at p.vault.azure.net answered 404 CertificateNotFound".to_owned()),
        (vec![NO_SECRET, FORBIDDEN], Class::NotFound, "Key Vault at p.vault.azure.net answered 404 SecretNotFound".to_owned()),
        (vec![NO_SECRET, NO_BASE64], Class::Format, "Key Vault answered 200, but the certificate's cer is not base64".to_owned()),
        (vec![NO_SECRET, THROTTLED], Class::Throttled, "Key Vault at p.vault.azure.net answered 429".to_owned()),
    ] {
        let (result, paths) = read_kind(ObjectKind::Certificate, &answers).await;
        let failure = result.unwrap_err();
        assert_eq!((failure.class, failure.to_string(), paths.len()), (class, expected, answers.len()));
    }
    let (result, _) = read_kind(ObjectKind::Certificate, &[NO_SECRET, THROTTLED]).await;
    assert_eq!(result.unwrap_err().outlook, Outlook::Transient, "so that it is tried again");
}

#[tokio::test]
async fn a_key_is_its_public_members() {
    let answer = (200, "", r#"{"key":{"kid":"https://p/keys/a/1","kty":"EC","crv":"P-256","x":"AQ","y":"Ag","d":"canary"},"attributes":{}}"#);
    let (result, paths) = read_kind(ObjectKind::Key, &[answer]).await;
    let Ok(Stored::Key(jwk)) = result else { panic!("{result:?}") };
    assert_eq!((jwk.kty.as_str(), jwk.crv.as_str(), jwk.x.as_str()), ("EC", "P-256", "AQ"));
    assert!(!format!("{jwk:?}").contains("canary"));
    assert_eq!(paths, ["keys/a"]);
    let (result, _) = read_kind(ObjectKind::Key, &[(200, "", "{}")]).await;
    assert_eq!(result.unwrap_err().to_string(), "Key Vault at p.vault.azure.net answered 200, but not with the JSON of a key (line 1, column 2)");
}

/// Always gives the same answer, or breaks.
struct Same(Option<(u16, &'static str)>);

impl Network for &Same {
    async fn send(&self, _: Request<'_>) -> Result<Response, TransportError> {
        let server = Server::from("login");
        let Some((status, body)) = self.0 else { return Err(TransportError::Broken { server, reason: "gone".to_owned() }) };
        Ok(Response { status, headers: HeaderMap::new(), body: SecretValue::from(body.to_owned()), cut: None, server })
    }
}

#[tokio::test(start_paused = true)]
async fn what_entra_may_still_be_learning_gets_half_of_the_deadline_and_everything_else_all_of_it() {
    const SHARE: &str = "(tried 8 times until the end of its share of the deadline)";
    const WHOLE: &str = "(tried 12 times until the deadline)";
    let token = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut token.as_file(), b"a.e30.c").unwrap();
    let guid = || "0f1e2d3c-1111-4222-8333-444455556666".parse().unwrap();
    let workload = Identity::WorkloadIdentity {
        client_id: guid(),
        tenant_id: guid(),
        token_file: token.path().to_str().unwrap().parse().unwrap(),
        token_proxy: None,
    };
    let node = Identity::ManagedIdentity { select: None, endpoint: None };
    for (identity, answer, until, end) in [
        (&workload, Some((401, r#"{"error_description":"AADSTS700213: no"}"#)), 60, SHARE),
        (&workload, Some((400, r#"{"error_description":"AADSTS90033: transient"}"#)), 60, SHARE),
        (&workload, Some((503, "")), 60, SHARE),
        (&workload, Some((429, "")), 120, WHOLE),
        (&workload, None, 120, WHOLE),
        (&node, Some((404, "")), 120, WHOLE),
        (&node, Some((503, "")), 120, WHOLE),
    ] {
        let (network, start, cloud) = (Same(answer), Instant::now(), cloud());
        let client = Client::new(&network, &cloud, identity, Retry::new(start + Duration::from_secs(120), || 1.0));
        let failure = client.sign_in().await.unwrap_err();
        let waited = start.elapsed().as_secs();
        assert!(failure.what.ends_with(end), "{answer:?}: {failure}");
        assert!(waited <= until && waited + 16 >= until, "{answer:?}: {waited}s of {until}s");
    }
}

/// Reads a page of the list and brings the names, the next link or the error, and what was sent where.
async fn list(next: Option<&str>, body: &'static str) -> (Result<(Vec<String>, Option<String>), String>, Vec<String>) {
    let answers = VecDeque::from([TOKEN_1, (200, "", body)]);
    let script = Script { answers: RefCell::new(answers), sent: RefCell::default(), paths: RefCell::default() };
    let identity = Identity::PodIdentity { client_id: None, endpoint: "http://127.0.0.1:1".parse().ok() };
    let cloud = cloud();
    let client = Client::new(&script, &cloud, &identity, Retry::new(Instant::now() + Duration::from_secs(60), || 0.0));
    let page = client.list(&"https://p.vault.azure.net".parse().unwrap(), next).await.map_err(|failure| failure.to_string());
    let page = page.map(|page| (page.items.iter().map(|item| format!("{item:?}")).collect(), page.next));
    let sent = script.sent.borrow().iter().zip(script.paths.borrow().iter()).skip(1).map(|(sent, path)| format!("{sent} /{path}")).collect();
    (page, sent)
}

#[tokio::test]
async fn a_page_of_the_list_has_names_and_what_selections_look_at() {
    let body = r#"{"value":[{"id":"https://p.vault.azure.net/secrets/App-1","attributes":{"enabled":true,"exp":1},"tags":{"a":"b"}},
        {"id":"https://p.vault.azure.net:443/secrets/c","attributes":{"enabled":false},"managed":true}],"nextLink":"https://P.vault.azure.net:443/secrets?x=1"}"#;
    let (page, sent) = list(None, body).await;
    let (items, next) = page.unwrap();
    assert_eq!(items[0], "SecretItem { name: ObjectName(\"App-1\"), enabled: true, of_certificate: false, tags: {\"a\": \"b\"} }");
    assert_eq!(items[1], "SecretItem { name: ObjectName(\"c\"), enabled: false, of_certificate: true, tags: {} }");
    assert_eq!(sent, ["p.vault.azure.net T1 /secrets?api-version=7.4&maxresults=25"]);
    let (page, sent) = list(next.as_deref(), r#"{"value":[],"nextLink":null}"#).await;
    assert_eq!((page, sent), (Ok((Vec::new(), None)), vec!["p.vault.azure.net T1 /secrets?x=1".to_owned()]));
    assert_eq!(list(None, r#"{"value":null,"nextLink":""}"#).await.0, Ok((Vec::new(), None)));
}

#[tokio::test]
async fn the_token_never_follows_a_link_out_of_the_vault() {
    for link in [
        "https://evil.example/secrets?x=1",
        "http://p.vault.azure.net/secrets",
        "HTTPS://p.vault.azure.net/secrets",
        "https://p.vault.azure.net:8443/secrets",
        "https://p.vault.azure.net@evil.example/secrets",
        "https://p.vault.azure.net.evil.example/secrets",
        "https://p.vault.azure.net?x=/secrets",
        "https://p.vault.azure.net\\@evil.example/secrets",
        "https://q.vault.azure.net/secrets",
        "https://p.vault.azure.net/secrets?a b",
        "https://p.vault.azure.net/a\r\nhost: evil.example",
        "//evil.example/secrets",
        "/secrets?x=1",
        "",
    ] {
        let (page, sent) = list(Some(link), "{}").await;
        assert!(
            page.as_ref().is_err_and(|error| error.starts_with("the list of secrets goes on outside of p.vault.azure.net, at ")),
            "{link}: {page:?}"
        );
        assert_eq!(sent, [""; 0], "{link}");
    }
}

#[tokio::test]
async fn a_list_that_is_none_is_reported_without_its_content() {
    for (body, expected) in [
        ("[1]", "Key Vault at p.vault.azure.net answered 200, but not with the JSON of a list of secrets (line 1, column 2)"),
        (r#"{"value":[{"id":"x y"}]}"#, "Key Vault answered 200, but its list has an item that is not a secret"),
    ] {
        assert_eq!(list(None, body).await.0.unwrap_err(), expected);
    }
}
