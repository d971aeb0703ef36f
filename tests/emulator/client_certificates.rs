//! Applications that sign in with a certificate: RS256 and PS256, by SHA-1 and SHA-256, and every refusal.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};

use crate::emulator::{Answer, CONFIG, FIXTURES, OWNER, RESOURCE, Running, STRANGER, TENANT};

/// A key and a certificate out of one file.
struct Pair {
    key: RsaKeyPair,
    certificate: Vec<u8>,
}

fn pair(name: &str) -> Pair {
    let pem = std::fs::read(format!("{FIXTURES}/pfx/{name}.expected.pem")).unwrap();
    let key = PrivatePkcs8KeyDer::from_pem_slice(&pem).unwrap();
    let certificate = CertificateDer::from_pem_slice(&pem).unwrap().to_vec();
    Pair { key: RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap(), certificate }
}

impl Pair {
    fn sha1(&self) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &self.certificate);
        BASE64_URL_SAFE_NO_PAD.encode(digest)
    }

    fn sha256(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, &self.certificate))
    }

    fn assertion(&self, header: &Value, claims: &Value) -> String {
        let signed = [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let padding: &dyn ring::signature::RsaEncoding = if header["alg"] == "PS256" { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key.sign(padding, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}

async fn start() -> Running {
    let files = "secrets: [lab-client-secret]\n    certificateFiles: [pfx/kv-rsa-selfsigned.expected.pem]";
    Running::with(&CONFIG.replace("secrets: [lab-client-secret]", files)).await
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

fn claims(running: &Running) -> Value {
    let audience = format!("{}/{TENANT}/oauth2/v2.0/token", running.addresses.authority);
    json!({"aud": audience, "iss": OWNER, "sub": OWNER, "exp": now() + 600, "nbf": now(), "jti": "1"})
}

async fn ask(running: &Running, client_id: &str, assertion: &str) -> Answer {
    let scope = format!("{RESOURCE}/.default");
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", client_id),
        ("client_assertion_type", kind),
        ("client_assertion", assertion),
        ("scope", &scope),
    ];
    running.ask_token(TENANT, &form).await
}

#[tokio::test]
async fn a_registered_certificate_signs_in_with_either_padding_and_either_thumbprint() {
    let running = start().await;
    let pair = pair("kv-rsa-selfsigned");
    for header in [
        json!({"alg": "RS256", "typ": "JWT", "x5t": pair.sha1()}),
        json!({"alg": "PS256", "typ": "JWT", "x5t#S256": pair.sha256()}),
        json!({"alg": "PS256", "x5t": pair.sha1() + "=", "x5t#S256": pair.sha256()}),
    ] {
        let answer = ask(&running, OWNER, &pair.assertion(&header, &claims(&running))).await;
        assert_eq!(answer.status, 200, "{header}: {}", answer.json);
        let token = answer.json["access_token"].as_str().unwrap();
        assert_eq!(running.get("/secrets/db-password?api-version=7.4", token).await.status, 200);
    }
    let mut fractions = claims(&running);
    fractions["exp"] = json!(f64::from(u32::try_from(now()).unwrap()) + 600.25);
    let header = json!({"alg": "RS256", "x5t": pair.sha1()});
    assert_eq!(ask(&running, OWNER, &pair.assertion(&header, &fractions)).await.status, 200, "times with fractions");
}

#[tokio::test]
async fn every_fault_of_an_assertion_has_its_number() {
    let running = start().await;
    let (own, other) = (pair("kv-rsa-selfsigned"), pair("kv-rsa-chain3"));
    let header = json!({"alg": "RS256", "x5t": own.sha1()});
    let good = claims(&running);
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        own.assertion(&header, &claims)
    };
    let unknown = "The certificate with identifier used to sign the client assertion is not registered on application.";
    for (client_id, assertion, number, text) in [
        (OWNER, other.assertion(&json!({"alg": "RS256", "x5t": other.sha1()}), &good), 700_027, unknown),
        (OWNER, other.assertion(&header, &good), 700_027, "Client assertion contains an invalid signature."),
        (OWNER, own.assertion(&json!({"alg": "none", "x5t": own.sha1()}), &good), 700_027, "Client assertion contains an invalid signature."),
        (OWNER, own.assertion(&json!({"alg": "PS256", "x5t": own.sha1(), "x5t#S256": other.sha256()}), &good), 700_027, unknown),
        (STRANGER, own.assertion(&header, &good), 700_021, "doesn't match 'client_id' parameter"),
        (OWNER, with("sub", json!(STRANGER)), 700_021, "doesn't match 'client_id' parameter"),
        (OWNER, with("aud", json!("https://localhost/other/v2.0")), 700_023, "audience claim does not match"),
        (OWNER, with("exp", json!(now() - 1)), 700_024, "not within its valid time range"),
        (OWNER, with("nbf", json!(now() + 3600)), 700_024, "not within its valid time range"),
        (OWNER, with("exp", json!("soon")), 50_027, "malformed"),
    ] {
        let answer = ask(&running, client_id, &assertion).await;
        let description = answer.json["error_description"].as_str().unwrap();
        assert_eq!(answer.json["error_codes"], json!([number]), "{description}");
        assert!(description.contains(text), "{description}");
    }
    let thumbprint = "A1BED0202F232E934B41A4450E7423874C0E79E1";
    let answer = ask(&running, OWNER, &other.assertion(&header, &good)).await;
    assert!(answer.json["error_description"].as_str().unwrap().contains(thumbprint), "{}", answer.json);
}
