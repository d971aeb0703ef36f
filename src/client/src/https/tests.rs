use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

fn network() -> HttpsNetwork {
    HttpsNetwork::new(None, None, &ProxyVariables::default(), &Resolver::new("/nonexistent/resolv.conf")).unwrap()
}

/// A server that answers its first connection with `answer` and closes it.
async fn answering(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        stream.write_all(answer).await.unwrap();
    });
    address
}

async fn get(address: SocketAddr) -> Result<Response, TransportError> {
    ask(format!("http://{address}/x")).await
}

async fn ask(url: String) -> Result<Response, TransportError> {
    network().send(Request { url, kind: Kind::Metadata, deadline: Instant::now() + Duration::from_secs(60) }).await
}

#[tokio::test]
async fn an_answer_comes_with_status_headers_and_body() {
    let address = answering(b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\nno").await;
    let response = get(address).await.unwrap();
    assert_eq!((response.status, response.body.expose(), response.cut.as_deref()), (429, &b"no"[..], None));
    assert_eq!(response.headers["retry-after"], "7");
}

#[tokio::test]
async fn a_body_that_breaks_off_comes_as_far_as_it_came() {
    let response = get(answering(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\n{\"err").await).await.unwrap();
    assert_eq!((response.status, response.body.expose()), (403, &b"{\"err"[..]));
    assert_eq!(response.cut.as_deref(), Some("end of file before message length reached"));
}

#[tokio::test]
async fn an_endless_body_is_cut() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        while stream.write_all(&[b'x'; 8192]).await.is_ok() {}
    });
    let response = get(address).await.unwrap();
    assert!(response.body.len() <= LONGEST_BODY);
    assert_eq!(response.cut.as_deref(), Some("it is longer than 1048576 bytes"));
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_answer_is_distinguished_from_one_that_was_never_made() {
    let address = answering(b"").await;
    let TransportError::Broken { server, reason } = get(address).await.unwrap_err() else { panic!() };
    assert_eq!((server.to_string(), reason.as_str()), (address.to_string(), "connection closed before message completed"));
    let TransportError::Connect { reason, .. } = get(address).await.unwrap_err() else { panic!() };
    assert_eq!(reason, "Connection refused (os error 111)");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_shakes_hands_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let error = ask(format!("https://{authority}/x")).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{authority} did not answer within 10s"));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let error = ask(format!("http://{authority}/x")).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{authority} did not answer within 20s"));
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_a_tls_problem() {
    let authority = answering(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.to_string();
    let error = ask(format!("https://{authority}/x")).await.unwrap_err();
    assert_eq!(error.to_string(), format!("no secure connection to {authority}: received corrupt message of type InvalidContentType"));
}

#[tokio::test]
async fn an_extra_ca_must_be_a_certificate() {
    for (pem, expected) in [
        ("", "the plan's extraCa is not a list of PEM certificates: it holds none"),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "the plan's extraCa is not a list of PEM certificates: invalid peer certificate: BadEncoding",
        ),
    ] {
        let error = HttpsNetwork::new(Some(pem), None, &ProxyVariables::default(), &Resolver::new("/nonexistent")).err().unwrap();
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn the_address_behind_a_name_is_reported_whatever_became_of_the_request() {
    let port = answering(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await.port();
    let found = ask(format!("http://demo.vault.localhost:{port}/x")).await.unwrap();
    assert_eq!(found.server.to_string(), format!("demo.vault.localhost:{port} (127.0.0.1)"));

    let refused = ask(format!("http://demo.vault.localhost:{port}/x")).await.unwrap_err().to_string();
    assert_eq!(refused, format!("no connection to demo.vault.localhost:{port} (127.0.0.1, ::1): Connection refused (os error 111)"));

    let port = answering(b"").await.port();
    let broken = ask(format!("http://localhost:{port}/x")).await.unwrap_err().to_string();
    assert_eq!(broken, format!("the connection to localhost:{port} (127.0.0.1) broke: connection closed before message completed"));

    let port = answering(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.port();
    let insecure = ask(format!("https://localhost:{port}/x")).await.unwrap_err().to_string();
    assert!(insecure.starts_with(&format!("no secure connection to localhost:{port} (127.0.0.1): ")), "{insecure}");
}

#[tokio::test(start_paused = true)]
async fn the_address_is_reported_of_a_server_that_hangs_and_nobody_waits_past_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let start = Instant::now();
    let request = Request { url: format!("http://localhost:{port}/x"), kind: Kind::Metadata, deadline: start + Duration::from_secs(5) };
    let error = network().send(request).await.unwrap_err().to_string();
    assert_eq!(error, format!("localhost:{port} (127.0.0.1) did not answer within 5s"));
    assert_eq!(start.elapsed().as_secs(), 5);
    let shaking = ask(format!("https://localhost:{port}/x")).await.unwrap_err().to_string();
    assert_eq!(shaking, format!("localhost:{port} (127.0.0.1) did not answer within 10s"));
}

#[tokio::test]
async fn a_token_proxy_needs_a_ca_and_a_name() {
    let ca = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem();
    for (ca, sni_name, expected) in [
        ("", "p", "the plan's tokenProxy.ca is not a list of PEM certificates: it holds none"),
        (ca.as_str(), "no name", "the plan's tokenProxy.sniName \"no name\" is not the name of a server"),
    ] {
        let proxy = TokenProxy { url: "https://p".to_owned(), sni_name: sni_name.to_owned(), ca: ca.to_owned() };
        let error = HttpsNetwork::new(None, Some(&proxy), &ProxyVariables::default(), &Resolver::new("/nonexistent")).err().unwrap();
        assert_eq!(error.to_string(), expected);
    }
}
