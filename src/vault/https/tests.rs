use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

fn network() -> HttpsNetwork {
    HttpsNetwork::new(None, &ProxyVariables::default(), &Resolver::new("/nonexistent/resolv.conf")).unwrap()
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
    network().send(Request { url: format!("http://{address}/x"), kind: Kind::Metadata }).await
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
async fn a_connection_that_breaks_before_the_answer_is_told_from_one_that_was_never_made() {
    let address = answering(b"").await;
    let TransportError::Broken { authority, reason } = get(address).await.unwrap_err() else { panic!() };
    assert_eq!((authority, reason.as_str()), (address.to_string(), "connection closed before message completed"));
    let TransportError::Connect { reason, .. } = get(address).await.unwrap_err() else { panic!() };
    assert_eq!(reason, "Connection refused (os error 111)");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_shakes_hands_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let error = network().send(Request { url: format!("https://{authority}/x"), kind: Kind::Metadata }).await.unwrap_err();
    assert_eq!(error, TransportError::Timeout { authority, limit: CONNECT_LIMIT });
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let error = network().send(Request { url: format!("http://{authority}/x"), kind: Kind::Metadata }).await.unwrap_err();
    assert_eq!(error, TransportError::Timeout { authority, limit: REQUEST_LIMIT });
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_a_tls_problem() {
    let authority = answering(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.to_string();
    let error = network().send(Request { url: format!("https://{authority}/x"), kind: Kind::Metadata }).await.unwrap_err();
    assert_eq!(error, TransportError::Tls { authority, reason: "received corrupt message of type InvalidContentType".to_owned() });
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
        let error = HttpsNetwork::new(Some(pem), &ProxyVariables::default(), &Resolver::new("/nonexistent")).err().unwrap();
        assert_eq!(error.to_string(), expected);
    }
}
