//! What the agent is measured against: the same calls by hyper and rustls alone, no retries, no checks, nothing written.
//!
//! `bare-client TOKEN_URL FORM CA_FILE URL…`: posts the form, then gets all URLs at once.

use std::error::Error;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tower_service::Service;

type BoxError = Box<dyn Error + Send + Sync>;
type Https = Client<HttpsConnector<HttpConnector<Loopback>>, Full<Bytes>>;

/// Every name is this machine.
#[derive(Clone)]
struct Loopback;

impl Service<Name> for Loopback {
    type Response = std::iter::Once<SocketAddr>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        Box::pin(async { Ok(std::iter::once(SocketAddr::from(([127, 0, 0, 1], 0)))) })
    }
}

fn client(ca_file: &str) -> Result<Https, BoxError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    roots.add(CertificateDer::from_pem_file(ca_file)?)?;
    let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut http = HttpConnector::new_with_resolver(Loopback);
    http.enforce_http(false);
    Ok(Client::builder(TokioExecutor::new()).build(HttpsConnector::from((http, tls))))
}

async fn call(client: &Https, request: Request<Full<Bytes>>) -> Result<serde_json::Value, BoxError> {
    let response = client.request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    if status.is_success() { Ok(serde_json::from_slice(&body)?) } else { Err(format!("{status}").into()) }
}

async fn run(arguments: &[String]) -> Result<(), BoxError> {
    let [token_url, form, ca_file, urls @ ..] = arguments else { return Err("TOKEN_URL FORM CA_FILE URL…".into()) };
    let client = client(ca_file)?;
    let post = Request::post(token_url).header("content-type", "application/x-www-form-urlencoded").body(Full::from(form.clone()))?;
    let token = call(&client, post).await?["access_token"].as_str().ok_or("no token")?.to_owned();
    let gets = urls.iter().map(async |url| {
        let get = Request::get(url).header("authorization", format!("Bearer {token}")).body(Full::default())?;
        call(&client, get).await?["value"].as_str().map(drop).ok_or_else(|| BoxError::from("no value"))
    });
    futures::future::try_join_all(gets).await?;
    Ok(())
}

fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(&arguments))
}
