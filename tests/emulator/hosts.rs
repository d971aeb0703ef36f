//! The name and the port that a client uses: which vault they mean, and which addresses the answers carry.

use std::net::SocketAddr;

use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use crate::emulator::{Answer, OWNER, OWNER_SECRET, Running, TENANT, read, trusting};

const SECRET: &str = "/secrets/db-password?api-version=7.4";

/// A port map: another port that leads to `target` as long as the test runs.
async fn relay(target: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = TcpStream::connect(target).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    address
}

/// A GET that names `host`.
async fn get_as(running: &Running, host: &str, path: &str) -> Answer {
    read(running.http.get(format!("{}{path}", running.addresses.vault)).header("host", host).send().await.unwrap()).await
}

fn challenge(answer: &Answer) -> &str {
    answer.headers["www-authenticate"].to_str().unwrap().strip_prefix("Bearer authorization=\"").unwrap().split('"').next().unwrap()
}

#[tokio::test]
async fn behind_a_port_map_every_address_is_the_one_that_the_client_used() {
    let running = Running::start().await;
    let relay = relay(running.socket).await;
    let http = trusting(&running.ca_pem, relay).build().unwrap();
    let base = format!("https://localhost:{}", relay.port());
    let get = async |path: &str| read(http.get(format!("{base}{path}")).send().await.unwrap()).await;

    let document = get(&format!("/{TENANT}/v2.0/.well-known/openid-configuration")).await.json;
    assert_eq!(
        (&document["token_endpoint"], &document["issuer"]),
        (&json!(format!("{base}/{TENANT}/oauth2/v2.0/token")), &json!(format!("{base}/{TENANT}/v2.0")))
    );
    let instances = get("/common/discovery/instance?api-version=1.1").await.json;
    assert_eq!(instances["tenant_discovery_endpoint"], format!("{base}/{TENANT}/v2.0/.well-known/openid-configuration"));
    assert_eq!(challenge(&get(SECRET).await), format!("{base}/{TENANT}"));

    let form = format!("grant_type=client_credentials&client_id={OWNER}&client_secret={OWNER_SECRET}&scope=https://vault.azure.net/.default");
    let token = read(http.post(document["token_endpoint"].as_str().unwrap()).body(form).send().await.unwrap()).await.json;
    let token = token["access_token"].as_str().unwrap();
    let secret = read(http.get(format!("{base}{SECRET}")).header("authorization", format!("Bearer {token}")).send().await.unwrap()).await.json;
    assert_eq!(secret["value"], "correct horse battery staple");
    assert!(secret["id"].as_str().unwrap().starts_with(&format!("{base}/secrets/db-password/")), "{secret}");
    assert_eq!(running.get(SECRET, token).await.status, 200, "the token is the same on every way in");
}

#[tokio::test]
async fn the_authority_follows_from_the_host_and_keeps_its_port() {
    let running = Running::start().await;
    for (host, authority) in [
        ("demo.vault.azure.net", "https://login.microsoftonline.com"),
        ("demo.vault.azure.net:9999", "https://login.microsoftonline.com:9999"),
        ("DEMO.vault.azure.cn", "https://login.chinacloudapi.cn"),
        ("demo.vault.usgovcloudapi.net", "https://login.microsoftonline.us"),
        ("demo.vault.localhost:8443", "https://localhost:8443"),
        ("demo.testing.svc:8443", "https://demo.testing.svc:8443"),
        ("emulator:8443", "https://emulator:8443"),
        ("127.0.0.1:7", "https://127.0.0.1:7"),
        ("[::1]:7", "https://[::1]:7"),
        ("[::1]", "https://[::1]"),
        ("localhost", "https://localhost"),
    ] {
        assert_eq!(challenge(&get_as(&running, host, SECRET).await), format!("{authority}/{TENANT}"), "{host}");
    }
    let document = get_as(&running, "login.microsoftonline.com", &format!("/{TENANT}/v2.0/.well-known/openid-configuration")).await.json;
    assert_eq!(document["token_endpoint"], format!("https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token"));
    let question = format!("/common/discovery/instance?api-version=1.1&authorization_endpoint=https://localhost:8443/{TENANT}/oauth2/v2.0/authorize");
    let instances = get_as(&running, "login.microsoftonline.com", &question).await.json;
    assert_eq!(instances["tenant_discovery_endpoint"], format!("https://localhost:8443/{TENANT}/v2.0/.well-known/openid-configuration"));
    assert_eq!(instances["metadata"][0]["aliases"], json!(["localhost:8443"]));
}

#[tokio::test]
async fn a_vault_that_is_not_there_is_not_answered_by_another_one() {
    let running = Running::start().await;
    for (host, name) in [
        ("unknown.vault.azure.net", "unknown"),
        ("unknown.vault.localhost:8443", "unknown"),
        ("login.microsoftonline.com", "login"),
        ("emulator.testing.svc", "emulator"),
    ] {
        let answer = get_as(&running, host, SECRET).await;
        let message = format!("There is no vault {name} here. The first label of the host names the vault: demo, other, closed, slow.");
        assert_eq!((answer.status, answer.json), (404, json!({"error": {"code": "VaultNotFound", "message": message}})), "{host}");
    }
    assert_eq!(running.requests().await["counts"]["vault"]["404"], 4);
}

#[tokio::test]
async fn the_certificate_is_good_for_every_name_that_a_client_uses() {
    let running = Running::start().await;
    for name in ["emulator", "demo.testing.svc.cluster.local", "login.microsoftonline.com", "other.vault.localhost"] {
        let http = trusting(&running.ca_pem, running.socket).resolve(name, running.socket).build().unwrap();
        let answer = http.get(format!("https://{name}:{}/_emulator/health", running.socket.port())).send().await;
        assert_eq!(answer.unwrap_or_else(|error| panic!("{name}: {error:?}")).status(), 200, "{name}");
    }
}

#[tokio::test]
async fn health_and_ca_are_there_without_tls_and_without_a_token() {
    let running = Running::start().await;
    for base in [&running.addresses.vault, running.plain()] {
        let health = running.http.get(format!("{base}/_emulator/health")).send().await.unwrap();
        assert_eq!((health.status().as_u16(), health.text().await.unwrap()), (200, "ok\n".to_owned()));
        let ca = running.http.get(format!("{base}/_emulator/ca.pem")).send().await.unwrap();
        assert_eq!(ca.headers()["content-type"], "application/x-pem-file");
        assert_eq!((ca.status().as_u16(), ca.text().await.unwrap()), (200, running.ca_pem.clone()));
    }
    assert_eq!(running.requests().await["requests"], json!([]), "probes are no requests of a service");
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_in_words() {
    let running = Running::start().await;
    let owner = running.owner().await;
    let long = json!({ "value": "x".repeat(3_000_000) });
    let answer = running.call("PUT", "demo", "/secrets/a?api-version=7.4", &owner, Some(long.clone())).await;
    let message = "The request body is longer than 1048576 bytes.";
    assert_eq!((answer.status, answer.json), (413, json!({"error": {"code": "RequestBodyTooLarge", "message": message}})));
    assert_eq!(running.call("PUT", "demo", "/secrets/a?api-version=7.4", "", Some(long.clone())).await.status, 401);
    assert_eq!(running.ask_token(TENANT, &[("client_secret", &"x".repeat(3_000_000))]).await.status, 413);
    let fault = running.ask_fault(long).await;
    assert_eq!((fault.status, fault.json), (413, json!({"error": "the body is longer than 1048576 bytes"})));
}
