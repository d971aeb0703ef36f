//! Keys and backups by plain requests: what a key refuses, and in which words.

use serde_json::{Value, json};

use crate::emulator::{Answer, Running};

const VERSION: &str = "api-version=7.4";
const DIGEST: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";

async fn call(running: &Running, token: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
    running.call(method, "demo", &format!("{path}?{VERSION}"), token, body).await
}

async fn create(running: &Running, token: &str, name: &str, body: Value) -> Value {
    let answer = call(running, token, "POST", &format!("/keys/{name}/create"), Some(body)).await;
    assert_eq!(answer.status, 200, "{}", answer.json);
    answer.json
}

fn forbidden(inner: &str, message: &str) -> Value {
    json!({"error": {"code": "Forbidden", "message": message, "innererror": {"code": inner}}})
}

#[tokio::test]
async fn a_key_refuses_what_it_may_not_do_and_does_what_it_may() {
    let running = Running::start().await;
    let owner = running.owner().await;
    create(&running, &owner, "verifier", json!({"kty": "EC", "key_ops": ["verify"]})).await;
    create(&running, &owner, "disabled", json!({"kty": "EC", "attributes": {"enabled": false}})).await;
    create(&running, &owner, "expired", json!({"kty": "EC", "attributes": {"exp": 1}})).await;
    create(&running, &owner, "future", json!({"kty": "EC", "attributes": {"nbf": 9_999_999_999_u64}})).await;
    let request = json!({"alg": "ES256", "value": DIGEST});
    for (name, inner, message) in [
        ("verifier", "KeyOperationForbidden", "Operation sign is not permitted on this key."),
        ("disabled", "KeyDisabled", "Operation sign is not allowed on a disabled key."),
        ("expired", "KeyExpired", "Operation sign is not allowed on an expired key."),
        ("future", "KeyNotYetValid", "Operation sign is not allowed on a key that is not yet valid."),
    ] {
        // A client that wants the latest version leaves an empty segment.
        let answer = call(&running, &owner, "POST", &format!("/keys/{name}//sign"), Some(request.clone())).await;
        assert_eq!((answer.status, answer.json), (403, forbidden(inner, message)));
    }
    let verify = json!({"alg": "ES256", "digest": DIGEST, "value": "A".repeat(86)});
    for name in ["verifier", "expired", "future"] {
        let answer = call(&running, &owner, "POST", &format!("/keys/{name}/verify"), Some(verify.clone())).await;
        assert_eq!((answer.status, answer.json), (200, json!({"value": false})), "{name}");
    }
}

#[tokio::test]
async fn values_that_do_not_fit_are_refused() {
    let running = Running::start().await;
    let owner = running.owner().await;
    create(&running, &owner, "ec", json!({"kty": "EC"})).await;
    for (operation, body, message) in [
        ("sign", json!({"alg": "RS256", "value": DIGEST}), "The parameter is incorrect.\r\n this algorithm is not for this key."),
        ("sign", json!({"alg": "ES256", "value": "AAAA"}), "The parameter is incorrect.\r\n the digest is not as long as this algorithm's."),
        ("sign", json!({"alg": "ES1", "value": DIGEST}), "Property alg has invalid value ES1\r\n"),
        ("sign", json!({"alg": "ES256", "value": "!"}), "Property value has invalid value\r\n"),
        ("verify", json!({"alg": "ES256", "value": DIGEST}), "Property digest has invalid value\r\n"),
    ] {
        let answer = call(&running, &owner, "POST", &format!("/keys/ec/{operation}"), Some(body)).await;
        assert_eq!((answer.status, &answer.json["error"]["message"]), (400, &json!(message)));
    }
    for (path, body, property) in [
        ("/keys/a/create", json!({"kty": "oct-HSM"}), "kty"),
        ("/keys/a/create", json!({"kty": "RSA", "key_size": 512}), "key_size"),
        ("/keys/a/create", json!({"kty": "EC", "key_ops": ["encrypt"]}), "key_ops"),
    ] {
        let answer = call(&running, &owner, "POST", path, Some(body)).await;
        assert_eq!((answer.status, &answer.json["error"]["message"]), (400, &json!(format!("Property {property} has invalid value\r\n"))));
    }
}

#[tokio::test]
async fn a_backup_is_restored_once_and_only_as_what_it_is() {
    let running = Running::start().await;
    let owner = running.owner().await;
    let blob = call(&running, &owner, "POST", "/secrets/db-password/backup", None).await.json;
    let version = call(&running, &owner, "GET", "/secrets/db-password", None).await.json["id"].as_str().unwrap().to_owned();
    let conflict = call(&running, &owner, "POST", "/secrets/restore", Some(blob.clone())).await;
    let message = format!(
        "There was a conflict restoring the secret '{version}'. This can happen if either: a second secret with the same name was created after the \
         first secret was deleted; thus trying to restore a secret whose name is already in use. To fix this, rename the second secret to something \
         else so that the restore works. The second probable cause of this exception is when multiple operations are performed in parallel against \
         the secret. To avoid this error, perform operations against a secret in a sequential manner."
    );
    assert_eq!((conflict.status, conflict.json), (409, json!({"error": {"code": "Conflict", "message": message}})));
    assert_eq!(call(&running, &owner, "POST", "/keys/restore", Some(blob.clone())).await.status, 400, "a secret is no key");
    call(&running, &owner, "DELETE", "/secrets/db-password", None).await;
    assert_eq!(call(&running, &owner, "POST", "/secrets/restore", Some(blob.clone())).await.status, 409, "its name is not free yet");
    call(&running, &owner, "DELETE", "/deletedsecrets/db-password", None).await;
    let restored = call(&running, &owner, "POST", "/secrets/restore", Some(blob.clone())).await;
    assert_eq!((restored.status, &restored.json["id"], restored.json.get("value")), (200, &json!(version), None));
    let elsewhere = running.call("POST", "other", &format!("/secrets/restore?{VERSION}"), &owner, Some(blob)).await;
    assert_eq!(elsewhere.status, 200, "another vault takes it too");
    assert_eq!(call(&running, &owner, "GET", "/secrets/db-password", None).await.json["value"], "correct horse battery staple");
}

#[tokio::test]
async fn each_operation_has_a_separate_permission() {
    let text = crate::emulator::CONFIG.replace("allow: [secrets/get, certificates/get, keys/get]", "allow: [keys/get, keys/sign, secrets/backup]");
    let running = Running::with(&text).await;
    let (owner, limited) = (running.owner().await, running.token(crate::emulator::READER, "reader-secret").await);
    create(&running, &owner, "ec", json!({"kty": "EC"})).await;
    for (method, path, status) in [
        ("GET", "/keys/ec", 200),
        ("POST", "/keys/ec/sign", 200),
        ("POST", "/keys/ec/verify", 403),
        ("POST", "/keys/ec/backup", 403),
        ("POST", "/keys/new/create", 403),
        ("GET", "/keys", 403),
        ("POST", "/secrets/db-password/backup", 200),
        ("GET", "/secrets/db-password", 403),
        ("POST", "/certificates/web/create", 403),
        ("GET", "/certificates/contacts", 403),
    ] {
        let answer = call(&running, &limited, method, path, Some(json!({"alg": "ES256", "value": DIGEST}))).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.json);
    }
}

#[tokio::test]
async fn an_rsa_key_has_the_public_exponent_that_is_asked_for_and_keeps_it_when_it_is_rotated() {
    let running = Running::start().await;
    let owner = running.owner().await;
    let made = create(&running, &owner, "three", json!({"kty": "RSA", "public_exponent": 3})).await;
    assert_eq!(made["key"]["e"], "Aw");
    assert_eq!(
        create(&running, &owner, "usual", json!({"kty": "RSA", "public_exponent": 0})).await["key"]["e"],
        "AQAB",
        "the client for Java sends 0"
    );
    let rotated = call(&running, &owner, "POST", "/keys/three/rotate", None).await;
    assert_eq!((rotated.status, &rotated.json["key"]["e"]), (200, &json!("Aw")));
    let signed = call(&running, &owner, "POST", "/keys/three/sign", Some(json!({"alg": "RS256", "value": DIGEST}))).await.json;
    let verify = json!({"alg": "RS256", "digest": DIGEST, "value": signed["value"]});
    assert_eq!(call(&running, &owner, "POST", "/keys/three/verify", Some(verify)).await.json, json!({"value": true}));
    for exponent in [1, 4, 4_294_967_297_u64] {
        let answer = call(&running, &owner, "POST", "/keys/bad/create", Some(json!({"kty": "RSA", "public_exponent": exponent}))).await;
        let words = json!({"error": {"code": "BadParameter", "message": "Property public_exponent has invalid value\r\n"}});
        assert_eq!((answer.status, answer.json), (400, words), "{exponent}");
    }
}
