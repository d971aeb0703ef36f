//! The one checker through which every answer goes: status first, body as far as it helps.

use std::time::{Duration, SystemTime};

use hyper::HeaderMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::failure::{Class, Failure, Outlook};
use super::foreign::{Caller, one_line};
use super::network::{Response, TransportError};
use super::server::Server;
use keyvault_common::secret::SecretValue;

/// How messages name it.
const VAULT: &str = "Key Vault";
/// No clock overflows on what a server asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(365 * 24 * 3_600);

/// What the vault answered, if it was not a failure.
pub(super) enum Answer<T> {
    /// What was asked for.
    Value(T),
    /// It does not take the token.
    Unauthorized {
        /// The audience that its challenge names.
        resource: Option<String>,
        /// What to report if a fresh token does not help.
        failure: Failure,
    },
}

/// Checks Key Vault's answer to a GET of `wanted`, such as "a secret".
pub(super) fn object<T: DeserializeOwned>(wanted: &str, caller: Caller<'_>, response: &Response, now: SystemTime) -> Result<Answer<T>, Failure> {
    match response.status {
        200 => json(VAULT, wanted, response).map(Answer::Value),
        401 => Ok(Answer::Unauthorized { resource: challenged_resource(&response.headers), failure: vault_failure(caller, response, now) }),
        _ => Err(vault_failure(caller, response, now)),
    }
}

/// Checks the answer of a token endpoint.
pub(super) fn token(endpoint: Endpoint, caller: Caller<'_>, response: &Response, now: SystemTime) -> Result<SecretValue, Failure> {
    #[derive(Deserialize)]
    struct Token {
        access_token: String,
    }
    if response.status == 200 {
        let token = SecretValue::from(json::<Token>(endpoint.name(), "a token", response)?.access_token);
        // Whatever it is, no header could carry it, and another one from there would be no better.
        return if !token.is_empty() && token.expose().iter().all(u8::is_ascii_graphic) {
            Ok(token)
        } else {
            Err(unusable(endpoint.name(), response, "with a token that no header can carry: it is empty or has spaces or control characters"))
        };
    }
    let body = endpoint.refusal(response);
    let (class, outlook) = temporary(response, now).unwrap_or_else(|| (Class::Auth, endpoint.outlook(response.status, &body)));
    let what = format!("{} at {} refused {}: {}", endpoint.name(), response.server, caller.who, body.words(caller, response.status));
    Err(Failure { status: Some(response.status), outlook, ..Failure::new(class, what) })
}

/// Who gives tokens.
#[derive(Clone, Copy, Debug)]
pub(super) enum Endpoint {
    Entra,
    /// In Entra's place, for AKS identity bindings.
    TokenProxy,
    Metadata,
    /// The metadata address where AAD pod identity answers in its place.
    PodIdentity,
}

impl Endpoint {
    /// Whether Entra answers, or speaks through another.
    pub(super) fn is_entra(self) -> bool {
        matches!(self, Endpoint::Entra | Endpoint::TokenProxy)
    }

    fn name(self) -> &'static str {
        match self {
            Endpoint::Entra => "Entra",
            Endpoint::TokenProxy => "the token proxy",
            Endpoint::Metadata | Endpoint::PodIdentity => "the metadata service",
        }
    }

    /// AAD pod identity's daemon refuses in plain words.
    fn refusal(self, response: &Response) -> TokenError {
        let plain = || TokenError { error: String::from_utf8_lossy(response.body.expose()).into_owned(), ..TokenError::default() };
        match self {
            Endpoint::PodIdentity => serde_json::from_slice(response.body.expose()).unwrap_or_else(|_| plain()),
            Endpoint::Entra | Endpoint::TokenProxy | Endpoint::Metadata => lenient(response),
        }
    }

    /// Entra learns of new federated credentials late, and now and then forgets one for a moment; the metadata address learns of new
    /// identities late. AAD pod identity binds an identity only once the pod is there; until its daemon intercepts the node's own
    /// metadata service, that one answers that it knows no such identity.
    fn outlook(self, status: u16, body: &TokenError) -> Outlook {
        let transient = match self {
            Endpoint::Entra | Endpoint::TokenProxy => {
                body.error == "temporarily_unavailable" || matches!(body.code(), Some(70_021 | 700_210..=700_219 | 7_002_138 | 90_033))
            }
            Endpoint::Metadata => matches!(status, 404 | 410),
            Endpoint::PodIdentity => matches!(status, 400 | 403 | 404 | 410),
        };
        if transient { Outlook::Transient } else { Outlook::Final }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TokenError {
    error: String,
    error_description: String,
    error_codes: Vec<u32>,
    /// Kubernetes' own word, where the token proxy's API server refuses.
    message: String,
}

impl TokenError {
    fn code(&self) -> Option<u32> {
        let spelled = || self.error_description.strip_prefix("AADSTS")?.split(':').next()?.parse().ok();
        self.error_codes.first().copied().or_else(spelled)
    }

    /// The description up to the ids that only Microsoft's support can use.
    fn words(&self, caller: Caller<'_>, status: u16) -> String {
        let text = self.error_description.split("Trace ID:").next().unwrap_or_default().trim();
        match [text, &self.error, &self.message].into_iter().find(|text| !text.is_empty()) {
            Some(text) => caller.words(text),
            None => format!("status {status} without a reason"),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct VaultError {
    error: Reason,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Reason {
    code: String,
    message: String,
    innererror: Option<Inner>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Inner {
    code: String,
}

fn vault_failure(caller: Caller<'_>, response: &Response, now: SystemTime) -> Failure {
    let Reason { code, message, innererror } = lenient::<VaultError>(response).error;
    let inner = innererror.unwrap_or_default().code;
    let (class, outlook) = temporary(response, now).unwrap_or_else(|| (vault_class(response.status, &inner), Outlook::Final));
    let verb = if matches!(class, Class::Auth | Class::Rbac) { format!("refused {}:", caller.who) } else { "answered".to_owned() };
    let mut what = format!("{VAULT} at {} {verb} {}", response.server, response.status);
    for code in [&code, &inner].into_iter().filter_map(|code| caller.code(code)) {
        what = format!("{what} {code}");
    }
    if !message.is_empty() {
        what = format!("{what}: {}", caller.words(&message));
    }
    let failure = Failure { status: Some(response.status), outlook, ..Failure::new(class, what) };
    if class == Class::Firewall { with_hint(failure, &response.server) } else { failure }
}

/// Whoever set up a private endpoint and reaches the public address has a name that leads there.
fn with_hint(failure: Failure, server: &Server) -> Failure {
    if !server.is_public() {
        return failure;
    }
    let what = failure.what.trim_end_matches('.');
    let what =
        format!("{what} (the address is a public one: if the vault has a private endpoint, its private DNS zone is not linked to this network)");
    Failure { what, ..failure }
}

fn vault_class(status: u16, inner: &str) -> Class {
    match (status, inner) {
        (401, _) => Class::Auth,
        (403, "SecretDisabled" | "CertificateDisabled" | "KeyDisabled") => Class::Disabled,
        (403, "ForbiddenByFirewall" | "ForbiddenByConnection") => Class::Firewall,
        (403, _) => Class::Rbac,
        (404, _) => Class::NotFound,
        _ => Class::Format,
    }
}

/// What every server may say when it cannot answer just now.
fn temporary(response: &Response, now: SystemTime) -> Option<(Class, Outlook)> {
    let class = match response.status {
        408 => Class::Timeout,
        429 => Class::Throttled,
        500..=599 => Class::Unavailable,
        _ => return None,
    };
    Some((class, retry_after(&response.headers, now).map_or(Outlook::Transient, Outlook::After)))
}

/// `Retry-After` in seconds or as a date, or Azure's own header in milliseconds. To ask for no wait is to ask for nothing: ours then holds.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let milliseconds = || ["retry-after-ms", "x-ms-retry-after-ms"].into_iter().find_map(|name| text(name)?.parse().ok()).map(Duration::from_millis);
    let seconds = |text: &str| text.parse().ok().map(Duration::from_secs);
    let date = |text: &str| httpdate::parse_http_date(text).ok().map(|date| date.duration_since(now).unwrap_or_default());
    let asked = milliseconds().or_else(|| text("retry-after").and_then(|text| seconds(text).or_else(|| date(text))));
    asked.map(|asked| asked.min(LONGEST_WAIT)).filter(|asked| !asked.is_zero())
}

/// The audience in `WWW-Authenticate: Bearer authorization="…", resource="…"`.
fn challenged_resource(headers: &HeaderMap) -> Option<String> {
    let challenge = headers.get("www-authenticate")?.to_str().ok()?;
    let value = |name: &str| Some(challenge.split_once(&format!("{name}=\""))?.1.split_once('"')?.0.to_owned());
    value("resource").or_else(|| value("scope").map(|scope| scope.trim_end_matches("/.default").to_owned()))
}

/// The JSON of a success; a body that broke off may come whole the next time.
fn json<T: DeserializeOwned>(server: &str, wanted: &str, response: &Response) -> Result<T, Failure> {
    if let Some(cut) = &response.cut {
        let reason = format!("the answer broke off after {} bytes: {}", response.body.len(), one_line(cut));
        return Err(unusable(server, response, &reason).transient());
    }
    serde_json::from_slice(response.body.expose()).map_err(|error| {
        // The parser's own words may quote the body.
        unusable(server, response, &format!("not with the JSON of {wanted} (line {}, column {})", error.line(), error.column()))
    })
}

/// A success that is none.
fn unusable(server: &str, response: &Response, reason: &str) -> Failure {
    let what = format!("{server} at {} answered {}, but {reason}", response.server, response.status);
    Failure { status: Some(response.status), ..Failure::new(Class::Format, what) }
}

/// The body of a refusal, or nothing: the status counts even where the body is cut or no JSON.
fn lenient<T: Default + DeserializeOwned>(response: &Response) -> T {
    serde_json::from_slice(response.body.expose()).unwrap_or_default()
}

/// What it means that there was no answer. `of_vault` says whether a vault was asked.
pub(super) fn transport(error: TransportError, of_vault: bool) -> Failure {
    let what = error.to_string();
    match error {
        TransportError::Dns { .. } => Failure::new(Class::Dns, what).transient(),
        TransportError::Connect { server, .. } if of_vault => with_hint(Failure::new(Class::Connect, what).transient(), &server),
        TransportError::Connect { .. } | TransportError::Broken { .. } => Failure::new(Class::Connect, what).transient(),
        // A certificate does not become another one by asking again.
        TransportError::Tls { .. } => Failure::new(Class::Tls, what),
        TransportError::Timeout { server, .. } if of_vault => with_hint(Failure::new(Class::Timeout, what).transient(), &server),
        TransportError::Timeout { .. } => Failure::new(Class::Timeout, what).transient(),
    }
}

#[cfg(test)]
mod tests;
