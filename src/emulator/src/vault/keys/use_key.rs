//! Encrypt, decrypt, wrap, unwrap, sign and verify.

use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::crypto::operation::{Encryption, Signing};
use crate::vault::caller::Caller;
use crate::vault::common::ok;
use crate::vault::contents::Key;
use crate::vault::properties;
use crate::vault::refusal::Refusal;
use crate::vault::store::Version;
use crate::vault::wire::Base;
use keyvault_common::names::{ObjectKind, ObjectName};

/// One of the operations of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Encrypt,
    Decrypt,
    WrapKey,
    UnwrapKey,
    Sign,
    Verify,
}

#[derive(Deserialize)]
struct Request {
    alg: Option<String>,
    value: Option<String>,
    digest: Option<String>,
}

#[derive(Serialize)]
struct Outcome {
    kid: String,
    value: String,
}

#[derive(Serialize)]
struct Verified {
    value: bool,
}

impl Use {
    pub(super) fn named(word: &str) -> Option<Use> {
        let all = [Use::Encrypt, Use::Decrypt, Use::WrapKey, Use::UnwrapKey, Use::Sign, Use::Verify];
        all.into_iter().find(|what| what.verb().eq_ignore_ascii_case(word))
    }

    /// The word of access policies and of `key_ops`.
    pub(super) fn verb(self) -> &'static str {
        match self {
            Use::Encrypt => "encrypt",
            Use::Decrypt => "decrypt",
            Use::WrapKey => "wrapKey",
            Use::UnwrapKey => "unwrapKey",
            Use::Sign => "sign",
            Use::Verify => "verify",
        }
    }

    pub(super) fn rbac(self) -> &'static str {
        match self {
            Use::Encrypt => "encrypt/action",
            Use::Decrypt => "decrypt/action",
            Use::WrapKey => "wrap/action",
            Use::UnwrapKey => "unwrap/action",
            Use::Sign => "sign/action",
            Use::Verify => "verify/action",
        }
    }

    pub(super) fn run(self, caller: &Caller<'_>, base: Base<'_>, name: &ObjectName, version: Option<&str>, body: &[u8]) -> Result<Response, Refusal> {
        let (object, version) = {
            let contents = caller.vault.contents();
            let (object, version) = contents.keys.get(name, version)?;
            (object.name.clone(), version.clone())
        };
        self.check(&version, i64::try_from(clock::now()).unwrap_or(i64::MAX))?;
        let request: Request = properties::read(body)?;
        let (algorithm, value) = (request.alg.unwrap_or_default(), bytes(request.value.as_deref(), "value")?);
        let key = &version.content.private;
        let encryption = || Encryption::named(&algorithm).ok_or_else(|| Refusal::UnknownAlgorithm(algorithm.clone()));
        let signing = || Signing::named(&algorithm).ok_or_else(|| Refusal::UnknownAlgorithm(algorithm.clone()));
        let made = match self {
            Use::Encrypt | Use::WrapKey => key.encrypt(encryption()?, &value)?,
            Use::Decrypt | Use::UnwrapKey => key.decrypt(encryption()?, &value)?,
            Use::Sign => key.sign(signing()?, &value)?,
            Use::Verify => {
                let digest = bytes(request.digest.as_deref(), "digest")?;
                return Ok(ok(&Verified { value: key.verify(signing()?, &digest, &value)? }));
            }
        };
        Ok(ok(&Outcome { kid: base.id(ObjectKind::Key, &object, Some(&version.id)), value: BASE64_URL_SAFE_NO_PAD.encode(made) }))
    }

    /// What is already encrypted or signed can be used outside a key's time, too.
    fn check(self, version: &Version<Key>, now: i64) -> Result<(), Refusal> {
        let makes = matches!(self, Use::Encrypt | Use::WrapKey | Use::Sign);
        if !version.enabled {
            return Err(Refusal::Disabled(ObjectKind::Key, self.verb()));
        }
        if !version.content.operations.iter().any(|word| word == self.verb()) {
            return Err(Refusal::KeyOperation(self.verb()));
        }
        if makes && version.nbf.is_some_and(|from| now < from) {
            return Err(Refusal::KeyTime { operation: self.verb(), expired: false });
        }
        if makes && version.exp.is_some_and(|until| until <= now) {
            return Err(Refusal::KeyTime { operation: self.verb(), expired: true });
        }
        Ok(())
    }
}

fn bytes(text: Option<&str>, property: &'static str) -> Result<Vec<u8>, Refusal> {
    let text = text.ok_or(Refusal::InvalidProperty(property))?;
    BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| Refusal::InvalidProperty(property))
}
