//! From an identity of the plan to the request that brings its token. `AZURE_*` variables are not looked at.

use std::path::Path;
use std::time::SystemTime;

use zeroize::Zeroizing;

use super::assertion;
use super::check::Endpoint;
use super::failure::{Class, Failure};
use super::network::Kind;
use super::principal::{Principal, Proof};
use keyvault_common::cloud::MetadataEndpoint;
use keyvault_common::names::{AbsolutePath, Guid};
use keyvault_common::plan::{Identity, ManagedIdentitySelector, PlanCloud, TokenProxy};
use keyvault_common::secret::SecretValue;

/// The node's metadata service.
const METADATA: &str = "http://169.254.169.254";
/// What a workload identity exchanges, and what a client certificate signs.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// One sign-in, ready to be sent.
pub(super) struct SignIn {
    pub(super) url: String,
    pub(super) kind: Kind<'static>,
    pub(super) endpoint: Endpoint,
    /// Who signs in, for messages.
    pub(super) who: String,
    /// What the request carries and no message may repeat: as it is, and as the form has it.
    pub(super) secrets: Vec<SecretValue>,
}

/// Reads what the identity needs from disk, again for every exchange, because the kubelet replaces projected tokens and Secrets.
pub(super) fn sign_in(cloud: &PlanCloud, identity: &Identity, now: SystemTime) -> Result<SignIn, Failure> {
    match identity {
        Identity::WorkloadIdentity { client_id, tenant_id, token_file, token_proxy } => {
            workload(cloud, client_id, tenant_id, token_file, token_proxy.as_ref())
        }
        Identity::ServicePrincipal { directory, secret } => {
            service_principal(cloud, &Principal { directory: Path::new(directory.as_str()), secret: secret.as_deref() }, now)
        }
        Identity::ManagedIdentity { select, endpoint } => Ok(managed(cloud, select.as_ref(), endpoint.as_ref())),
        Identity::PodIdentity { client_id, endpoint } => Ok(pod(cloud, client_id.as_ref(), endpoint.as_ref())),
    }
}

/// A token proxy is asked what Entra would be asked, below the proxy's own path.
fn workload(cloud: &PlanCloud, client: &Guid, tenant: &Guid, file: &AbsolutePath, proxy: Option<&TokenProxy>) -> Result<SignIn, Failure> {
    let client_of = format!("client {client} of tenant {tenant}");
    let cannot = |failure: Failure| Failure { what: format!("{client_of} cannot sign in: {}", failure.what), ..failure };
    let assertion = read(Path::new(file.as_str()), "the ServiceAccount token").map_err(cannot)?;
    let who = match assertion::describe(&assertion) {
        Some(claims) => format!("{client_of} with the ServiceAccount token of {claims}"),
        None => format!("{client_of} with a ServiceAccount token that is not a JSON web token"),
    };
    let credential = [("client_assertion_type", ASSERTION_TYPE), ("client_assertion", &assertion)];
    Ok(match proxy {
        None => entra(cloud, client, tenant, &credential, who),
        Some(TokenProxy { url, .. }) => {
            let form = form(cloud, client, &credential);
            let secrets = secrets(&credential);
            SignIn { url: token_endpoint(url, tenant), kind: Kind::ProxiedSignIn { form }, endpoint: Endpoint::TokenProxy, who, secrets }
        }
    })
}

fn service_principal(cloud: &PlanCloud, principal: &Principal<'_>, now: SystemTime) -> Result<SignIn, Failure> {
    let (client, tenant, secret) = (principal.guid("client-id")?, principal.guid("tenant-id")?, principal.name());
    match principal.proof()? {
        Proof::Secret(value) => {
            let who = format!("client {client} of tenant {tenant} with the client secret of {secret}");
            Ok(entra(cloud, &client, &tenant, &[("client_secret", &value)], who))
        }
        Proof::Certificate(certificate) => {
            let who =
                format!("client {client} of tenant {tenant} with the certificate of {secret} (thumbprint {} as x5t#S256)", certificate.thumbprint());
            let signed = certificate.assertion(client.as_str(), &token_endpoint(&cloud.authority_host, &tenant), now);
            let assertion = signed.map_err(|error| Failure::new(Class::Auth, format!("the certificate of {secret} cannot be used: {error}")))?;
            Ok(entra(cloud, &client, &tenant, &[("client_assertion_type", ASSERTION_TYPE), ("client_assertion", &assertion)], who))
        }
    }
}

fn entra(cloud: &PlanCloud, client: &Guid, tenant: &Guid, credential: &[(&str, &str)], who: String) -> SignIn {
    let form = form(cloud, client, credential);
    let (url, secrets) = (token_endpoint(&cloud.authority_host, tenant), secrets(credential));
    SignIn { url, kind: Kind::SignIn { form }, endpoint: Endpoint::Entra, who, secrets }
}

fn secrets(credential: &[(&str, &str)]) -> Vec<SecretValue> {
    let values = credential.iter().filter(|(name, _)| *name != "client_assertion_type");
    let encoded = |value: &str| SecretValue::new(encode(&[("", value)]).expose()[1..].to_vec());
    values.flat_map(|(_, value)| [SecretValue::from((*value).to_owned()), encoded(value)]).collect()
}

fn form(cloud: &PlanCloud, client: &Guid, credential: &[(&str, &str)]) -> SecretValue {
    let scope = format!("{}/.default", cloud.resource);
    let mut fields = vec![("grant_type", "client_credentials"), ("client_id", client.as_str()), ("scope", &scope)];
    fields.extend_from_slice(credential);
    encode(&fields)
}

fn token_endpoint(authority: &str, tenant: &Guid) -> String {
    format!("{}/{tenant}/oauth2/v2.0/token", authority.trim_end_matches('/'))
}

fn managed(cloud: &PlanCloud, select: Option<&ManagedIdentitySelector>, endpoint: Option<&MetadataEndpoint>) -> SignIn {
    let (selector, who) = match select {
        None => (None, "the identity of this node".to_owned()),
        Some(ManagedIdentitySelector::ClientId(id)) => (Some(("client_id", id.as_str())), format!("the managed identity with client id {id}")),
        Some(ManagedIdentitySelector::ObjectId(id)) => (Some(("object_id", id.as_str())), format!("the managed identity with object id {id}")),
        Some(ManagedIdentitySelector::ResourceId(id)) => (Some(("msi_res_id", id.as_str())), format!("the managed identity {id}")),
    };
    metadata(cloud, selector, endpoint, Endpoint::Metadata, who)
}

/// The address is the node's, but AAD pod identity's daemon answers for the identity that the pod's label is bound to.
fn pod(cloud: &PlanCloud, client: Option<&Guid>, endpoint: Option<&MetadataEndpoint>) -> SignIn {
    let who = match client {
        None => "the identity that the pod's label aadpodidbinding is bound to".to_owned(),
        Some(id) => format!("the identity with client id {id} that the pod's label aadpodidbinding is bound to"),
    };
    metadata(cloud, client.map(|id| ("client_id", id.as_str())), endpoint, Endpoint::PodIdentity, who)
}

fn metadata(cloud: &PlanCloud, selector: Option<(&str, &str)>, address: Option<&MetadataEndpoint>, endpoint: Endpoint, who: String) -> SignIn {
    let address = address.map_or(METADATA, MetadataEndpoint::as_str);
    let query: Vec<(&str, &str)> = [("api-version", "2018-02-01"), ("resource", cloud.resource.as_str())].into_iter().chain(selector).collect();
    let query = encode(&query);
    let url = format!("{address}/metadata/identity/oauth2/token?{}", String::from_utf8_lossy(query.expose()));
    SignIn { url, kind: Kind::Metadata, endpoint, who, secrets: Vec::new() }
}

/// A file of the identity, without the line feed that editors add. The kubelet may still be about to write it.
pub(super) fn read(path: &Path, what: &str) -> Result<Zeroizing<String>, Failure> {
    let unreadable = |reason: String| Failure::new(Class::Auth, format!("{what} cannot be read from {}: {reason}", path.display())).transient();
    // A pipe without a writer would be waited for without end.
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(unreadable("it is not a regular file".to_owned()));
    }
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?);
    match text.trim() {
        "" => Err(unreadable("the file is empty".to_owned())),
        trimmed => Ok(Zeroizing::new(trimmed.to_owned())),
    }
}

/// `application/x-www-form-urlencoded`.
fn encode(fields: &[(&str, &str)]) -> SecretValue {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let longest = fields.iter().map(|(name, value)| 3 * (name.len() + value.len()) + 2).sum();
    // Never grows: growing would leave an unwiped copy behind.
    let mut form = Vec::with_capacity(longest);
    for (index, (name, value)) in fields.iter().enumerate() {
        if index > 0 {
            form.push(b'&');
        }
        form.extend_from_slice(name.as_bytes());
        form.push(b'=');
        for byte in value.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => form.push(byte),
                _ => form.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
            }
        }
    }
    SecretValue::new(form)
}

#[cfg(test)]
mod tests;
