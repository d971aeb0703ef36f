use super::*;

const CLIENT: &str = "0f1e2d3c-1111-4222-8333-444455556666";
const TENANT: &str = "aaaabbbb-1111-4222-8333-444455556666";

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

fn cloud() -> PlanCloud {
    PlanCloud {
        authority_host: "https://login.microsoftonline.com".to_owned(),
        resource: "https://vault.azure.net".to_owned(),
        verify_challenge: true,
        allowed_vault_hosts: Vec::new(),
    }
}

fn workload_identity(token_file: &Path) -> Identity {
    Identity::WorkloadIdentity {
        client_id: CLIENT.parse().unwrap(),
        tenant_id: TENANT.parse().unwrap(),
        token_file: token_file.to_str().unwrap().parse().unwrap(),
        token_proxy: None,
    }
}

fn write(path: &Path, text: &str) {
    std::io::Write::write_all(&mut std::fs::File::create(path).unwrap(), text.as_bytes()).unwrap();
}

fn form(sign_in: &SignIn) -> String {
    let (Kind::SignIn { form } | Kind::ProxiedSignIn { form }) = &sign_in.kind else { panic!("no form") };
    String::from_utf8(form.expose().to_vec()).unwrap()
}

#[test]
fn a_workload_identity_exchanges_the_token_that_is_in_the_file_now() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let identity = workload_identity(&file);

    let missing = sign_in(&cloud(), &identity, NOW).err().unwrap();
    assert_eq!(
        missing.to_string(),
        format!(
            "client {CLIENT} of tenant {TENANT} cannot sign in: the ServiceAccount token cannot be read from {}: No such file or directory (os error 2)",
            file.display()
        )
    );
    assert_eq!((missing.class, missing.outlook), (Class::Auth, super::super::failure::Outlook::Transient));

    for token in ["first.e30.x", "second.e30.x"] {
        write(&file, &format!("{token}\n"));
        let sign_in = sign_in(&cloud(), &identity, NOW).unwrap();
        assert_eq!(sign_in.url, format!("https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token"));
        assert_eq!(
            form(&sign_in),
            format!(
                "grant_type=client_credentials&client_id={CLIENT}&scope=https%3A%2F%2Fvault.azure.net%2F.default\
                 &client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion={token}"
            )
        );
        assert_eq!(
            sign_in.who,
            format!("client {CLIENT} of tenant {TENANT} with the ServiceAccount token of issuer (none), subject (none), audience (none)")
        );
    }
}

#[test]
fn a_token_that_is_no_web_token_is_called_so() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    write(&file, "nonsense");
    let sign_in = sign_in(&cloud(), &workload_identity(&file), NOW).unwrap();
    assert_eq!(sign_in.who, format!("client {CLIENT} of tenant {TENANT} with a ServiceAccount token that is not a JSON web token"));
    assert_eq!(sign_in.secrets.iter().map(SecretValue::expose).collect::<Vec<_>>(), [b"nonsense", b"nonsense"]);
}

/// A folder of a mounted Secret, and the identity that is in it.
fn principal(files: &[(&str, &str)]) -> (tempfile::TempDir, Identity) {
    let directory = tempfile::tempdir().unwrap();
    files.iter().for_each(|(file, text)| write(&directory.path().join(file), text));
    let identity = Identity::ServicePrincipal { directory: directory.path().to_str().unwrap().parse().unwrap(), secret: Some("web-sp".to_owned()) };
    (directory, identity)
}

#[test]
fn a_service_principal_comes_from_its_mounted_secret() {
    let (_directory, identity) =
        principal(&[("client-id", CLIENT), ("tenant-id", TENANT), ("client-secret", "s&cr=t \n"), ("client-certificate", "x")]);
    let sign_in = sign_in(&cloud(), &identity, NOW).unwrap();
    assert!(form(&sign_in).ends_with("&client_secret=s%26cr%3Dt"));
    assert_eq!(sign_in.who, format!("client {CLIENT} of tenant {TENANT} with the client secret of Secret web-sp"));
    assert_eq!(sign_in.secrets.iter().map(SecretValue::expose).collect::<Vec<_>>(), [&b"s&cr=t"[..], b"s%26cr%3Dt"]);
}

#[test]
fn a_service_principal_without_a_secret_signs_with_its_certificate() {
    let key = include_str!("../../../../tests/fixtures/sa.key.pem");
    let certificate = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&rcgen::KeyPair::from_pem(key).unwrap()).unwrap();
    let (_directory, identity) =
        principal(&[("client-id", CLIENT), ("tenant-id", TENANT), ("client-certificate", &format!("{key}{}", certificate.pem()))]);
    let sign_in = sign_in(&cloud(), &identity, NOW).unwrap();
    let form = form(&sign_in);
    let (start, assertion) = form.split_once("&client_assertion=").unwrap();
    assert_eq!(
        start,
        format!(
            "grant_type=client_credentials&client_id={CLIENT}&scope=https%3A%2F%2Fvault.azure.net%2F.default\
             &client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
        )
    );
    let told = assertion::describe(assertion).unwrap();
    assert_eq!(told, format!("issuer {CLIENT}, subject {CLIENT}, audience https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token"));
    let start = format!("client {CLIENT} of tenant {TENANT} with the certificate of Secret web-sp (thumbprint ");
    assert!(sign_in.who.starts_with(&start) && sign_in.who.ends_with(" as x5t#S256)"), "{}", sign_in.who);
}

#[test]
fn what_a_service_principal_lacks_is_said_with_secret_and_key() {
    use super::super::failure::Outlook::{Final, Transient};
    const ID: (&str, &str) = ("client-id", CLIENT);
    const IN: (&str, &str) = ("tenant-id", TENANT);
    for (files, expected, outlook) in [
        (&[][..], "Secret web-sp does not exist or has no key client-id: looked for in DIRECTORY", Transient),
        (&[ID], "Secret web-sp does not exist or has no key tenant-id: looked for in DIRECTORY", Transient),
        (
            &[ID, IN],
            "Secret web-sp does not exist or has neither the key client-secret nor the key client-certificate: looked for in DIRECTORY",
            Transient,
        ),
        (&[("client-id", "\n")], "key client-id of Secret web-sp cannot be read from DIRECTORY/client-id: the file is empty", Transient),
        (&[ID, ("tenant-id", "contoso")], "key tenant-id of Secret web-sp does not hold a GUID", Final),
        (
            &[ID, IN, ("client-certificate", "canary")],
            "key client-certificate of Secret web-sp cannot be used: it has no private key: write the key's PEM and the certificate's PEM into it, one after the other",
            Final,
        ),
    ] {
        let (directory, identity) = principal(files);
        let failure = sign_in(&cloud(), &identity, NOW).err().unwrap();
        assert_eq!(failure.to_string(), expected.replace("DIRECTORY", directory.path().to_str().unwrap()));
        assert_eq!((failure.class, failure.outlook), (Class::Auth, outlook), "{failure}");
    }
}

#[test]
fn a_managed_identity_asks_the_metadata_address() {
    let query = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net";
    let managed = |select, endpoint: Option<&str>| Identity::ManagedIdentity { select, endpoint: endpoint.map(|text| text.parse().unwrap()) };
    for (identity, url) in [
        (managed(None, None), format!("http://169.254.169.254{query}")),
        (managed(None, Some("http://127.0.0.1:1/")), format!("http://127.0.0.1:1{query}")),
        (
            managed(Some(ManagedIdentitySelector::ClientId(CLIENT.parse().unwrap())), None),
            format!("http://169.254.169.254{query}&client_id={CLIENT}"),
        ),
        (
            managed(Some(ManagedIdentitySelector::ObjectId(CLIENT.parse().unwrap())), None),
            format!("http://169.254.169.254{query}&object_id={CLIENT}"),
        ),
        (
            managed(Some(ManagedIdentitySelector::ResourceId("/subscriptions/s".to_owned())), None),
            format!("http://169.254.169.254{query}&msi_res_id=%2Fsubscriptions%2Fs"),
        ),
        (Identity::PodIdentity { client_id: None, endpoint: None }, format!("http://169.254.169.254{query}")),
        (
            Identity::PodIdentity { client_id: Some(CLIENT.parse().unwrap()), endpoint: None },
            format!("http://169.254.169.254{query}&client_id={CLIENT}"),
        ),
    ] {
        let sign_in = sign_in(&cloud(), &identity, NOW).unwrap();
        assert_eq!(sign_in.url, url);
        assert!(matches!(sign_in.kind, Kind::Metadata));
    }
}

#[test]
fn a_token_proxy_is_asked_what_entra_would_be_asked() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    write(&file, "first.e30.x");
    let direct = sign_in(&cloud(), &workload_identity(&file), NOW).unwrap();
    for (url, expected) in [
        ("https://proxy.aks", format!("https://proxy.aks/{TENANT}/oauth2/v2.0/token")),
        ("https://proxy.aks:6443/below/", format!("https://proxy.aks:6443/below/{TENANT}/oauth2/v2.0/token")),
    ] {
        let proxy = TokenProxy { url: url.to_owned(), sni_name: "p".to_owned(), ca: String::new() };
        let Identity::WorkloadIdentity { client_id, tenant_id, token_file, .. } = workload_identity(&file) else { panic!() };
        let identity = Identity::WorkloadIdentity { client_id, tenant_id, token_file, token_proxy: Some(proxy) };
        let proxied = sign_in(&cloud(), &identity, NOW).unwrap();
        assert_eq!((&proxied.url, form(&proxied), &proxied.who), (&expected, form(&direct), &direct.who));
        assert!(matches!(proxied.kind, Kind::ProxiedSignIn { .. }));
    }
}

#[test]
fn a_token_file_that_is_a_pipe_is_refused_instead_of_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("token");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let error = read(&pipe, "the ServiceAccount token").unwrap_err();
    assert_eq!(error.to_string(), format!("the ServiceAccount token cannot be read from {}: it is not a regular file", pipe.display()));
}
