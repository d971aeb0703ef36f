//! The official SDK, unmodified, makes and uses certificates and keys.

use azure_core::http::StatusCode;
use azure_security_keyvault_certificates::models::{
    CertificatePolicy, CreateCertificateParameters, CurveName, ImportCertificateParameters, IssuerParameters, KeyProperties, KeyType,
    X509CertificateProperties,
};
use azure_security_keyvault_certificates::{CertificateClient, CertificateClientOptions};
use azure_security_keyvault_keys::models::{
    CreateKeyParameters, EncryptionAlgorithm, KeyClientEncryptOptions, KeyClientSignOptions, KeyOperationParameters, SignParameters,
    SignatureAlgorithm, VerifyParameters,
};
use azure_security_keyvault_keys::{KeyClient, KeyClientOptions};
use futures::TryStreamExt;

use crate::emulator::{FIXTURES, OWNER, OWNER_SECRET, Running};
use crate::sdk::{client_options, client_secret, secret_client};

fn certificate_client(running: &Running) -> CertificateClient {
    let options = CertificateClientOptions { client_options: client_options(running), verify_challenge_resource: Some(false), ..Default::default() };
    CertificateClient::new(&running.addresses.vault, client_secret(running, OWNER, OWNER_SECRET), Some(options)).unwrap()
}

fn key_client(running: &Running) -> KeyClient {
    let options = KeyClientOptions { client_options: client_options(running), verify_challenge_resource: Some(false), ..Default::default() };
    KeyClient::new(&running.addresses.vault, client_secret(running, OWNER, OWNER_SECRET), Some(options)).unwrap()
}

fn self_signed(subject: &str) -> CreateCertificateParameters {
    let policy = CertificatePolicy {
        x509_certificate_properties: Some(X509CertificateProperties { subject: Some(subject.into()), ..Default::default() }),
        issuer_parameters: Some(IssuerParameters { name: Some("Self".into()), ..Default::default() }),
        key_properties: Some(KeyProperties { key_type: Some(KeyType::Ec), curve: Some(CurveName::P256), ..Default::default() }),
        ..Default::default()
    };
    CreateCertificateParameters { certificate_policy: Some(policy), ..Default::default() }
}

#[tokio::test]
async fn a_certificate_lives_its_whole_life_through_the_sdk() {
    let running = Running::start().await;
    let client = certificate_client(&running);
    let poller = client.begin_create_certificate("web", self_signed("CN=web").try_into().unwrap(), None).unwrap();
    let made = poller.await.unwrap().into_model().unwrap();
    assert!(made.cer.is_some_and(|cer| cer.starts_with(&[0x30])), "DER");
    let policy = client.get_certificate_policy("web", None).await.unwrap().into_model().unwrap();
    assert_eq!(policy.x509_certificate_properties.unwrap().subject.as_deref(), Some("CN=web"));

    let secrets = secret_client(&running, &running.addresses.vault, client_secret(&running, OWNER, OWNER_SECRET));
    let secret = secrets.get_secret("web", None).await.unwrap().into_model().unwrap();
    assert_eq!((secret.content_type.as_deref(), secret.managed), (Some("application/x-pkcs12"), Some(true)));
    assert_eq!((secret.id, secret.kid), (made.sid, made.kid));

    let backup = client.backup_certificate("web", None).await.unwrap().into_model().unwrap();
    client.delete_certificate("web", None).await.unwrap();
    client.recover_deleted_certificate("web", None).await.unwrap();
    client.delete_certificate("web", None).await.unwrap();
    client.purge_deleted_certificate("web", None).await.unwrap();
    let gone = client.get_certificate("web", None).await;
    assert_eq!(gone.err().and_then(|error| error.http_status()), Some(StatusCode::NotFound));
    let saved = azure_security_keyvault_certificates::models::RestoreCertificateParameters { certificate_backup: backup.value };
    let restored = client.restore_certificate(saved.try_into().unwrap(), None).await.unwrap().into_model().unwrap();
    assert_eq!(restored.id, made.id);
}

#[tokio::test]
async fn certificates_are_imported_and_listed_through_the_sdk() {
    let running = Running::start().await;
    let client = certificate_client(&running);
    for name in ["kv-rsa-chain3", "kv-ec-p384"] {
        let pfx: String = std::fs::read_to_string(format!("{FIXTURES}/pfx/{name}.b64")).unwrap().split_whitespace().collect();
        let parameters = ImportCertificateParameters { base64_encoded_certificate: Some(pfx), ..Default::default() };
        client.import_certificate(name, parameters.try_into().unwrap(), None).await.unwrap();
    }
    let listed: Vec<_> = client.list_certificate_properties(None).unwrap().try_collect().await.unwrap();
    assert_eq!(listed.len(), 2);
    let versions: Vec<_> = client.list_certificate_properties_versions("kv-ec-p384", None).unwrap().try_collect().await.unwrap();
    assert_eq!(versions.len(), 1);
}

#[tokio::test]
async fn a_key_encrypts_and_signs_through_the_sdk() {
    let running = Running::start().await;
    let client = key_client(&running);
    let parameters =
        CreateKeyParameters { kty: Some(azure_security_keyvault_keys::models::KeyType::Rsa), key_size: Some(2048), ..Default::default() };
    let made = client.create_key("rsa", parameters.try_into().unwrap(), None).await.unwrap().into_model().unwrap().key.unwrap();
    assert_eq!((made.n.unwrap().len(), made.d), (256, None));
    let version = made.kid.unwrap().rsplit('/').next().unwrap().to_owned();

    let plain = KeyOperationParameters { algorithm: Some(EncryptionAlgorithm::RsaOaep256), value: Some(b"secret".to_vec()), ..Default::default() };
    let options = KeyClientEncryptOptions { key_version: Some(version.clone()), ..Default::default() };
    let encrypted = client.encrypt("rsa", plain.try_into().unwrap(), Some(options)).await.unwrap().into_model().unwrap().result;
    let cipher = KeyOperationParameters { algorithm: Some(EncryptionAlgorithm::RsaOaep256), value: encrypted, ..Default::default() };
    let decrypted = client.decrypt("rsa", &version, cipher.try_into().unwrap(), None).await.unwrap().into_model().unwrap();
    assert_eq!(decrypted.result.as_deref(), Some(&b"secret"[..]));

    let digest = vec![7; 32];
    let sign = SignParameters { algorithm: Some(SignatureAlgorithm::Ps256), value: Some(digest.clone()) };
    let options = KeyClientSignOptions { key_version: Some(version.clone()), ..Default::default() };
    let signature = client.sign("rsa", sign.try_into().unwrap(), Some(options)).await.unwrap().into_model().unwrap().result;
    for (digest, good) in [(digest, true), (vec![8; 32], false)] {
        let verify = VerifyParameters { algorithm: Some(SignatureAlgorithm::Ps256), digest: Some(digest), signature: signature.clone() };
        let verified = client.verify("rsa", &version, verify.try_into().unwrap(), None).await.unwrap().into_model().unwrap();
        assert_eq!(verified.value, Some(good));
    }
}

#[tokio::test]
async fn a_key_is_rotated_listed_and_deleted_through_the_sdk() {
    let running = Running::start().await;
    let client = key_client(&running);
    let parameters = CreateKeyParameters { kty: Some(azure_security_keyvault_keys::models::KeyType::Ec), ..Default::default() };
    client.create_key("ec", parameters.try_into().unwrap(), None).await.unwrap();
    client.rotate_key("ec", None).await.unwrap();
    let versions: Vec<_> = client.list_key_properties_versions("ec", None).unwrap().try_collect().await.unwrap();
    assert_eq!(versions.len(), 2);
    let listed: Vec<_> = client.list_key_properties(None).unwrap().try_collect().await.unwrap();
    assert_eq!(listed.len(), 1);
    let deleted = client.delete_key("ec", None).await.unwrap().into_model().unwrap();
    assert!(deleted.recovery_id.unwrap().ends_with("/deletedkeys/ec"));
    client.purge_deleted_key("ec", None).await.unwrap();
    let gone = client.get_deleted_key("ec", None).await;
    assert_eq!(gone.err().and_then(|error| error.http_status()), Some(StatusCode::NotFound));
}
