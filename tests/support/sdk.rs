//! The official SDK, unmodified, with a transport that trusts the emulator.
#![allow(dead_code)] // each test program uses its own part

use std::path::Path;
use std::sync::Arc;

use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use azure_core::credentials::{Secret, TokenCredential};
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, Body, ClientOptions, ExponentialRetryOptions, HttpClient, Request, RetryOptions, Transport};
use azure_identity::{ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions};
use azure_identity::{WorkloadIdentityCredential, WorkloadIdentityCredentialOptions};
use azure_security_keyvault_secrets::{SecretClient, SecretClientOptions};

use crate::emulator::{Running, TENANT};

#[derive(Debug)]
struct ReqwestTransport(reqwest::Client);

#[async_trait::async_trait]
impl HttpClient for ReqwestTransport {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let failed = |error| azure_core::Error::with_error(azure_core::error::ErrorKind::Io, error, "request failed");
        let mut call = self.0.request(request.method().as_ref().parse().unwrap(), request.url().clone());
        for (name, value) in request.headers().iter() {
            call = call.header(name.as_str(), value.as_str());
        }
        if let Body::Bytes(bytes) = request.body() {
            call = call.body(bytes.clone());
        }
        let response = call.send().await.map_err(failed)?;
        let mut headers = Headers::new();
        for (name, value) in response.headers() {
            headers.insert(name.as_str().to_owned(), value.to_str().unwrap().to_owned());
        }
        let status = response.status().as_u16().into();
        Ok(AsyncRawResponse::from_bytes(status, headers, response.bytes().await.map_err(failed)?))
    }
}

/// Three quick retries; the authority is the emulator.
pub(crate) fn client_options(running: &Running) -> ClientOptions {
    let mut cloud = CustomConfiguration::default();
    cloud.authority_host = running.addresses.authority.clone();
    let retry = ExponentialRetryOptions {
        initial_delay: azure_core::time::Duration::milliseconds(1),
        max_retries: 3,
        max_total_elapsed: azure_core::time::Duration::seconds(5),
        ..Default::default()
    };
    ClientOptions {
        transport: Some(Transport::new(Arc::new(ReqwestTransport(running.http.clone())))),
        cloud: Some(Arc::new(CloudConfiguration::Custom(cloud))),
        retry: RetryOptions::exponential(retry),
        ..Default::default()
    }
}

pub(crate) fn client_secret(running: &Running, client_id: &str, secret: &str) -> Arc<ClientSecretCredential> {
    let options = ClientSecretCredentialOptions { client_options: client_options(running) };
    ClientSecretCredential::new(TENANT, client_id.to_owned(), Secret::new(secret.to_owned()), Some(options)).unwrap()
}

pub(crate) fn workload_identity(running: &Running, client_id: &str, token_file: &Path) -> Arc<WorkloadIdentityCredential> {
    let options = WorkloadIdentityCredentialOptions {
        credential_options: ClientAssertionCredentialOptions { client_options: client_options(running) },
        client_id: Some(client_id.to_owned()),
        tenant_id: Some(TENANT.to_owned()),
        token_file_path: Some(token_file.to_owned()),
    };
    WorkloadIdentityCredential::new(Some(options)).unwrap()
}

/// A client of the vault at `url`, which checks the challenge's resource only where the URL is an Azure one.
pub(crate) fn secret_client(running: &Running, url: &str, credential: Arc<dyn TokenCredential>) -> SecretClient {
    let verify_challenge_resource = Some(url.ends_with(".vault.azure.net"));
    let options = SecretClientOptions { client_options: client_options(running), verify_challenge_resource, ..Default::default() };
    SecretClient::new(url, credential, Some(options)).unwrap()
}
