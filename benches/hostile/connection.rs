//! TLS connections to the replica, from any address of loopback.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The address of the replica, and the CA that signed its certificate.
#[derive(Clone)]
pub(crate) struct Target {
    address: SocketAddr,
    connector: TlsConnector,
}

/// One connection.
pub(crate) struct Connection(TlsStream<TcpStream>);

impl Target {
    pub(crate) fn new(address: &str, ca: &str) -> Target {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Target { address: address.parse().unwrap(), connector: TlsConnector::from(Arc::new(config)) }
    }

    /// Connects as one of many pods would.
    pub(crate) async fn connect(&self, from: Ipv4Addr) -> io::Result<Connection> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind((from, 0).into())?;
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST));
        Ok(Connection(self.connector.connect(name, stream).await?))
    }
}

impl Connection {
    /// Sends a review and waits for the answer: its status and its body.
    pub(crate) async fn ask(&mut self, body: &[u8]) -> io::Result<(u16, Vec<u8>)> {
        self.begin(body.len(), body).await?;
        self.answer().await
    }

    /// Sends the head of a review of `length` bytes, and what there is of its body.
    pub(crate) async fn begin(&mut self, length: usize, body: &[u8]) -> io::Result<()> {
        let head =
            format!("POST /mutate?timeout=5s HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
        self.0.write_all(&[head.as_bytes(), body].concat()).await?;
        self.0.flush().await
    }

    async fn answer(&mut self) -> io::Result<(u16, Vec<u8>)> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await?;
        Ok((status, body))
    }

    /// Waits until the server hangs up.
    pub(crate) async fn is_hung_up_on(&mut self) {
        // An answer, an end and an error are all the same here.
        while self.0.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
    }
}
