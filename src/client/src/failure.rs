//! Why something was not had, in one word for programs and one sentence for people.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

/// What kind of thing went wrong: the first word of every line of the termination message, and what the exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A name could not be resolved.
    Dns,
    /// No connection, or one that broke.
    Connect,
    /// The server's certificate or the handshake.
    Tls,
    /// No answer in time.
    Timeout,
    /// No token, or one that the vault does not take.
    Auth,
    /// The identity lacks a permission.
    Rbac,
    /// The vault's network rules.
    Firewall,
    /// There is no such object or version.
    NotFound,
    /// The object is disabled.
    Disabled,
    /// Too many requests.
    Throttled,
    /// The server answered that it cannot serve now.
    Unavailable,
    /// An answer or a value that is not what it should be.
    Format,
    /// A file could not be written.
    Volume,
}

impl Class {
    /// Every class, in the order of `docs/errors/README.md`.
    pub const ALL: [Class; 13] = [
        Class::Dns,
        Class::Connect,
        Class::Tls,
        Class::Timeout,
        Class::Auth,
        Class::Rbac,
        Class::Firewall,
        Class::NotFound,
        Class::Disabled,
        Class::Throttled,
        Class::Unavailable,
        Class::Format,
        Class::Volume,
    ];
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Class::Dns => "dns",
            Class::Connect => "connect",
            Class::Tls => "tls",
            Class::Timeout => "timeout",
            Class::Auth => "auth",
            Class::Rbac => "rbac",
            Class::Firewall => "firewall",
            Class::NotFound => "not-found",
            Class::Disabled => "disabled",
            Class::Throttled => "throttled",
            Class::Unavailable => "unavailable",
            Class::Format => "format",
            Class::Volume => "volume",
        })
    }
}

/// Whether another try may bring something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// It will not.
    Final,
    /// It may, at any time.
    Transient,
    /// It may, and the server said how long to wait.
    After(Duration),
    /// It may, and nothing goes to the server before so long has passed: chosen by us, jitter included.
    Paused(Duration),
}

/// A request that did not bring what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Failure {
    /// The kind.
    pub class: Class,
    /// What happened, for people. Holds no value and no token.
    pub what: String,
    /// The HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// Whether to try again.
    pub outlook: Outlook,
    /// Until when, where that is sooner than the deadline: what is mostly a mistake may not use up all the time.
    pub until: Option<Instant>,
    /// What a person does about it, if that is not what the class says.
    pub next_step: Option<&'static str>,
}

impl Failure {
    /// One that no other try will mend.
    #[must_use]
    pub fn new(class: Class, what: impl Into<String>) -> Failure {
        Failure { class, what: what.into(), status: None, outlook: Outlook::Final, until: None, next_step: None }
    }

    /// The same failure, which another try may mend.
    #[must_use]
    pub fn transient(self) -> Failure {
        Failure { outlook: Outlook::Transient, ..self }
    }
}
