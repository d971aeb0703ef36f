//! Certificates by plain requests: what the clients of other languages do not show.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::emulator::{Answer, CONFIG, FIXTURES, Running};

const VERSION: &str = "api-version=7.6";

async fn call(running: &Running, token: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
    running.call(method, "demo", &format!("{path}?{VERSION}"), token, body).await
}

fn self_signed(subject: &str) -> Value {
    json!({"policy": {"key_props": {"kty": "EC"}, "x509_props": {"subject": subject}, "issuer": {"name": "Self"}}, "tags": {"team": "web"}})
}

fn fixture(name: &str) -> String {
    std::fs::read_to_string(format!("{FIXTURES}/pfx/{name}")).unwrap()
}

fn sorted_keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn making_a_certificate_goes_the_way_of_the_real_service() {
    let running = Running::start().await;
    let owner = running.owner().await;
    let started = call(&running, &owner, "POST", "/certificates/web/create", Some(self_signed("CN=web"))).await;
    let request_id = started.json["request_id"].as_str().unwrap();
    let location = format!("https://demo.vault.azure.net/certificates/web/pending?{VERSION}&request_id={request_id}");
    assert_eq!((started.status, started.headers["location"].to_str().unwrap()), (202, location.as_str()));
    assert_eq!(sorted_keys(&started.json), ["cancellation_requested", "csr", "id", "issuer", "request_id", "status", "status_details"]);
    assert_eq!((&started.json["status"], &started.json["issuer"]), (&json!("inProgress"), &json!({"name": "Self"})));

    let pending = call(&running, &owner, "GET", "/certificates/web/pending", None).await.json;
    assert_eq!(sorted_keys(&pending), ["cancellation_requested", "csr", "id", "issuer", "request_id", "status", "target"]);
    assert_eq!(pending["target"], "https://demo.vault.azure.net/certificates/web");
    let other = running.get(&format!("/certificates/web/pending?{VERSION}&request_id=other"), &owner).await;
    assert_eq!((other.status, &other.json["error"]["code"]), (404, &json!("PendingCertificateNotFound")));

    let bundle = call(&running, &owner, "GET", "/certificates/web/", None).await.json;
    assert_eq!(sorted_keys(&bundle), ["attributes", "cer", "id", "kid", "pending", "policy", "sid", "tags", "x5t"]);
    let version = bundle["id"].as_str().unwrap().rsplit('/').next().unwrap();
    for (member, collection) in [("id", "certificates"), ("kid", "keys"), ("sid", "secrets")] {
        assert_eq!(bundle[member], format!("https://demo.vault.azure.net/{collection}/web/{version}"));
    }
    let attributes = &bundle["attributes"];
    assert_eq!(attributes["created"].as_i64().unwrap() - attributes["nbf"].as_i64().unwrap(), 600, "backdated as in Azure");
    assert_eq!(bundle["policy"]["x509_props"]["key_usage"], json!(["digitalSignature"]));
    assert_eq!(bundle["policy"]["id"], "https://demo.vault.azure.net/certificates/web/policy");

    let secret = call(&running, &owner, "GET", "/secrets/web/", None).await.json;
    assert_eq!((&secret["managed"], &secret["kid"], &secret["tags"]), (&json!(true), &bundle["kid"], &json!({"team": "web"})));
    let key = call(&running, &owner, "GET", "/keys/web", None).await.json;
    assert_eq!((&key["key"]["kid"], &key["key"]["key_ops"]), (&bundle["kid"], &json!(["sign", "verify"])));
    assert_eq!(sorted_keys(&key["key"]), ["crv", "key_ops", "kid", "kty", "x", "y"], "no private number");
}

#[tokio::test]
async fn an_unfinished_certificate_is_there_disabled_and_empty_and_then_does_not_hide_the_finished_one() {
    let running = Running::with(&CONFIG.replace("- name: demo\n", "- name: demo\n  pendingFor: 1h\n")).await;
    let owner = running.owner().await;
    call(&running, &owner, "POST", "/certificates/web/create", Some(self_signed("CN=web"))).await;
    let unfinished = call(&running, &owner, "GET", "/certificates/web", None).await.json;
    assert_eq!(sorted_keys(&unfinished), ["attributes", "id", "policy", "tags"]);
    assert_eq!(unfinished["attributes"]["enabled"], false);
    assert_eq!(call(&running, &owner, "GET", "/certificates/web/pending", None).await.json["status"], "inProgress");
    assert_eq!(call(&running, &owner, "GET", "/secrets/web", None).await.status, 404);
    let cancelled = call(&running, &owner, "PATCH", "/certificates/web/pending", Some(json!({"cancellation_requested": true}))).await.json;
    assert_eq!((&cancelled["status"], &cancelled["cancellation_requested"]), (&json!("inProgress"), &json!(true)));
    assert_eq!(call(&running, &owner, "GET", "/certificates/web/pending", None).await.json["status"], "cancelled");

    let pem = json!({"value": fixture("kv-ec-p256.expected.pem")});
    let imported = call(&running, &owner, "POST", "/certificates/web/import", Some(pem)).await.json;
    call(&running, &owner, "POST", "/certificates/web/create", Some(self_signed("CN=later"))).await;
    assert_eq!(call(&running, &owner, "GET", "/certificates/web", None).await.json["id"], imported["id"]);
    assert_eq!(call(&running, &owner, "GET", "/certificates/web/versions", None).await.json["value"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_certificate_comes_in_as_pkcs12_as_pem_and_as_base64_of_pem() {
    let running = Running::start().await;
    let owner = running.owner().await;
    let vectors: Value = json!({"kv-rsa-selfsigned": "ob7QIC8jLpNLQaRFDnQjh0wOeeE", "kv-rsa-chain3": "FyPWvFOL0HhPV3ZP5A7k_SoqBx8"});
    for (name, x5t) in vectors.as_object().unwrap() {
        let pem = fixture(&format!("{name}.expected.pem"));
        for (form, value, content_type) in [
            ("pfx", fixture(&format!("{name}.b64")), "application/x-pkcs12"),
            ("pem", pem.clone(), "application/x-pem-file"),
            ("pem64", BASE64_STANDARD.encode(&pem), "application/x-pem-file"),
        ] {
            let path = format!("/certificates/{name}-{form}/import");
            let imported = call(&running, &owner, "POST", &path, Some(json!({ "value": value }))).await.json;
            assert_eq!((&imported["x5t"], &imported["policy"]["secret_props"]["contentType"]), (x5t, &json!(content_type)), "{imported}");
            let secret = running.get(&format!("/secrets/{name}-{form}?{VERSION}&outContentType=application/x-pem-file"), &owner).await.json;
            assert_eq!((secret["value"].as_str().unwrap(), &secret["contentType"]), (pem.as_str(), &json!("application/x-pem-file")), "{form}");
        }
    }
    let backwards = running.get(&format!("/secrets/kv-rsa-chain3-pem?{VERSION}&outContentType=application/x-pkcs12"), &owner).await;
    assert_eq!(backwards.status, 400, "PEM is never made PKCS#12");
}

#[tokio::test]
async fn names_are_kept_apart() {
    let running = Running::start().await;
    let owner = running.owner().await;
    let taken = call(&running, &owner, "POST", "/certificates/db-password/create", Some(self_signed("CN=web"))).await;
    assert_eq!(
        (taken.status, &taken.json["error"]["message"]),
        (409, &json!("A secret with the name db-password exists that belongs to no certificate."))
    );
    call(&running, &owner, "POST", "/certificates/web/create", Some(self_signed("CN=web"))).await;
    for (method, path, body) in [
        ("PUT", "/secrets/web", json!({"value": "x"})),
        ("POST", "/keys/web/create", json!({"kty": "EC"})),
        ("DELETE", "/secrets/web", json!({})),
        ("DELETE", "/keys/web", json!({})),
    ] {
        let refused = call(&running, &owner, method, path, Some(body)).await;
        let message = refused.json["error"]["message"].as_str().unwrap();
        assert!(refused.status == 403 && message.ends_with("that belongs to a certificate: use the certificate."), "{path}: {message}");
    }
    call(&running, &owner, "DELETE", "/certificates/web", None).await;
    for path in ["/deletedsecrets/web", "/deletedkeys/web"] {
        assert_eq!(call(&running, &owner, "GET", path, None).await.json["managed"], true);
        assert_eq!(call(&running, &owner, "DELETE", path, None).await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn objects_of_the_configuration_are_there() {
    let objects = "- name: other\n  certificates:\n  - {name: made, subject: \"CN=made, O=Lab\", dnsNames: [made.example.test], keyType: EC, curve: P-384, contentType: pem, tags: {a: b}}\n  \
                   - {name: chain, file: pfx/kv-rsa-chain3.expected.pem, contentType: pfx, exportable: false, enabled: false}\n  \
                   keys:\n  - {name: file, file: sa.key.pem, operations: [verify]}\n  - {name: fresh, keyType: EC, curve: P-521}\n";
    let running = Running::with(&CONFIG.replace("- name: other\n", objects)).await;
    let owner = running.owner().await;
    let get = async |path: &str| running.call("GET", "other", &format!("{path}?{VERSION}"), &owner, None).await.json;
    let made = get("/certificates/made").await;
    assert_eq!(
        (&made["policy"]["x509_props"]["subject"], &made["policy"]["key_props"]["crv"], &made["tags"]),
        (&json!("CN=made, O=Lab"), &json!("P-384"), &json!({"a": "b"}))
    );
    assert!(get("/secrets/made").await["value"].as_str().unwrap().starts_with("-----BEGIN PRIVATE KEY-----"));
    let chain = get("/certificates/chain").await;
    assert_eq!((&chain["attributes"]["enabled"], &chain["policy"]["key_props"]["exportable"]), (&json!(false), &json!(false)));
    assert_eq!((&get("/keys/file").await["key"]["key_ops"], &get("/keys/fresh").await["key"]["crv"]), (&json!(["verify"]), &json!("P-521")));
}

#[tokio::test]
async fn what_key_vault_would_not_take_is_refused() {
    let running = Running::start().await;
    let owner = running.owner().await;
    let policy = |key_props: Value, x509: Value| json!({"policy": {"key_props": key_props, "x509_props": x509, "issuer": {"name": "Self"}}});
    for (body, message) in [
        (json!({}), "Property policy has invalid value\r\n"),
        (policy(json!({"kty": "oct"}), json!({"subject": "CN=a"})), "Property kty has invalid value\r\n"),
        (policy(json!({"key_size": 1000}), json!({"subject": "CN=a"})), "Property key_size has invalid value\r\n"),
        (policy(json!({"kty": "EC", "crv": "P-256K"}), json!({"subject": "CN=a"})), "Property crv has invalid value\r\n"),
        (policy(json!({}), json!({"subject": ""})), "Property policy.x509_props.subject has invalid value\r\n"),
        (policy(json!({}), json!({"subject": "CN=a", "validity_months": 0})), "Property policy.x509_props.validity_months has invalid value\r\n"),
        (policy(json!({}), json!({"subject": "CN=a", "key_usage": ["all"]})), "Property policy.x509_props.key_usage has invalid value\r\n"),
    ] {
        let refused = call(&running, &owner, "POST", "/certificates/bad/create", Some(body)).await;
        assert_eq!((refused.status, &refused.json["error"]["message"]), (400, &json!(message)));
    }
    assert_eq!(call(&running, &owner, "GET", "/certificates/bad", None).await.status, 404, "nothing is left behind");
}
