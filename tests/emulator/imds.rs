//! The managed-identity endpoint.

use serde_json::json;

use crate::emulator::{CONFIG, Running};

const TOKEN: &str = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net";
const METADATA: &[(&str, &str)] = &[("Metadata", "true")];
const SYSTEM: &str = "33333333-3333-3333-3333-333333333333";
const USER: &str = "77777777-7777-7777-7777-777777777777";

#[tokio::test]
async fn a_managed_identity_reads_a_secret() {
    let running = Running::start().await;
    let answer = running.imds(TOKEN, METADATA).await.json;
    let token = answer["access_token"].as_str().unwrap();
    let secret = running.get("/secrets/db-password?api-version=7.4", token).await;
    assert_eq!(secret.json["value"], "correct horse battery staple");
}

#[tokio::test]
async fn every_number_is_a_string() {
    let running = Running::start().await;
    let answer = running.imds(TOKEN, METADATA).await.json;
    for (key, value) in [
        ("client_id", SYSTEM),
        ("expires_in", "86399"),
        ("ext_expires_in", "86399"),
        ("resource", "https://vault.azure.net"),
        ("token_type", "Bearer"),
    ] {
        assert_eq!(answer[key], value);
    }
    let [from, until] = ["not_before", "expires_on"].map(|key| answer[key].as_str().unwrap().parse::<u64>().unwrap());
    assert_eq!(until - from, 86_399);
}

#[tokio::test]
async fn the_identity_is_chosen_by_any_of_its_ids_and_slashes_too_many_do_not_matter() {
    let running = Running::start().await;
    for (selector, client_id) in [
        ("", SYSTEM),
        ("&client_id=77777777-7777-7777-7777-777777777777", USER),
        ("&object_id=44444444-4444-4444-4444-444444444444", SYSTEM),
        ("&msi_res_id=/subscriptions/s/APP", SYSTEM),
        ("&mi_res_id=/subscriptions/s/app", SYSTEM),
    ] {
        for path in [TOKEN.to_owned(), TOKEN.replace("token?", "token/?"), format!("/{TOKEN}")] {
            let answer = running.imds(&format!("{path}{selector}"), METADATA).await;
            assert_eq!((answer.status, &answer.json["client_id"]), (200, &json!(client_id)), "{path}{selector}");
        }
    }
}

#[tokio::test]
async fn a_bad_request_has_its_own_words() {
    let running = Running::start().await;
    let no_resource = "/metadata/identity/oauth2/token?api-version=2018-02-01";
    let foreign =
        "AADSTS500011: The resource principal named https://x.example was not found in the tenant named aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee.";
    for (path, headers, status, error, description) in [
        (TOKEN, &[][..], 400, "invalid_request", "Required metadata header not specified"),
        (TOKEN, &[("Metadata", "false")][..], 400, "invalid_request", "Required metadata header not specified"),
        (
            TOKEN,
            &[("Metadata", "true"), ("X-Forwarded-For", "1.2.3.4")][..],
            400,
            "invalid_request",
            "Requests with an X-Forwarded-For header are not served",
        ),
        (no_resource, METADATA, 400, "invalid_request", "Required query variable 'resource' is missing"),
        ("/metadata/identity/oauth2/token?resource=x", METADATA, 400, "invalid_request", "api-version was not specified in the request"),
        (&format!("{TOKEN}&client_id=0"), METADATA, 400, "invalid_request", "Identity not found"),
        (&format!("{no_resource}&resource=https://x.example"), METADATA, 400, "invalid_resource", foreign),
        ("/metadata/instance?api-version=2018-02-01", METADATA, 404, "not_found", "The requested path does not exist"),
    ] {
        let answer = running.imds(path, headers).await;
        assert_eq!((answer.status, answer.json), (status, json!({"error": error, "error_description": description})), "{path}");
    }
}

#[tokio::test]
async fn without_a_system_assigned_identity_the_only_one_is_taken_and_two_are_ambiguous() {
    let two = CONFIG.replace(", systemAssigned: true", "");
    let answer = Running::with(&two).await.imds(TOKEN, METADATA).await;
    let text = "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request";
    assert_eq!((answer.status, &answer.json["error_description"]), (400, &json!(text)));
    let one = two.replace("- {clientId: 77777777-7777-7777-7777-777777777777}\n", "");
    assert_eq!(Running::with(&one).await.imds(TOKEN, METADATA).await.json["client_id"], SYSTEM);
}

#[tokio::test]
async fn the_endpoint_of_app_service_wants_its_own_header_and_version() {
    let running = Running::start().await;
    let path = "/msi/token?api-version=2019-08-01&resource=https://vault.azure.net";
    let secret: &[(&str, &str)] = &[("X-IDENTITY-HEADER", "anything")];
    let answer = running.imds(&format!("{path}&client_id={USER}"), secret).await;
    assert_eq!((answer.status, &answer.json["client_id"], &answer.json["resource"]), (200, &json!(USER), &json!("https://vault.azure.net")));
    assert!(answer.json["expires_on"].as_str().unwrap().parse::<u64>().is_ok(), "{}", answer.json);
    for (headers, path, description) in [
        (METADATA, path, "Required X-IDENTITY-HEADER header not specified"),
        (secret, "/msi/token?resource=x", "api-version was not specified in the request"),
    ] {
        let answer = running.imds(path, headers).await;
        assert_eq!((answer.status, answer.json), (400, json!({"error": "invalid_request", "error_description": description})));
    }
}
