//! Every way in which the vault plane says no, word for word, and in which order.

use serde_json::{Value, json};

use crate::emulator::{Answer, CONFIG, OTHER_TENANT, OWNER, OWNER_SECRET, READER, RESOURCE, Running, STRANGER};

const CHALLENGE: &str = "resource=\"https://vault.azure.net\"";

fn error(code: &str, message: &str) -> Value {
    json!({"error": {"code": code, "message": message}})
}

fn inner(code: &str, message: &str, inner: &str) -> Value {
    json!({"error": {"code": code, "message": message, "innererror": {"code": inner}}})
}

fn assert_answer(answer: &Answer, status: u16, body: &Value, what: &str) {
    assert_eq!((answer.status, &answer.json), (status, body), "{what}");
}

fn challenge(answer: &Answer) -> &str {
    answer.headers["www-authenticate"].to_str().unwrap()
}

#[tokio::test]
async fn the_challenge_comes_before_path_method_body_and_api_version_are_judged() {
    let running = Running::start().await;
    let body = error("Unauthorized", "AKV10000: Request is missing a Bearer or PoP token.");
    for (method, path) in [
        ("GET", "/secrets/db-password/?api-version=7.4"),
        ("GET", "/secrets/db-password"),
        ("GET", "/no/such/path"),
        ("PUT", "/secrets/my_secret"),
        ("POST", "/secrets"),
        ("GET", "/keys/k"),
        ("GET", "/"),
    ] {
        let answer = running.call(method, "demo", path, "", None).await;
        assert_answer(&answer, 401, &body, path);
        let expected = format!("Bearer authorization=\"https://login.microsoftonline.com/{}\", {CHALLENGE}", crate::emulator::TENANT);
        assert_eq!(challenge(&answer), expected);
    }
    let basic = running.http.get("https://demo.vault.azure.net/secrets").header("authorization", "Basic abc").send().await.unwrap();
    assert_answer(&crate::emulator::read(basic).await, 401, &body, "another scheme");
}

#[tokio::test]
async fn a_bad_token_is_refused_with_its_reason() {
    let running = Running::start().await;
    let other_audience = running.token_for(crate::emulator::TENANT, OWNER, OWNER_SECRET, "https://management.azure.com").await;
    let with_slash = running.token_for(crate::emulator::TENANT, OWNER, OWNER_SECRET, "https://vault.azure.net/").await;
    let foreign = running.token_for(OTHER_TENANT, "66666666-6666-6666-6666-666666666666", "foreign-secret", RESOURCE).await;
    let good = running.owner().await;
    let (claims, signature) = (foreign.rsplit_once('.').unwrap().0, good.rsplit_once('.').unwrap().1);
    let forged = format!("{claims}.{signature}");
    let wrong_audience = |found| format!("AKV10022: Invalid audience. Expected https://vault.azure.net, found: {found}.");
    let wrong_issuer = format!(
        "AKV10032: Invalid issuer. Expected one of https://sts.windows.net/{}/, found https://sts.windows.net/{OTHER_TENANT}/.",
        crate::emulator::TENANT
    );
    for (token, message) in [
        (other_audience.as_str(), wrong_audience("https://management.azure.com")),
        (with_slash.as_str(), wrong_audience("https://vault.azure.net/")),
        (foreign.as_str(), wrong_issuer),
        (forged.as_str(), "AKV10046: Unable to resolve the key used for signature validation.".to_owned()),
        ("nonsense", "AKV10046: Unable to resolve the key used for signature validation.".to_owned()),
    ] {
        let answer = running.get("/secrets/db-password?api-version=7.4", token).await;
        assert_answer(&answer, 401, &error("Unauthorized", &message), token);
        assert!(challenge(&answer).ends_with(CHALLENGE));
    }
}

#[tokio::test]
async fn an_expired_token_is_refused() {
    let running = Running::with(&format!("tokenLifetime: 0s\n{CONFIG}")).await;
    let answer = running.get("/secrets/db-password?api-version=7.4", &running.owner().await).await;
    assert_answer(&answer, 401, &error("Unauthorized", "[TokenExpired] Error validating token: 'S2S12086'."), "expired");
}

#[tokio::test]
async fn a_token_of_another_emulator_is_refused() {
    let (one, two) = (Running::start().await, Running::start().await);
    assert_eq!(two.get("/secrets/db-password?api-version=7.4", &one.owner().await).await.status, 401);
}

#[tokio::test]
async fn a_forbidden_request_is_refused_in_the_vaults_own_words() {
    let running = Running::start().await;
    let reader = running.token(READER, "reader-secret").await;
    let issuer = format!("https://sts.windows.net/{}/", crate::emulator::TENANT);
    let rbac = |action: &str, object: &str| {
        format!(
            "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role definitions were changed \
             recently, please observe propagation time.\r\nCaller: appid={READER};oid={READER};iss={issuer}\r\nAction: \
             'Microsoft.KeyVault/vaults/secrets/{action}'\r\nResource: \
             '/subscriptions/00000000-0000-0000-0000-000000000000/resourcegroups/emulator/providers/microsoft.keyvault/vaults/demo{object}'\r\n\
             Assignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: 'DeniedWithNoValidRBAC' \r\nVault: demo;location=westus2\r\n"
        )
    };
    for (method, path, action, object) in [
        ("GET", "/secrets", "readMetadata/action", ""),
        ("GET", "/secrets/db-password/versions", "readMetadata/action", "/secrets/db-password"),
        ("PUT", "/secrets/new", "setSecret/action", "/secrets/new"),
        ("PATCH", "/secrets/db-password", "update/action", "/secrets/db-password"),
        ("DELETE", "/secrets/db-password", "delete", "/secrets/db-password"),
        ("DELETE", "/deletedsecrets/db-password", "purge/action", "/secrets/db-password"),
        ("POST", "/deletedsecrets/db-password/recover", "recover/action", "/secrets/db-password"),
    ] {
        let answer = running.call(method, "demo", &format!("{path}?api-version=7.4"), &reader, None).await;
        assert_answer(&answer, 403, &inner("Forbidden", &rbac(action, object), "ForbiddenByRbac"), path);
    }
    assert_eq!(running.get("/secrets/db-password?api-version=7.4", &reader).await.status, 200);

    for (vault, verb, path, code) in [
        ("other", "get", "/secrets/x", "ForbiddenByPolicy"),
        ("other", "list", "/secrets", "ForbiddenByPolicy"),
        ("closed", "get", "/secrets/x", "AccessDenied"),
    ] {
        let answer = running.call("GET", vault, &format!("{path}?api-version=7.4"), &reader, None).await;
        let message = format!(
            "The user, group or application 'appid={READER};oid={READER};numgroups=0;iss={issuer}' does not have secrets {verb} permission on \
             key vault '{vault};location=westus2'. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125287"
        );
        assert_answer(&answer, 403, &inner("Forbidden", &message, code), vault);
    }
}

#[tokio::test]
async fn permissions_are_judged_before_the_object_is_looked_for() {
    let running = Running::start().await;
    let stranger = running.token(STRANGER, "denied-client-secret").await;
    assert_eq!(running.get("/secrets/nothing-there?api-version=7.4", &stranger).await.status, 403);
    assert_eq!(running.get("/secrets/my_secret?api-version=7.4", &stranger).await.status, 400);
    assert_eq!(running.get("/secrets/db-password", &stranger).await.json["error"]["message"], "api-version must be specified");
}

#[tokio::test]
async fn every_other_refusal_has_its_own_words() {
    let running = Running::start().await;
    let owner = running.owner().await;
    let missing = |id: &str| {
        format!(
            "A secret with (name/id) {id} was not found in this key vault. If you recently deleted this secret you may be able to recover it using \
             the correct recovery command. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182"
        )
    };
    let unknown = "The specified version (1.0) is not recognized. Consider using the latest supported version (2026-04-01).";
    let version = "0123456789abcdef0123456789abcdef";
    for (method, path, status, body) in [
        ("GET", "/secrets/nope?api-version=7.4", 404, error("SecretNotFound", &missing("nope"))),
        (
            "GET",
            &format!("/secrets/db-password/{version}?api-version=7.4"),
            404,
            error("SecretNotFound", &missing(&format!("db-password/{version}"))),
        ),
        ("PATCH", "/secrets/nope?api-version=7.4", 404, error("SecretNotFound", &missing("nope"))),
        ("DELETE", "/secrets/nope?api-version=7.4", 404, error("SecretNotFound", &missing("nope"))),
        ("GET", "/deletedsecrets/nope?api-version=7.4", 404, error("SecretNotFound", "Deleted Secret not found: nope")),
        ("DELETE", "/deletedsecrets/nope?api-version=7.4", 404, error("SecretNotFound", "Deleted Secret not found: nope")),
        ("POST", "/deletedsecrets/nope/recover?api-version=7.4", 404, error("SecretNotFound", "Deleted Secret not found: nope")),
        (
            "GET",
            "/secrets/old-token?api-version=7.4",
            403,
            inner("Forbidden", "Operation get is not allowed on a disabled secret.", "SecretDisabled"),
        ),
        ("GET", "/secrets/db-password", 400, error("BadParameter", "api-version must be specified")),
        ("GET", "/secrets/db-password?api-version=1.0", 400, error("BadParameter", unknown)),
        ("GET", "/secrets/my_secret?api-version=7.4", 400, error("BadParameter", "The request URI contains an invalid name: my_secret")),
        ("PUT", "/secrets/?api-version=7.4", 405, error("MethodNotAllowed", "HTTP PUT not allowed")),
        ("POST", "/secrets/db-password?api-version=7.4", 405, error("MethodNotAllowed", "HTTP POST not allowed")),
        ("GET", "/nothing?api-version=7.4", 404, error("NotFound", "The requested path does not exist.")),
    ] {
        let send = (method == "PATCH").then(|| json!({}));
        assert_answer(&running.call(method, "demo", path, &owner, send).await, status, &body, &format!("{method} {path}"));
    }
}

#[tokio::test]
async fn the_throttle_of_a_vault_counts_served_calls_only() {
    let running = Running::start().await;
    let owner = running.owner().await;
    let path = "/secrets/a?api-version=7.4";
    let throttled = error("Throttled", "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached");
    for (token, status) in [("", 401), ("", 401), (&owner, 200), (&owner, 200), (&owner, 429), (&owner, 429), ("", 401)] {
        let answer = running.call("GET", "slow", path, token, None).await;
        assert_eq!(answer.status, status);
        assert!(status != 429 || answer.json == throttled, "{}", answer.json);
        assert!(!answer.headers.contains_key("retry-after"));
    }
    assert_eq!(running.get("/secrets/db-password?api-version=7.4", &owner).await.status, 200, "another vault");
}
