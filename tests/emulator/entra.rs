//! The token endpoint: every error with its number, and the documents beside it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::emulator::{
    AUDIENCE, Answer, ISSUER, OWNER, OWNER_SECRET, RESOURCE, Running, STRANGER, SUBJECT, TENANT, read, service_account_token, signer,
};

const SCOPE: &str = "https://vault.azure.net/.default";
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Status, `error`, number and the text between `AADSTSn: ` and the trace id.
fn refusal(answer: &Answer) -> (u16, String, u64, String) {
    let json = &answer.json;
    let number = json["error_codes"][0].as_u64().unwrap();
    let description = json["error_description"].as_str().unwrap();
    let (text, rest) = description.split_once(" Trace ID: ").unwrap();
    let timestamp = json["timestamp"].as_str().unwrap();
    let [trace, correlation] = ["trace_id", "correlation_id"].map(|key| json[key].as_str().unwrap());
    assert_eq!(rest, format!("{trace} Correlation ID: {correlation} Timestamp: {timestamp}"));
    assert!(timestamp.len() == 20 && timestamp.ends_with('Z') && trace.len() == 36, "{timestamp} {trace}");
    assert_eq!(json["error_uri"], format!("https://login.microsoftonline.com/error?code={number}"));
    let text = text.strip_prefix(&format!("AADSTS{number}: ")).unwrap();
    (answer.status, json["error"].as_str().unwrap().to_owned(), number, text.to_owned())
}

async fn exchange(running: &Running, client_id: &str, assertion: &str) -> Answer {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", client_id),
        ("client_assertion", assertion),
        ("client_assertion_type", JWT_BEARER),
        ("scope", SCOPE),
    ];
    running.ask_token(TENANT, &form).await
}

#[tokio::test]
async fn a_client_secret_gives_a_token_with_the_claims_of_entra() {
    let running = Running::start().await;
    let form = [("grant_type", "client_credentials"), ("client_id", OWNER), ("client_secret", OWNER_SECRET), ("scope", SCOPE)];
    let answer = running.ask_token(&TENANT.to_uppercase(), &form).await.json;
    assert_eq!((&answer["token_type"], &answer["expires_in"], &answer["ext_expires_in"]), (&json!("Bearer"), &json!(3599), &json!(3599)));
    let token = answer["access_token"].as_str().unwrap();
    let claims = base64_url(token.split('.').nth(1).unwrap());
    for (claim, value) in [
        ("aud", RESOURCE),
        ("iss", "https://sts.windows.net/aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee/"),
        ("appid", OWNER),
        ("oid", "32a7c1b3-c4d6-484e-92da-a22260a272c5"),
        ("tid", TENANT),
    ] {
        assert_eq!(claims[claim], value);
    }
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 3599);
}

fn base64_url(part: &str) -> Value {
    use base64::Engine;
    serde_json::from_slice(&base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[tokio::test]
#[allow(clippy::too_many_lines, reason = "most of them are a table")]
async fn every_bad_token_request_has_its_number_and_words() {
    let running = Running::start().await;
    let grant = ("grant_type", "client_credentials");
    let (client, secret, scope) = (("client_id", OWNER), ("client_secret", OWNER_SECRET), ("scope", SCOPE));
    let missing = |name: &str| format!("The request body must contain the following parameter: '{name}'.");
    let table = vec![
        (TENANT, vec![client, secret, scope], (400, "invalid_request", 900_144, missing("grant_type"))),
        (TENANT, vec![grant, secret, scope], (400, "invalid_request", 900_144, missing("client_id"))),
        (TENANT, vec![grant, client, secret], (400, "invalid_request", 900_144, missing("scope"))),
        (
            TENANT,
            vec![("grant_type", "password"), client, secret, scope],
            (400, "unsupported_grant_type", 70003, "The app requested an unsupported grant type 'password'.".into()),
        ),
        (
            TENANT,
            vec![grant, client, secret, ("scope", RESOURCE)],
            (
                400,
                "invalid_scope",
                1_002_012,
                "The provided value for scope https://vault.azure.net is not valid. Client credential flows must have a scope value with /.default \
                 suffixed to the resource identifier (application ID URI)."
                    .into(),
            ),
        ),
        (
            TENANT,
            vec![grant, client, secret, ("scope", "https://nothing.example/.default")],
            (
                400,
                "invalid_resource",
                500_011,
                format!("The resource principal named https://nothing.example was not found in the tenant named {TENANT}."),
            ),
        ),
        (
            TENANT,
            vec![grant, ("client_id", "0"), secret, scope],
            (
                400,
                "unauthorized_client",
                700_016,
                format!(
                    "Application with identifier '0' was not found in the directory '{TENANT}'. This can happen if the application has not been \
                     installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication \
                     request to the wrong tenant."
                ),
            ),
        ),
        (
            TENANT,
            vec![grant, client, ("client_secret", "guess"), scope],
            (
                401,
                "invalid_client",
                7_000_215,
                format!(
                    "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret \
                     ID, for a secret added to app '{OWNER}'."
                ),
            ),
        ),
        (
            TENANT,
            vec![grant, client, scope],
            (
                401,
                "invalid_client",
                7_000_216,
                "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type.".into(),
            ),
        ),
        (
            "12121212-0000-0000-0000-000000000000",
            vec![grant, client, secret, scope],
            (
                400,
                "invalid_request",
                90002,
                "Tenant '12121212-0000-0000-0000-000000000000' not found. Check to make sure you have the correct tenant ID and are signing into the \
                 correct cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant."
                    .into(),
            ),
        ),
        (
            "my company",
            vec![grant, client, secret, scope],
            (
                400,
                "invalid_request",
                900_023,
                "Specified tenant identifier 'my company' is neither a valid DNS name, nor a valid external domain.".into(),
            ),
        ),
    ];
    for (tenant, form, (status, error, number, text)) in table {
        let answer = running.ask_token(tenant, &form).await;
        assert_eq!(refusal(&answer), (status, error.to_owned(), number, text), "{form:?}");
    }
}

fn unmatched(what: &str, found: &str) -> String {
    format!(
        "No matching federated identity record found for presented assertion {what} '{found}'. Check your federated identity credential Subject, \
         Audience and Issuer against the presented assertion. https://learn.microsoft.com/entra/workload-id/workload-identity-federation"
    )
}

#[tokio::test]
async fn a_federated_token_must_match_byte_by_byte_and_be_signed_by_a_known_key() {
    let running = Running::start().await;
    let sign = |key: &str, issuer: &str, subject: &str, audience: &str| {
        let token = signer(key).token(issuer, subject, audience, Duration::from_secs(600)).unwrap();
        String::from_utf8(token.expose().to_vec()).unwrap()
    };
    let good = String::from_utf8(service_account_token().expose().to_vec()).unwrap();
    assert_eq!(exchange(&running, OWNER, &good).await.status, 200);
    let broken = good.replace('.', "-");
    let unsigned = good.rsplit_once('.').unwrap().0.to_owned() + ".";
    let wrong_case = "system:serviceaccount:Default:app";
    let malformed = "JWT token is invalid or malformed.";
    let signature = "Assertion failed signature validation. [Reason - The key was not found.]";
    for (client, assertion, status, error, number, text) in [
        (
            OWNER,
            sign("sa", "https://oidc.example.invalid", SUBJECT, AUDIENCE),
            401,
            "invalid_client",
            700_211,
            unmatched("issuer", "https://oidc.example.invalid"),
        ),
        (OWNER, sign("sa", ISSUER, wrong_case, AUDIENCE), 401, "invalid_client", 700_213, unmatched("subject", wrong_case)),
        (OWNER, sign("sa", ISSUER, SUBJECT, "api://other"), 401, "invalid_client", 700_212, unmatched("audience", "api://other")),
        (OWNER, sign("stranger", ISSUER, SUBJECT, AUDIENCE), 401, "invalid_client", 50013, signature.into()),
        (OWNER, unsigned, 401, "invalid_client", 50013, signature.into()),
        (OWNER, broken, 400, "invalid_request", 50027, malformed.into()),
        (OWNER, "not-a-token".into(), 400, "invalid_request", 50027, malformed.into()),
        (STRANGER, good, 401, "invalid_client", 70025, format!("The client '{STRANGER}' has no configured federated identity credentials.")),
    ] {
        let answer = exchange(&running, client, &assertion).await;
        assert_eq!(refusal(&answer), (status, error.to_owned(), number, text), "{number}");
    }
}

#[tokio::test]
async fn a_federated_token_outside_its_time_is_refused() {
    let running = Running::start().await;
    let expired = signer("sa").token(ISSUER, SUBJECT, AUDIENCE, Duration::ZERO).unwrap();
    let (status, error, number, text) = refusal(&exchange(&running, OWNER, std::str::from_utf8(expired.expose()).unwrap()).await);
    assert_eq!((status, error.as_str(), number), (401, "invalid_client", 700_024));
    assert!(text.starts_with("Client assertion is not within its valid time range. Current time: 20"), "{text}");
}

#[tokio::test]
async fn the_callers_correlation_id_comes_back() {
    let running = Running::start().await;
    let url = format!("{}/{TENANT}/oauth2/v2.0/token?client-request-id=from-query", running.addresses.authority);
    let from_query = read(running.http.post(&url).send().await.unwrap()).await;
    assert_eq!(from_query.json["correlation_id"], "from-query");
    let from_header = read(running.http.post(&url).header("client-request-id", "from-header").send().await.unwrap()).await;
    assert_eq!(from_header.json["correlation_id"], "from-header");
}

#[tokio::test]
async fn the_discovery_documents_name_the_token_endpoint() {
    let running = Running::start().await;
    let authority = &running.addresses.authority;
    let get = async |path: &str| read(running.http.get(format!("{authority}{path}")).send().await.unwrap()).await;
    let document = get(&format!("/{TENANT}/v2.0/.well-known/openid-configuration")).await.json;
    assert_eq!(document["token_endpoint"], format!("{authority}/{TENANT}/oauth2/v2.0/token"));
    assert_eq!(document["issuer"], format!("{authority}/{TENANT}/v2.0"));
    assert_eq!(document["authorization_endpoint"], format!("{authority}/{TENANT}/oauth2/v2.0/authorize"));
    // MSAL for JavaScript refuses a document without one.
    assert_eq!(document["jwks_uri"], format!("{authority}/{TENANT}/discovery/v2.0/keys"));
    assert_eq!(get(&format!("/{TENANT}/discovery/v2.0/keys")).await.json, json!({"keys": []}));
    assert_eq!(refusal(&get("/00000000-0000-0000-0000-000000000000/v2.0/.well-known/openid-configuration").await).2, 90002);
    let instances = get("/common/discovery/instance?api-version=1.1&authorization_endpoint=x").await.json;
    assert_eq!(instances["tenant_discovery_endpoint"], format!("{authority}/{TENANT}/v2.0/.well-known/openid-configuration"));
}

#[tokio::test]
async fn scopes_beside_the_resources_own_are_taken_as_msal_sends_them() {
    let running = Running::start().await;
    let form = |scope| [("grant_type", "client_credentials"), ("client_id", OWNER), ("client_secret", OWNER_SECRET), ("scope", scope)];
    for scope in ["openid profile offline_access https://vault.azure.net/.default", "https://vault.azure.net/.default email openid profile"] {
        let answer = running.ask_token(TENANT, &form(scope)).await;
        assert_eq!(answer.status, 200, "{scope}: {}", answer.json);
        assert_eq!(claims(&answer)["aud"], RESOURCE);
    }
    for scope in ["openid profile", "https://vault.azure.net/.default https://graph.microsoft.com/.default", "openid Vault"] {
        let words = format!(
            "The provided value for scope {scope} is not valid. Client credential flows must have a scope value with /.default suffixed to the \
             resource identifier (application ID URI)."
        );
        assert_eq!(refusal(&running.ask_token(TENANT, &form(scope)).await), (400, "invalid_scope".to_owned(), 1_002_012, words));
    }
    assert_eq!(running.ask_token(TENANT, &form("https://managedhsm.azure.net/.default")).await.status, 200);
}

fn claims(answer: &Answer) -> Value {
    base64_url(answer.json["access_token"].as_str().unwrap().split('.').nth(1).unwrap())
}

#[tokio::test]
async fn no_token_and_no_refusal_of_one_is_kept_by_a_cache() {
    let running = Running::start().await;
    let form = [("grant_type", "client_credentials"), ("client_id", OWNER), ("client_secret", OWNER_SECRET), ("scope", SCOPE)];
    for (answer, status) in [(running.ask_token(TENANT, &form).await, 200), (running.ask_token(TENANT, &form[..2]).await, 400)] {
        let headers = ["cache-control", "pragma", "expires"].map(|name| answer.headers[name].to_str().unwrap());
        assert_eq!((answer.status, headers), (status, ["no-store, no-cache", "no-cache", "-1"]));
    }
}

#[tokio::test]
async fn the_endpoints_of_version_1_take_a_resource_and_answer_in_strings() {
    let running = Running::start().await;
    let authority = &running.addresses.authority;
    let ask = async |form: &str| {
        let form = format!("grant_type=client_credentials&client_id={OWNER}&client_secret={OWNER_SECRET}{form}");
        read(running.http.post(format!("{authority}/{TENANT}/oauth2/token")).body(form).send().await.unwrap()).await
    };
    let answer = ask("&resource=https://vault.azure.net").await;
    let claims = claims(&answer);
    for (key, value) in [
        ("token_type", "Bearer"),
        ("expires_in", "3599"),
        ("ext_expires_in", "3599"),
        ("expires_on", &claims["exp"].to_string()),
        ("not_before", &claims["nbf"].to_string()),
        ("resource", RESOURCE),
    ] {
        assert_eq!(answer.json[key], value);
    }
    assert_eq!((answer.status, &claims["aud"]), (200, &json!(RESOURCE)));
    let words = "The request body must contain the following parameter: 'resource'.";
    assert_eq!(refusal(&ask("").await), (400, "invalid_request".to_owned(), 900_144, words.to_owned()));

    let document = read(running.http.get(format!("{authority}/{TENANT}/.well-known/openid-configuration")).send().await.unwrap()).await.json;
    assert_eq!(document["issuer"], format!("https://sts.windows.net/{TENANT}/"));
    assert_eq!(document["token_endpoint"], format!("{authority}/{TENANT}/oauth2/token"));
    assert_eq!(document["jwks_uri"], format!("{authority}/{TENANT}/discovery/keys"));
    let keys = read(running.http.get(format!("{authority}/{TENANT}/discovery/keys")).send().await.unwrap()).await.json;
    assert_eq!(keys, json!({"keys": []}));
}
