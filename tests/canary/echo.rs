//! A server behind trusted TLS that repeats what it is sent, in words of its own.

use std::sync::Arc;

use keyvault_client::Class;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// No web token, so that nothing but the request tells what it is.
const TOKEN: &str = "canary-access-token.0123456789_abcdefghijklmnopqrstuvwxyz-0123456789";

pub(crate) struct Echo {
    pub(crate) port: u16,
    pub(crate) ca: String,
}

impl Echo {
    /// Repeats the form of a sign-in, if `class` is that of a refused sign-in; else gives a token, and repeats it when it is shown.
    pub(crate) async fn start(class: Class) -> Echo {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "echo.vault.localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let builder = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let acceptor = TlsAcceptor::from(Arc::new(builder.with_single_cert(vec![made.cert.der().clone()], key).unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(acceptor.clone(), stream, class));
            }
        });
        Echo { port, ca: made.cert.pem() }
    }
}

/// One request for each connection.
async fn answer(acceptor: TlsAcceptor, stream: TcpStream, class: Class) {
    let mut stream = acceptor.accept(stream).await.unwrap();
    let mut request = Vec::new();
    let (head, body) = loop {
        assert!(stream.read_buf(&mut request).await.unwrap() > 0, "the request breaks off");
        let text = String::from_utf8(request.clone()).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length: usize =
            head.to_ascii_lowercase().split("content-length: ").nth(1).map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
        if body.len() == length {
            break (head.to_owned(), body.to_owned());
        }
    };
    let decoded = || form_urlencoded::parse(body.as_bytes()).map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join(" ");
    let (status, answer) = match (head.starts_with("POST "), class) {
        (true, Class::Auth) => {
            let credential = body.rsplit('=').next().unwrap();
            // From the middle on, too, where it does not begin as a web token does; and broken in two by what nobody sees.
            let half = &credential[credential.len() / 2..];
            let hidden = format!("{}\u{200b}\u{202e}{}", &half[..9], &half[9..]);
            (401, json!({"error": "invalid_client", "error_description": format!("AADSTS0: {half} {hidden} {} {body}", decoded())}))
        }
        (true, _) => (200, json!({"access_token": TOKEN})),
        (false, _) => {
            let shown = head.lines().find(|line| line.to_ascii_lowercase().starts_with("authorization: ")).unwrap();
            let half = &TOKEN[TOKEN.len() / 2..];
            (403, json!({"error": {"code": TOKEN, "message": format!("you sent {half} {shown}"), "innererror": {"code": format!("x {shown}")}}}))
        }
    };
    let answer = answer.to_string();
    let text = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}", answer.len());
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
}
