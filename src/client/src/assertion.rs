//! What a ServiceAccount token says about itself. Only for messages: Entra verifies it, we do not.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use super::foreign::one_line;

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    iss: Value,
    #[serde(default)]
    sub: Value,
    #[serde(default)]
    aud: Value,
}

/// "issuer …, subject …, audience …" of a token, which itself is never shown; nothing if it is not a JSON web token.
pub(super) fn describe(token: &str) -> Option<String> {
    let claims = claims(token)?;
    Some(format!("issuer {}, subject {}, audience {}", text(&claims.iss), text(&claims.sub), text(&claims.aud)))
}

fn claims(token: &str) -> Option<Claims> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

/// Kubernetes writes the audience as a list.
fn text(claim: &Value) -> String {
    match claim {
        Value::String(text) => one_line(text),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(" and "),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => "(none)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_issuer_subject_and_audience_and_never_the_token() {
        let token = |payload: &str| format!("eyJhbGciOiJSUzI1NiJ9.{}.c2lnbmF0dXJl", URL_SAFE_NO_PAD.encode(payload));
        for (token, expected) in [
            (
                token(r#"{"iss":"https://oidc/","sub":"system:serviceaccount:default:app","aud":["api://AzureADTokenExchange"]}"#),
                Some("issuer https://oidc/, subject system:serviceaccount:default:app, audience api://AzureADTokenExchange"),
            ),
            (token(r#"{"sub":"s","aud":["a","b"]}"#), Some("issuer (none), subject s, audience a and b")),
            ("not a token".to_owned(), None),
            ("a.!.c".to_owned(), None),
        ] {
            assert_eq!(describe(&token).as_deref(), expected);
        }
    }
}
