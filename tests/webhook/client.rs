//! A client that says exactly which bytes go out when, and sees what comes back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ConfigBuilder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::common::Signed;

const PATIENCE: Duration = Duration::from_secs(20);

/// One TLS connection.
pub(crate) struct Client(pub(crate) TlsStream<TcpStream>);

/// One HTTP answer.
pub(crate) struct Answered {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answered {
    pub(crate) fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    pub(crate) fn retry_after(&self) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix("retry-after: "))
    }

    pub(crate) fn closes(&self) -> bool {
        self.head.to_ascii_lowercase().contains("connection: close\r\n")
    }
}

/// Trusts `ca` alone and offers `alpn`.
pub(crate) fn connector(ca: &str, alpn: &[&str]) -> TlsConnector {
    let mut config = trusting(ca).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

/// Trusts `ca` alone and presents a certificate if there is one.
pub(crate) fn presenting(ca: &str, identity: Option<&Signed>) -> TlsConnector {
    let config = match identity {
        Some(identity) => {
            let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
            trusting(ca).with_client_auth_cert(vec![certificate], PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap()).unwrap()
        }
        None => trusting(ca).with_no_client_auth(),
    };
    TlsConnector::from(Arc::new(config))
}

fn trusting(ca: &str) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap().with_root_certificates(roots)
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr, ca: &str) -> std::io::Result<Client> {
        Client::connect_by(address, &connector(ca, &["h2", "http/1.1"])).await
    }

    pub(crate) async fn connect_by(address: SocketAddr, connector: &TlsConnector) -> std::io::Result<Client> {
        Client::over(TcpStream::connect(address).await?, connector).await
    }

    pub(crate) async fn over(stream: TcpStream, connector: &TlsConnector) -> std::io::Result<Client> {
        Ok(Client(connector.connect(ServerName::try_from("localhost").unwrap(), stream).await?))
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
        self.0.flush().await.unwrap();
    }

    pub(crate) async fn post(&mut self, body: &[u8]) -> Answered {
        self.begin(body).await;
        self.answer().await.expect("an answer")
    }

    pub(crate) async fn begin(&mut self, body: &[u8]) {
        let length = body.len();
        let head =
            format!("POST /mutate?timeout=5s HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
        self.send(&[head.as_bytes(), body].concat()).await;
    }

    /// The next answer; `None` where the server hangs up first.
    pub(crate) async fn answer(&mut self) -> Option<Answered> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(PATIENCE, self.0.read_u8()).await.expect("the server answers or hangs up").ok()?);
        }
        let head = String::from_utf8(head).unwrap();
        let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.unwrap();
        Some(Answered { head, body })
    }

    /// Waits until the server hangs up.
    pub(crate) async fn is_hung_up_on(&mut self) {
        assert!(self.answer().await.is_none(), "the server answered what was not asked");
    }
}
