//! Scripted faults, the list of requests, and a client that hangs.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::emulator::{OWNER, OWNER_SECRET, Running, TENANT};

const SECRET: &str = "/secrets/db-password?api-version=7.4";
const IMDS_TOKEN: &str = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net";

#[tokio::test]
async fn a_vault_fails_as_scripted_and_as_often_as_scripted() {
    let running = Running::start().await;
    let owner = running.owner().await;
    for (fault, status, code) in [
        (json!({"kind": "throttle", "retry_after": 3}), 429, json!("Throttled")),
        (json!({"kind": "unavailable", "retry_after": 1}), 503, Value::Null),
        (json!({"kind": "status", "status": 418}), 418, json!("Scripted")),
        (json!({"kind": "status", "status": 401}), 401, json!("Unauthorized")),
        (json!({"kind": "rbac"}), 403, json!("ForbiddenByRbac")),
        (json!({"kind": "policy"}), 403, json!("ForbiddenByPolicy")),
        (json!({"kind": "denied"}), 403, json!("AccessDenied")),
        (json!({"kind": "firewall"}), 403, json!("ForbiddenByFirewall")),
        (json!({"kind": "connection"}), 403, json!("ForbiddenByConnection")),
    ] {
        let mut scripted = fault.clone();
        scripted["plane"] = json!("vault");
        scripted["count"] = json!(2);
        running.fault(scripted).await;
        assert_eq!(running.get(SECRET, "").await.status, 401, "a challenge uses up no fault");
        for _ in 0..2 {
            let answer = running.get(SECRET, &owner).await;
            let error = &answer.json["error"];
            assert_eq!((answer.status, error["innererror"].get("code").unwrap_or(&error["code"])), (status, &code), "{fault}");
            let retry_after = answer.headers.get("retry-after").map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(retry_after, fault.get("retry_after").map(Value::to_string), "{fault}");
        }
        assert_eq!(running.get(SECRET, &owner).await.status, 200, "{fault} is used up");
    }
}

#[tokio::test]
async fn firewall_and_private_link_refusals_are_worded_as_key_vault_words_them() {
    let running = Running::start().await;
    let owner = running.owner().await;
    let caller = format!("appid={OWNER};oid=32a7c1b3-c4d6-484e-92da-a22260a272c5;iss=https://sts.windows.net/{TENANT}/");
    running.fault(json!({"plane": "vault", "kind": "firewall", "count": 1})).await;
    let expected = format!(
        "Client address is not authorized and caller is not a trusted service.\r\nClient address: 127.0.0.1\r\nCaller: {caller}\r\nVault: \
         demo;location=westus2"
    );
    assert_eq!(running.get(SECRET, &owner).await.json["error"]["message"], expected);
    running.fault(json!({"plane": "vault", "kind": "connection", "count": 1})).await;
    let expected = format!(
        "Public network access is disabled and request is not from a trusted service nor via an approved private link.\r\nCaller: {caller}\r\n\
         Vault: demo;location=westus2"
    );
    assert_eq!(running.get(SECRET, &owner).await.json["error"]["message"], expected);
}

#[tokio::test]
async fn the_other_planes_fail_in_their_own_words() {
    let running = Running::start().await;
    let form =
        [("grant_type", "client_credentials"), ("client_id", OWNER), ("client_secret", OWNER_SECRET), ("scope", "https://vault.azure.net/.default")];
    for (kind, status, error) in [("throttle", 429, "temporarily_unavailable"), ("unavailable", 503, "temporarily_unavailable")] {
        running.fault(json!({"plane": "entra", "kind": kind, "count": 1})).await;
        let answer = running.ask_token(TENANT, &form).await;
        assert_eq!((answer.status, &answer.json["error"], &answer.json["error_codes"]), (status, &json!(error), &json!([90033])));
    }
    for (fault, status) in
        [(json!({"kind": "throttle"}), 429), (json!({"kind": "unavailable"}), 503), (json!({"kind": "status", "status": 410}), 410)]
    {
        let mut scripted = fault;
        scripted["plane"] = json!("imds");
        scripted["count"] = json!(1);
        running.fault(scripted).await;
        assert_eq!(running.imds(IMDS_TOKEN, &[("Metadata", "true")]).await.status, status);
    }
    assert_eq!(running.imds(IMDS_TOKEN, &[("Metadata", "true")]).await.status, 200);
}

#[tokio::test]
async fn a_fault_hits_the_paths_that_it_names_until_it_is_cleared() {
    let running = Running::start().await;
    let owner = running.owner().await;
    running.fault(json!({"plane": "vault", "kind": "denied", "match": "^/secrets/(db|x)-\\w+$"})).await;
    running.fault(json!({"plane": "entra", "kind": "throttle"})).await;
    let settings = "/secrets/Settings?api-version=7.4";
    assert_eq!((running.get(SECRET, &owner).await.status, running.get(settings, &owner).await.status), (403, 200));
    running.fault(json!({"plane": "vault", "kind": "clear"})).await;
    assert_eq!(running.get(SECRET, &owner).await.status, 200);
    assert_eq!(running.ask_token(TENANT, &[]).await.status, 429, "the other plane's fault stays");
    running.fault(json!({"kind": "clear"})).await;
    assert_eq!(running.ask_token(TENANT, &[]).await.status, 400);
}

#[tokio::test]
async fn broken_answers_are_really_broken() {
    let running = Running::start().await;
    let owner = running.owner().await;
    let get =
        async || running.http.get(format!("https://demo.vault.azure.net{SECRET}")).header("authorization", format!("Bearer {owner}")).send().await;

    running.fault(json!({"plane": "vault", "kind": "truncate", "count": 1})).await;
    let mut response = get().await.unwrap();
    let announced = response.content_length().unwrap();
    let mut received = Vec::new();
    let end = loop {
        match response.chunk().await {
            Ok(Some(bytes)) => received.extend_from_slice(&bytes),
            other => break other,
        }
    };
    assert!(end.is_err(), "the body ends as if it were whole");
    assert!(received.starts_with(b"{\"") && (received.len() as u64) < announced, "{} of {announced}", received.len());

    running.fault(json!({"plane": "vault", "kind": "garbage", "count": 1})).await;
    let response = get().await.unwrap();
    assert_eq!((response.status().as_u16(), response.text().await.unwrap().starts_with("<html>")), (200, true));

    running.fault(json!({"plane": "vault", "kind": "reset", "count": 1})).await;
    let error = get().await.unwrap_err();
    assert!(!error.is_connect() && error.is_request(), "{error:?}");
    assert_eq!(get().await.unwrap().status(), 200);
}

#[tokio::test]
async fn delays_add_up_and_meet_the_challenge_too() {
    let running = Running::start().await;
    running.fault(json!({"plane": "vault", "kind": "delay", "delay_ms": 60, "count": 1})).await;
    running.fault(json!({"plane": "vault", "kind": "delay", "delay_ms": 60, "count": 1})).await;
    let start = Instant::now();
    assert_eq!(running.get(SECRET, "").await.status, 401);
    assert!(start.elapsed() >= Duration::from_millis(120), "{:?}", start.elapsed());
}

const KINDS: &str = "throttle, unavailable, rbac, policy, denied, firewall, connection, status, delay, clear, truncate, garbage or reset";

#[tokio::test]
async fn a_bad_fault_is_refused_with_the_reason() {
    let running = Running::start().await;
    for (fault, reason) in [
        (json!({"plane": "vault"}), format!("kind is missing: {KINDS}").as_str()),
        (json!({"plane": "valt", "kind": "rbac"}), "plane \"valt\" is not vault, entra or imds; did you mean vault?"),
        (json!({"plane": "moon", "kind": "rbac"}), "plane \"moon\" is not vault, entra or imds"),
        (json!({"plane": "vault", "kind": "trottle"}), format!("kind \"trottle\" is not {KINDS}; did you mean throttle?").as_str()),
        (json!({"plane": "vault", "kind": "rbac", "cuont": 1}), "cuont is not a field of a fault; did you mean count?"),
        (
            json!({"plane": "vault", "kind": "rbac", "x": 1}),
            "x is not a field of a fault: plane, kind, match, count, retry_after, status or delay_ms",
        ),
        (json!({"plane": "vault", "kind": "rbac", "count": "3"}), "count is a whole number, not \"3\""),
        (json!({"plane": "vault", "kind": "rbac", "count": 4_294_967_296_u64}), "count is at most 4294967295"),
        (json!({"plane": "vault", "kind": "rbac", "match": ["a"]}), "match is text, not [\"a\"]"),
        (json!(["vault"]), "a fault is a JSON object such as {\"plane\":\"vault\",\"kind\":\"throttle\"}"),
        (json!({"kind": "throttle"}), "plane is missing: vault, entra or imds"),
        (json!({"plane": "entra", "kind": "rbac"}), "only the vault plane refuses in this way"),
        (json!({"plane": "vault", "kind": "status"}), "this kind needs status"),
        (json!({"plane": "vault", "kind": "status", "status": 100}), "status is a number from 200 to 599"),
        (json!({"plane": "vault", "kind": "delay"}), "this kind needs delay_ms"),
        (json!({"plane": "vault", "kind": "reset", "delay_ms": 1}), "delay_ms means nothing for this kind"),
        (json!({"plane": "vault", "kind": "rbac", "status": 404}), "status means nothing for this kind"),
        (json!({"plane": "vault", "kind": "rbac", "retry_after": 1}), "retry_after means nothing for this kind"),
        (json!({"plane": "vault", "kind": "clear", "count": 1}), "count means nothing for this kind"),
        (json!({"plane": "vault", "kind": "rbac", "count": 0}), "count is at least 1; without it the fault stays until it is cleared"),
    ] {
        let answer = running.ask_fault(fault.clone()).await;
        assert_eq!((answer.status, answer.json["error"].as_str()), (400, Some(reason)), "{fault}");
    }
    for (fault, beginning) in [(json!({"plane": "vault", "kind": "rbac", "match": "("}), "match is not a regular expression: ")] {
        let answer = running.ask_fault(fault.clone()).await;
        assert!(answer.status == 400 && answer.json["error"].as_str().unwrap().starts_with(beginning), "{}", answer.json);
    }
}

#[tokio::test]
async fn requests_are_listed_and_counted_without_values_and_tokens() {
    let running = Running::start().await;
    let owner = running.owner().await;
    running.get(SECRET, "").await;
    running.get(SECRET, &owner).await;
    running.imds(IMDS_TOKEN, &[]).await;
    let seen = running.requests().await;
    assert_eq!(seen["counts"], json!({"entra": {"200": 1}, "vault": {"200": 1, "401": 1}, "imds": {"400": 1}}));
    let last = json!({
        "plane": "vault", "method": "GET", "host": "demo.vault.azure.net", "path": "/secrets/db-password", "authorized": true, "status": 200
    });
    assert_eq!(seen["requests"][2], last);
    assert!(!seen.to_string().contains("correct horse") && !seen.to_string().contains(&owner) && !seen.to_string().contains(OWNER_SECRET));
    let url = format!("{}/_emulator/requests", running.addresses.vault);
    assert_eq!(running.http.delete(url).send().await.unwrap().status(), 204);
    assert_eq!(running.requests().await, json!({"counts": {}, "requests": []}));
}

#[tokio::test]
async fn a_client_that_never_speaks_tls_holds_up_nobody() {
    let running = Running::start().await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(running.socket).await.unwrap());
    }
    let owner = tokio::time::timeout(Duration::from_secs(5), running.owner()).await.unwrap();
    assert_eq!(running.get(SECRET, &owner).await.status, 200);
    // Plain HTTP on the TLS port is cut off, not left hanging.
    let mut plain = TcpStream::connect(running.socket).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut plain, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(5), plain.read_to_end(&mut rest)).await.unwrap().ok();
}
