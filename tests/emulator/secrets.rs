//! Secrets by plain requests: what the SDK does not show.

use serde_json::{Value, json};

use crate::emulator::{Answer, OWNER, Running};

const VERSION: &str = "api-version=2025-07-01";

async fn put(running: &Running, token: &str, name: &str, body: Value) -> Answer {
    running.call("PUT", "demo", &format!("/secrets/{name}?{VERSION}"), token, Some(body)).await
}

fn ids(listing: &Value) -> Vec<&str> {
    listing["value"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().rsplit('/').next().unwrap()).collect()
}

#[tokio::test]
async fn a_bundle_has_the_fields_of_key_vault_and_no_others() {
    let running = Running::start().await;
    let owner = running.owner().await;
    let before = jiff_now();
    let body =
        json!({"value": "v", "contentType": "text/plain", "tags": {"a": "b"}, "attributes": {"enabled": true, "nbf": 1, "exp": 2_527_401_600_u64}});
    let set = put(&running, &owner, "Fresh", body).await.json;
    let id = set["id"].as_str().unwrap().to_owned();
    let (base, version) = id.rsplit_once('/').unwrap();
    assert_eq!(base, "https://demo.vault.azure.net/secrets/Fresh");
    assert!(version.len() == 32 && version.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)), "{version}");
    let (created, updated) = (set["attributes"]["created"].as_u64().unwrap(), set["attributes"]["updated"].as_u64().unwrap());
    assert!((before..=jiff_now()).contains(&created) && created == updated);
    let attributes = json!({
        "enabled": true, "nbf": 1, "exp": 2_527_401_600_u64, "created": created, "updated": updated,
        "recoveryLevel": "Recoverable+Purgeable", "recoverableDays": 90
    });
    let expected = json!({"value": "v", "contentType": "text/plain", "id": id, "attributes": attributes, "tags": {"a": "b"}});
    assert_eq!(set, expected);
    for path in ["/secrets/Fresh", "/secrets/Fresh/", "/secrets/fresh", "/secrets/FRESH/", &format!("/secrets/fresh/{version}")] {
        assert_eq!(running.get(&format!("{path}?{VERSION}"), &owner).await.json, expected, "{path}");
    }
    let plain = put(&running, &owner, "plain", json!({"value": ""})).await.json;
    let mut keys: Vec<&String> = plain.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["attributes", "id", "value"], "an empty value is a value");
}

fn jiff_now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test]
async fn answers_carry_the_headers_of_key_vault() {
    let running = Running::start().await;
    let request = running.http.get(format!("https://demo.vault.azure.net/secrets?{VERSION}"));
    let headers = request.header("x-ms-client-request-id", "mine").send().await.unwrap().headers().clone();
    for (name, value) in [
        ("content-type", "application/json; charset=utf-8"),
        ("cache-control", "no-cache"),
        ("pragma", "no-cache"),
        ("expires", "-1"),
        ("x-ms-keyvault-region", "westus2"),
        ("x-ms-keyvault-service-version", "1.9.331.5"),
        ("x-ms-keyvault-network-info", "conn_type=Ipv4;addr=127.0.0.1;act_addr_fam=InterNetwork;"),
        ("x-ms-client-request-id", "mine"),
        ("strict-transport-security", "max-age=31536000;includeSubDomains"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(headers[name], value);
    }
    assert_eq!(headers["x-ms-request-id"].len(), 36);
}

#[tokio::test]
async fn the_host_chooses_the_vault_and_the_first_one_stands_for_names_of_machines() {
    let running = Running::start().await;
    let owner = running.owner().await;
    for (host, status) in [
        ("demo.vault.azure.net", 200),
        ("DEMO.vault.azure.net:443", 200),
        ("demo.vault.localhost:8443", 200),
        ("localhost", 200),
        ("emulator", 200),
        ("127.0.0.1:8443", 200),
        ("nobody.example", 404),
        ("other.vault.azure.net", 404),
    ] {
        let request = running.http.get(format!("{}/secrets/db-password?{VERSION}", running.addresses.vault));
        let answer = request.header("host", host).header("authorization", format!("Bearer {owner}")).send().await.unwrap();
        assert_eq!(answer.status(), status, "{host}");
    }
}

#[tokio::test]
async fn a_vault_of_another_cloud_expects_that_clouds_audience() {
    let running = Running::start().await;
    let token = running.token_for(crate::emulator::TENANT, OWNER, crate::emulator::OWNER_SECRET, "https://vault.azure.cn").await;
    let url = format!("{}/secrets/db-password?{VERSION}", running.addresses.vault);
    let get = |host: &'static str| running.http.get(&url).header("host", host).header("authorization", format!("Bearer {token}")).send();
    assert_eq!(get("demo.vault.azure.cn").await.unwrap().status(), 200);
    let refused = crate::emulator::read(get("demo.vault.azure.net").await.unwrap()).await;
    let message = "AKV10022: Invalid audience. Expected https://vault.azure.net, found: https://vault.azure.cn.";
    assert_eq!(refused.json["error"]["message"], message);
}

#[tokio::test]
async fn lists_come_in_pages_that_are_linked_absolutely() {
    let running = Running::start().await;
    let owner = running.owner().await;
    let first = running.get(&format!("/secrets?{VERSION}&maxresults=2"), &owner).await.json;
    assert_eq!(ids(&first), ["db-password", "old-token"]);
    assert_eq!(first["value"][0].get("value"), None);
    let link = first["nextLink"].as_str().unwrap();
    assert!(link.starts_with("https://demo.vault.azure.net:443/secrets?api-version=2025-07-01&maxresults=2&$skiptoken=eyJ"), "{link}");
    let next = running.http.get(link).header("authorization", format!("Bearer {owner}")).send().await.unwrap();
    let next = crate::emulator::read(next).await.json;
    assert_eq!((ids(&next), &next["nextLink"]), (vec!["Settings"], &Value::Null));
    assert_eq!(next["value"][0]["contentType"], "application/json");
    assert_eq!(next["value"][0]["tags"], json!({"team": "payments"}));

    let unknown = running.get(&format!("/secrets/nope/versions?{VERSION}"), &owner).await;
    assert_eq!((unknown.status, unknown.json), (200, json!({"value": [], "nextLink": null})));
    for parameter in ["maxresults=0", "maxresults=26", "maxresults=x", "$skiptoken=rubbish"] {
        let answer = running.get(&format!("/secrets?{VERSION}&{parameter}"), &owner).await;
        let name = parameter.split('=').next().unwrap();
        assert_eq!((answer.status, answer.json["error"]["message"].as_str().unwrap().rsplit(' ').next()), (400, Some(name)), "{parameter}");
    }
}

#[tokio::test]
async fn a_page_holds_25_items_unless_fewer_are_asked_for() {
    let running = Running::start().await;
    let owner = running.owner().await;
    for index in 0..26 {
        put(&running, &owner, "many", json!({"value": index.to_string()})).await;
    }
    let page = running.get(&format!("/secrets/many/versions?{VERSION}"), &owner).await.json;
    assert_eq!(ids(&page).len(), 25);
    assert!(page["nextLink"].as_str().unwrap().contains("/secrets/many/versions?"));
}

#[tokio::test]
async fn a_deleted_secret_keeps_its_name_until_it_is_purged() {
    let running = Running::start().await;
    let owner = running.owner().await;
    let deleted = running.call("DELETE", "demo", &format!("/secrets/db-password?{VERSION}"), &owner, None).await.json;
    assert_eq!(deleted["recoveryId"], "https://demo.vault.azure.net/deletedsecrets/db-password");
    assert_eq!(deleted["scheduledPurgeDate"].as_u64().unwrap() - deleted["deletedDate"].as_u64().unwrap(), 90 * 24 * 3600);
    assert_eq!(deleted.get("value"), None);
    assert_eq!(running.get(&format!("/secrets/db-password?{VERSION}"), &owner).await.status, 404);
    assert_eq!(ids(&running.get(&format!("/deletedsecrets?{VERSION}"), &owner).await.json), ["db-password"]);
    assert_eq!(running.get(&format!("/deletedsecrets/DB-password?{VERSION}"), &owner).await.json, deleted);

    let conflict = put(&running, &owner, "db-password", json!({"value": "again"})).await;
    let message = "Secret db-password is currently in a deleted but recoverable state, and its name cannot be reused; in this state, the secret can \
                   only be recovered or purged.";
    let body = json!({"error": {"code": "Conflict", "message": message, "innererror": {"code": "ObjectIsDeletedButRecoverable"}}});
    assert_eq!((conflict.status, conflict.json), (409, body));

    let purged = running.call("DELETE", "demo", &format!("/deletedsecrets/db-password?{VERSION}"), &owner, None).await;
    assert_eq!((purged.status, purged.json), (204, Value::Null));
    assert_eq!(put(&running, &owner, "db-password", json!({"value": "again"})).await.status, 200);
}

#[tokio::test]
async fn a_secret_that_comes_back_keeps_all_its_versions() {
    let running = Running::start().await;
    let owner = running.owner().await;
    put(&running, &owner, "db-password", json!({"value": "second"})).await;
    running.call("DELETE", "demo", &format!("/secrets/db-password?{VERSION}"), &owner, None).await;
    let recovered = running.call("POST", "demo", &format!("/deletedsecrets/db-password/recover?{VERSION}"), &owner, None).await;
    assert_eq!((recovered.status, recovered.json.get("value")), (200, None));
    let versions = running.get(&format!("/secrets/db-password/versions?{VERSION}"), &owner).await.json;
    assert_eq!(ids(&versions).len(), 2);
    assert_eq!(running.get(&format!("/secrets/db-password?{VERSION}"), &owner).await.json["value"], "second");
}

#[tokio::test]
async fn an_update_changes_what_it_names_and_answers_without_the_value() {
    let running = Running::start().await;
    let owner = running.owner().await;
    let path = format!("/secrets/Settings/?{VERSION}");
    let updated = running.call("PATCH", "demo", &path, &owner, Some(json!({"attributes": {"exp": 7}}))).await.json;
    assert_eq!((updated.get("value"), &updated["attributes"]["exp"], &updated["contentType"]), (None, &json!(7), &json!("application/json")));
    assert_eq!(updated["tags"], json!({"team": "payments"}));
    let updated = running.call("PATCH", "demo", &path, &owner, Some(json!({"tags": {}, "contentType": "text/plain"}))).await.json;
    assert_eq!((updated.get("tags"), &updated["contentType"], &updated["attributes"]["exp"]), (None, &json!("text/plain"), &json!(7)));
    assert_eq!(running.get(&path, &owner).await.json["value"], "{}");
}

#[tokio::test]
async fn what_is_too_long_or_no_secret_at_all_is_refused() {
    let running = Running::start().await;
    let owner = running.owner().await;
    let tags = |count: usize| (0..count).map(|index| (format!("t{index}"), json!("x"))).collect::<serde_json::Map<_, _>>();
    for (body, message) in [
        (json!({"value": "ä".repeat(25_600)}), None),
        (json!({"value": "a".repeat(25_601)}), Some("The secret's value is longer than 25600.")),
        (json!({"value": "v", "contentType": "c".repeat(255)}), None),
        (json!({"value": "v", "contentType": "c".repeat(256)}), Some("The secret's contentType is longer than 255.")),
        (json!({"value": "v", "tags": tags(15)}), None),
        (json!({"value": "v", "tags": tags(16)}), Some("The secret's number of tags is longer than 15.")),
        (json!({"value": "v", "tags": {"k": "x".repeat(257)}}), Some("The secret's tag is longer than 256.")),
        (json!({"contentType": "c"}), Some("Property value has invalid value\r\n")),
        (json!({"value": 7}), Some("Property  has invalid value\r\n")),
        (json!([]), Some("Property  has invalid value\r\n")),
    ] {
        let answer = put(&running, &owner, "x", body).await;
        let expected = message.map_or(Value::Null, Value::from);
        assert_eq!((answer.status, &answer.json["error"]["message"]), (if message.is_some() { 400 } else { 200 }, &expected));
    }
}

#[tokio::test]
async fn every_documented_api_version_is_served() {
    let running = Running::start().await;
    let owner = running.owner().await;
    for version in [
        "2016-10-01",
        "7.0",
        "7.1",
        "7.2",
        "7.3",
        "7.4",
        "7.5",
        "7.6",
        "7.6-preview.2",
        "2025-06-01-preview",
        "2025-07-01",
        "2026-01-01-preview",
        "2026-03-01-preview",
        "2026-04-01",
        "2026-05-01-preview",
        "2026-07-01-preview",
    ] {
        assert_eq!(running.get(&format!("/secrets/db-password/?api-version={version}"), &owner).await.status, 200, "{version}");
    }
}
