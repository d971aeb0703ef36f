//! One token per run, sent with every request; a fresh one when the vault refuses it.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::failure::Failure;
use super::foreign::Caller;
use keyvault_common::secret::SecretValue;

/// A token and which one it is.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) value: SecretValue,
    /// Whose it is, for messages.
    pub(super) who: String,
    serial: u32,
}

impl Token {
    /// Who asks with it.
    pub(super) fn caller(&self) -> Caller<'_> {
        Caller { who: &self.who, secrets: std::slice::from_ref(&self.value) }
    }
}

/// The token of the run, shared by all requests. Only one sign-in happens at a time.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    current: Mutex<Option<Result<Arc<Token>, Failure>>>,
}

impl Tokens {
    /// The next one who asks signs in again, if the last sign-in failed.
    pub(super) fn forget_failure(&mut self) {
        let current = self.current.get_mut();
        if matches!(current, Some(Err(_))) {
            *current = None;
        }
    }

    /// The token, or what came of the last sign-in; signs in if nobody has yet, or if the token is the `refused` one.
    pub(super) async fn get(
        &self,
        refused: Option<&Token>,
        sign_in: impl Future<Output = Result<(SecretValue, String), Failure>>,
    ) -> Result<Arc<Token>, Failure> {
        let mut current = self.current.lock().await;
        let serial = match (&*current, refused) {
            (Some(Ok(token)), Some(refused)) if token.serial == refused.serial => token.serial + 1,
            (Some(result), _) => return result.clone(),
            (None, _) => 0,
        };
        let result = sign_in.await.map(|(value, who)| Arc::new(Token { value, who, serial }));
        *current = Some(result.clone());
        result
    }
}
