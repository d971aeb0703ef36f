use super::*;
use crate::Secret;

const FIREWALL: &str = r#"{"error":{"code":"Forbidden","message":"Client address is not authorized and caller is not a trusted service.\r\nClient address: 1.2.3.4\r\n","innererror":{"code":"ForbiddenByFirewall"}}}"#;
const BAD_SUBJECT: &str = r#"{"error":"invalid_client","error_description":"AADSTS700213: No matching federated identity record found for presented assertion subject 'system:serviceaccount:a:b'. Trace ID: 1 Correlation ID: 2 Timestamp: 3","error_codes":[700213]}"#;

const CALLER: Caller<'_> = Caller { who: "client c", secrets: &[] };

fn response(status: u16, body: &str) -> Response {
    Response { status, headers: HeaderMap::new(), body: SecretValue::from(body.to_owned()), cut: None, server: "p".into() }
}

fn with_header(mut response: Response, name: &'static str, value: &str) -> Response {
    response.headers.insert(name, value.parse().unwrap());
    response
}

fn refusal(class: &str, inner: &str) -> String {
    format!(r#"{{"error":{{"code":"Forbidden","message":"no","innererror":{{"code":"{inner}"}}}},"class":"{class}"}}"#)
}

fn secret(response: &Response, now: SystemTime) -> Result<Answer<Secret>, Failure> {
    object("a secret", CALLER, response, now)
}

fn failure(response: &Response) -> Failure {
    match secret(response, SystemTime::UNIX_EPOCH) {
        Err(failure) => failure,
        Ok(_) => panic!("status {} is no failure", response.status),
    }
}

#[test]
fn a_secret_is_its_value_to_the_byte() {
    for (body, expected) in [(r#"{"value":"a\n\u0041","id":"x","attributes":{}}"#, "a\nA"), (r#"{"value":""}"#, "")] {
        let Ok(Answer::Value(secret)) = secret(&response(200, body), SystemTime::now()) else { panic!("{body}") };
        assert_eq!((secret.value.expose(), secret.content_type, secret.of_certificate), (expected.as_bytes(), None, false));
    }
}

#[test]
fn every_status_has_its_class_and_its_outlook() {
    let body = |inner| refusal("", inner);
    for (status, body, class, outlook) in [
        (403, body("SecretDisabled"), Class::Disabled, Outlook::Final),
        (403, body("ForbiddenByRbac"), Class::Rbac, Outlook::Final),
        (403, body("ForbiddenByPolicy"), Class::Rbac, Outlook::Final),
        (403, body("AccessDenied"), Class::Rbac, Outlook::Final),
        (403, body("ForbiddenByFirewall"), Class::Firewall, Outlook::Final),
        (403, body("ForbiddenByConnection"), Class::Firewall, Outlook::Final),
        (403, "<html>".to_owned(), Class::Rbac, Outlook::Final),
        (404, r#"{"error":{"code":"SecretNotFound"}}"#.to_owned(), Class::NotFound, Outlook::Final),
        (408, String::new(), Class::Timeout, Outlook::Transient),
        (429, String::new(), Class::Throttled, Outlook::Transient),
        (500, "{".to_owned(), Class::Unavailable, Outlook::Transient),
        (503, "null".to_owned(), Class::Unavailable, Outlook::Transient),
        (302, String::new(), Class::Format, Outlook::Final),
        (400, String::new(), Class::Format, Outlook::Final),
    ] {
        let failure = failure(&response(status, &body));
        assert_eq!((failure.class, failure.outlook, failure.status), (class, outlook, Some(status)), "{status} {body}");
    }
}

#[test]
fn the_text_has_status_codes_and_words_on_one_line() {
    for (status, body, expected) in [
        (
            403,
            FIREWALL,
            "Key Vault at p answered 403 Forbidden ForbiddenByFirewall: Client address is not authorized and caller is not a trusted service. Client address: 1.2.3.4",
        ),
        (404, r#"{"error":{"code":"SecretNotFound","message":"not here"}}"#, "Key Vault at p answered 404 SecretNotFound: not here"),
        (503, "<html>down</html>", "Key Vault at p answered 503"),
        (403, &FIREWALL[..40], "Key Vault at p refused client c: 403"),
        (200, "<html>canary</html>", "Key Vault at p answered 200, but not with the JSON of a secret (line 1, column 1)"),
        (200, r#"{"value":["canary"]}"#, "Key Vault at p answered 200, but not with the JSON of a secret (line 1, column 9)"),
        (200, r#"{"val":"canary"}"#, "Key Vault at p answered 200, but not with the JSON of a secret (line 1, column 16)"),
    ] {
        assert_eq!(failure(&response(status, body)).to_string(), expected);
    }
}

#[test]
fn a_body_that_broke_off_keeps_its_status_and_only_a_broken_success_is_tried_again() {
    let cut = |status, body| Response { cut: Some("connection reset".to_owned()), ..response(status, body) };
    let success = failure(&cut(200, r#"{"value":"can"#));
    assert_eq!((success.class, success.outlook), (Class::Format, Outlook::Transient));
    assert_eq!(success.to_string(), "Key Vault at p answered 200, but the answer broke off after 13 bytes: connection reset");
    let refusal = failure(&cut(403, r#"{"error":"#));
    assert_eq!((refusal.class, refusal.outlook), (Class::Rbac, Outlook::Final));
}

#[test]
fn the_wait_that_the_server_asks_for_is_understood_in_every_form() {
    let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
    for (name, value, expected) in [
        ("retry-after", "7", Some(7_000)),
        ("retry-after", "Sun, 06 Nov 1994 08:50:00 GMT", Some(23_000)),
        ("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT", None),
        ("retry-after", "0", None),
        ("x-ms-retry-after-ms", "0", None),
        ("x-ms-retry-after-ms", "1500", Some(1_500)),
        ("retry-after-ms", "20", Some(20)),
        ("retry-after", "18446744073709551615", Some(31_536_000_000)),
        ("retry-after", "soon", None),
        ("retry-after", "-1", None),
    ] {
        let outlook = secret(&with_header(response(429, ""), name, value), now).err().map(|failure| failure.outlook);
        assert_eq!(outlook, Some(expected.map_or(Outlook::Transient, |ms| Outlook::After(Duration::from_millis(ms)))), "{name}: {value}");
    }
}

#[test]
fn a_challenge_names_the_audience() {
    for (challenge, expected) in [
        (r#"Bearer authorization="https://login.windows.net/T", resource="https://vault.azure.net""#, Some("https://vault.azure.net")),
        (r#"Bearer authorization="https://login.windows.net/T", scope="https://vault.azure.net/.default""#, Some("https://vault.azure.net")),
        ("Bearer", None),
    ] {
        let answer =
            with_header(response(401, r#"{"error":{"code":"Unauthorized","message":"AKV10032: Invalid issuer."}}"#), "www-authenticate", challenge);
        let Ok(Answer::Unauthorized { resource, failure }) = secret(&answer, SystemTime::now()) else { panic!("{challenge}") };
        assert_eq!(resource.as_deref(), expected);
        assert_eq!(
            (failure.class, failure.to_string().as_str()),
            (Class::Auth, "Key Vault at p refused client c: 401 Unauthorized: AKV10032: Invalid issuer.")
        );
    }
}

#[test]
fn entra_is_believed_except_where_it_may_not_know_yet() {
    let coded = |code: u32| format!(r#"{{"error":"invalid_client","error_description":"AADSTS{code}: text","error_codes":[{code}]}}"#);
    for (endpoint, status, body, class, transient) in [
        (Endpoint::Entra, 401, BAD_SUBJECT.to_owned(), Class::Auth, true),
        (Endpoint::Entra, 400, coded(70_021), Class::Auth, true),
        (Endpoint::Entra, 401, coded(7_002_138), Class::Auth, true),
        (Endpoint::Entra, 400, coded(90_033), Class::Auth, true),
        (Endpoint::Entra, 400, coded(700_214), Class::Auth, true),
        (Endpoint::TokenProxy, 401, BAD_SUBJECT.to_owned(), Class::Auth, true),
        (Endpoint::TokenProxy, 403, String::new(), Class::Auth, false),
        (Endpoint::Entra, 400, r#"{"error":"invalid_client","error_description":"AADSTS700211: text"}"#.to_owned(), Class::Auth, true),
        (Endpoint::Entra, 400, r#"{"error":"temporarily_unavailable"}"#.to_owned(), Class::Auth, true),
        (Endpoint::Entra, 400, coded(700_016), Class::Auth, false),
        (Endpoint::Entra, 401, coded(7_000_215), Class::Auth, false),
        (Endpoint::Entra, 400, coded(90_002), Class::Auth, false),
        (Endpoint::Entra, 404, String::new(), Class::Auth, false),
        (Endpoint::Entra, 429, String::new(), Class::Throttled, true),
        (Endpoint::Entra, 503, "<html>".to_owned(), Class::Unavailable, true),
        (Endpoint::Metadata, 400, r#"{"error":"invalid_request","error_description":"Identity not found"}"#.to_owned(), Class::Auth, false),
        (Endpoint::Metadata, 404, String::new(), Class::Auth, true),
        (Endpoint::Metadata, 410, String::new(), Class::Auth, true),
        (Endpoint::Metadata, 500, String::new(), Class::Unavailable, true),
    ] {
        let failure = token(endpoint, CALLER, &response(status, &body), SystemTime::now()).unwrap_err();
        assert_eq!((failure.class, failure.outlook == Outlook::Transient), (class, transient), "{status} {body}");
    }
}

#[test]
fn a_refused_sign_in_says_who_was_refused_and_why() {
    let text = |endpoint, status, body| token(endpoint, CALLER, &response(status, body), SystemTime::now()).unwrap_err().to_string();
    assert_eq!(
        text(Endpoint::Entra, 401, BAD_SUBJECT),
        "Entra at p refused client c: AADSTS700213: No matching federated identity record found for presented assertion subject 'system:serviceaccount:a:b'."
    );
    let forbidden = r#"{"kind":"Status","message":"serviceaccounts \"a\" is forbidden","reason":"Forbidden","code":403}"#;
    assert_eq!(text(Endpoint::TokenProxy, 403, forbidden), "the token proxy at p refused client c: serviceaccounts \"a\" is forbidden");
    assert_eq!(text(Endpoint::Metadata, 400, r#"{"error":"invalid_request"}"#), "the metadata service at p refused client c: invalid_request");
    let nmi = "getting assigned identities for pod a/b in CREATED state failed after 16 attempts,\nretry duration [5]s, error: <nil>\n";
    assert_eq!(
        text(Endpoint::PodIdentity, 404, nmi),
        "the metadata service at p refused client c: getting assigned identities for pod a/b in CREATED state failed after 16 attempts, retry duration [5]s, error: <nil>"
    );
    assert_eq!(text(Endpoint::PodIdentity, 400, r#"{"error":"invalid_request"}"#), "the metadata service at p refused client c: invalid_request");
    assert_eq!(text(Endpoint::PodIdentity, 404, ""), "the metadata service at p refused client c: status 404 without a reason");
    assert_eq!(text(Endpoint::Entra, 500, "<html>"), "Entra at p refused client c: status 500 without a reason");
    assert_eq!(text(Endpoint::Entra, 200, "canary"), "Entra at p answered 200, but not with the JSON of a token (line 1, column 1)");
}

#[test]
fn a_question_without_an_answer_has_its_class_and_its_outlook() {
    let (server, reason, limit) = (|| Server::from("p"), || "why".to_owned(), Duration::from_secs(1));
    for of_vault in [true, false] {
        for (error, class, outlook) in [
            (TransportError::Dns { host: "p.".to_owned(), reason: reason() }, Class::Dns, Outlook::Transient),
            (TransportError::Connect { server: server(), reason: reason() }, Class::Connect, Outlook::Transient),
            (TransportError::Broken { server: server(), reason: reason() }, Class::Connect, Outlook::Transient),
            (TransportError::Timeout { server: server(), limit }, Class::Timeout, Outlook::Transient),
            (TransportError::Tls { server: server(), reason: reason() }, Class::Tls, Outlook::Final),
        ] {
            let failure = transport(error, of_vault);
            assert_eq!((failure.class, failure.outlook), (class, outlook), "{failure}");
        }
    }
}

#[test]
fn a_public_address_is_pointed_out_where_a_private_one_may_be_missing() {
    const HINT: &str = "(the address is a public one: if the vault has a private endpoint, its private DNS zone is not linked to this network)";
    let server = |address: &str| Server { way: crate::Way::Addresses(vec![address.parse().unwrap()]), ..Server::from("p.vault.azure.net") };
    let answer = |address, body| failure(&Response { server: server(address), ..response(403, body) }).to_string();
    assert!(answer("20.61.98.1", FIREWALL).ends_with(&format!("Client address: 1.2.3.4 {HINT}")));
    assert!(!answer("10.0.0.4", FIREWALL).contains(HINT));
    assert!(!answer("20.61.98.1", &refusal("", "ForbiddenByRbac")).contains(HINT));

    let refused = |address| TransportError::Connect { server: server(address), reason: "refused".to_owned() };
    let late = |address| TransportError::Timeout { server: server(address), limit: Duration::from_secs(10) };
    assert_eq!(transport(refused("20.61.98.1"), true).to_string(), format!("no connection to p.vault.azure.net (20.61.98.1): refused {HINT}"));
    assert_eq!(transport(late("20.61.98.1"), true).to_string(), format!("p.vault.azure.net (20.61.98.1) did not answer within 10s {HINT}"));
    for failure in [transport(refused("10.0.0.4"), true), transport(refused("20.61.98.1"), false), transport(late("20.61.98.1"), false)] {
        assert!(!failure.what.contains(HINT), "{failure}");
    }
}

#[test]
fn a_token_that_no_header_can_carry_is_refused_for_good() {
    for token_text in ["", "a\\r\\nX-Evil: 1", "a b", "a\\u0000b", "\u{e9}"] {
        let body = format!("{{\"access_token\":\"{token_text}\"}}");
        let failure = token(Endpoint::Entra, CALLER, &response(200, &body), SystemTime::now()).unwrap_err();
        assert_eq!((failure.class, failure.outlook), (Class::Format, Outlook::Final), "{body}");
        assert_eq!(
            failure.to_string(),
            "Entra at p answered 200, but with a token that no header can carry: it is empty or has spaces or control characters"
        );
    }
    assert_eq!(token(Endpoint::Entra, CALLER, &response(200, r#"{"access_token":"a.b-c"}"#), SystemTime::now()).unwrap().expose(), b"a.b-c");
}

#[test]
fn a_server_that_repeats_what_it_was_sent_is_quoted_without_it() {
    let secrets = [SecretValue::from("opaque-token-0123456789".to_owned()), SecretValue::from("se%2Fcret%2Bof%20a%20client".to_owned())];
    let caller = Caller { who: "client c", secrets: &secrets };
    let echo = r#"{"error":{"code":"opaque-token-0123456789","message":"Authorization: Bearer opaque-token-0123456789 \u006fpaque-token-012 eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln","innererror":{"code":"a value: canary"}}}"#;
    let Err(failure) = object::<Secret>("a secret", caller, &response(500, echo), SystemTime::UNIX_EPOCH) else { panic!() };
    assert_eq!(failure.to_string(), "Key Vault at p answered 500 [redacted]: Authorization: Bearer [redacted] [redacted] [redacted]");
    let echo = r#"{"error":"x","error_description":"AADSTS1: client_secret=se%2Fcret%2Bof%20a%20client&grant_type=x"}"#;
    let failure = token(Endpoint::Entra, caller, &response(401, echo), SystemTime::UNIX_EPOCH).unwrap_err();
    assert_eq!(failure.to_string(), "Entra at p refused client c: AADSTS1: client_secret=[redacted]&grant_type=x");
}
