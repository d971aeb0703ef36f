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

/// "the ServiceAccount token of issuer …, subject …, audience …". The token itself is never shown.
pub(super) fn describe(token: &str) -> String {
    match claims(token) {
        Some(claims) => {
            format!("the ServiceAccount token of issuer {}, subject {}, audience {}", text(&claims.iss), text(&claims.sub), text(&claims.aud))
        }
        None => "a ServiceAccount token that is not a JSON web token".to_owned(),
    }
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
                "the ServiceAccount token of issuer https://oidc/, subject system:serviceaccount:default:app, audience api://AzureADTokenExchange",
            ),
            (token(r#"{"sub":"s","aud":["a","b"]}"#), "the ServiceAccount token of issuer (none), subject s, audience a and b"),
            ("not a token".to_owned(), "a ServiceAccount token that is not a JSON web token"),
            ("a.!.c".to_owned(), "a ServiceAccount token that is not a JSON web token"),
        ] {
            assert_eq!(describe(&token), expected);
        }
    }
}
