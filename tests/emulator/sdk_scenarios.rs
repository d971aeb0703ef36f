//! The official SDK, unmodified, does everything that it can do with secrets.

use std::collections::HashMap;

use azure_core::http::StatusCode;
use azure_security_keyvault_secrets::SecretClient;
use azure_security_keyvault_secrets::models::{
    Secret, SecretAttributes, SecretClientGetSecretOptions, SecretClientListSecretPropertiesOptions, SecretClientUpdateSecretPropertiesOptions,
    SetSecretParameters, UpdateSecretPropertiesParameters,
};
use futures::TryStreamExt;
use serde_json::json;

use crate::emulator::{OWNER, OWNER_SECRET, READER, Running, STRANGER, service_account_token};
use crate::sdk::{client_secret, secret_client, workload_identity};

async fn set(client: &SecretClient, name: &str, value: &str) -> Secret {
    let parameters = SetSecretParameters {
        value: Some(value.into()),
        content_type: Some("text/plain".into()),
        tags: Some(HashMap::from([("team".into(), "payments".into())])),
        ..Default::default()
    };
    client.set_secret(name, parameters.try_into().unwrap(), None).await.unwrap().into_model().unwrap()
}

async fn get(client: &SecretClient, name: &str, version: Option<&str>) -> azure_core::Result<Secret> {
    let options = SecretClientGetSecretOptions { secret_version: version.map(str::to_owned), ..Default::default() };
    client.get_secret(name, Some(options)).await?.into_model()
}

fn version(secret: &Secret) -> String {
    secret.id.as_ref().unwrap().rsplit('/').next().unwrap().to_owned()
}

async fn names(client: &SecretClient) -> Vec<String> {
    let options = SecretClientListSecretPropertiesOptions { maxresults: Some(2), ..Default::default() };
    let items: Vec<_> = client.list_secret_properties(Some(options)).unwrap().try_collect().await.unwrap();
    items.iter().map(|item| item.id.as_ref().unwrap().rsplit('/').next().unwrap().to_owned()).collect()
}

async fn whole_life(client: &SecretClient) {
    let first = version(&set(client, "fresh", "one").await);
    let second = version(&set(client, "fresh", "two").await);
    let latest = get(client, "fresh", None).await.unwrap();
    assert_eq!((latest.value.as_deref(), version(&latest)), (Some("two"), second));
    assert_eq!((latest.content_type.as_deref(), latest.tags.unwrap()["team"].as_str()), (Some("text/plain"), "payments"));
    assert_eq!(get(client, "fresh", Some(&first)).await.unwrap().value.as_deref(), Some("one"));

    assert_eq!(names(client).await, ["db-password", "fresh", "old-token", "Settings"]);
    let versions: Vec<_> = client.list_secret_properties_versions("fresh", None).unwrap().try_collect().await.unwrap();
    assert_eq!(versions.len(), 2);

    let attributes = SecretAttributes { enabled: Some(false), ..Default::default() };
    let update = UpdateSecretPropertiesParameters { secret_attributes: Some(attributes), ..Default::default() };
    let options = SecretClientUpdateSecretPropertiesOptions { secret_version: Some(first.clone()), ..Default::default() };
    let updated = client.update_secret_properties("fresh", update.try_into().unwrap(), Some(options)).await.unwrap().into_model().unwrap();
    assert_eq!((updated.value, updated.attributes.unwrap().enabled), (None, Some(false)));
    assert_eq!(status(get(client, "fresh", Some(&first)).await), Some(StatusCode::Forbidden));

    let deleted = client.delete_secret("fresh", None).await.unwrap().into_model().unwrap();
    assert!(deleted.recovery_id.unwrap().ends_with("/deletedsecrets/fresh"));
    assert_eq!(status(get(client, "fresh", None).await), Some(StatusCode::NotFound));
    client.recover_deleted_secret("fresh", None).await.unwrap();
    assert_eq!(get(client, "fresh", None).await.unwrap().value.as_deref(), Some("two"));
    client.delete_secret("fresh", None).await.unwrap();
    client.purge_deleted_secret("fresh", None).await.unwrap();
    let gone = client.get_deleted_secret("fresh", None).await;
    assert_eq!(gone.err().and_then(|error| error.http_status()), Some(StatusCode::NotFound));
}

fn status<T>(outcome: azure_core::Result<T>) -> Option<StatusCode> {
    outcome.err().and_then(|error| error.http_status())
}

#[tokio::test]
async fn a_secret_lives_its_whole_life_through_the_sdk() {
    let running = Running::start().await;
    let client = secret_client(&running, &running.addresses.vault, client_secret(&running, OWNER, OWNER_SECRET));
    whole_life(&client).await;
}

#[tokio::test]
async fn the_sdk_that_verifies_the_challenge_takes_the_emulator_for_azure() {
    let running = Running::start().await;
    let client = secret_client(&running, "https://demo.vault.azure.net", client_secret(&running, OWNER, OWNER_SECRET));
    whole_life(&client).await;
    let elsewhere = secret_client(&running, "https://other.vault.azure.net", client_secret(&running, OWNER, OWNER_SECRET));
    assert_eq!(status(get(&elsewhere, "db-password", None).await), Some(StatusCode::NotFound));
}

#[tokio::test]
async fn workload_identity_exchanges_a_service_account_token() {
    let running = Running::start().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file.as_file(), service_account_token().expose()).unwrap();
    let client = secret_client(&running, &running.addresses.vault, workload_identity(&running, OWNER, file.path()));
    assert_eq!(get(&client, "db-password", None).await.unwrap().value.as_deref(), Some("correct horse battery staple"));
}

#[tokio::test]
async fn the_sdk_distinguishes_the_refusals() {
    let running = Running::start().await;
    let reader = secret_client(&running, &running.addresses.vault, client_secret(&running, READER, "reader-secret"));
    let stranger = secret_client(&running, &running.addresses.vault, client_secret(&running, STRANGER, "denied-client-secret"));
    for (outcome, expected, text) in [
        (get(&reader, "nothing-there", None).await, StatusCode::NotFound, "SecretNotFound"),
        (get(&reader, "old-token", None).await, StatusCode::Forbidden, "Operation get is not allowed on a disabled secret."),
        (get(&stranger, "db-password", None).await, StatusCode::Forbidden, "Caller is not authorized to perform action on resource."),
    ] {
        let error = outcome.err().unwrap();
        assert_eq!(error.http_status(), Some(expected));
        assert!(format!("{error:?}").contains(text), "{error:?}");
    }
    let wrong = secret_client(&running, &running.addresses.vault, client_secret(&running, OWNER, "guess"));
    let error = get(&wrong, "db-password", None).await.err().unwrap();
    assert!(format!("{error:?}").contains("AADSTS7000215"), "{error:?}");
}

#[tokio::test]
async fn the_sdk_gets_through_a_short_throttling() {
    let running = Running::start().await;
    let client = secret_client(&running, &running.addresses.vault, client_secret(&running, OWNER, OWNER_SECRET));
    running.fault(json!({"plane": "vault", "kind": "throttle", "count": 2})).await;
    assert_eq!(get(&client, "db-password", None).await.unwrap().value.as_deref(), Some("correct horse battery staple"));
    assert_eq!(running.requests().await["counts"]["vault"], json!({"200": 1, "401": 1, "429": 2}));
}
