//! Names that came from outside, checked once in `FromStr`. Rules are Key Vault's and Kubernetes' own; each error says the rule.

use std::fmt;
use std::str::FromStr;

use crate::excerpt::excerpt;

/// A name that breaks its rule: what kind of name, what was written, and the rule in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{written:?} is not {kind}: {rule}")]
pub struct NameError {
    /// With its article, as in "a vault name".
    pub kind: &'static str,
    /// The offending text, or its beginning: it may be as long as its author likes.
    pub written: String,
    /// What is allowed.
    pub rule: &'static str,
}

impl NameError {
    /// How much of the text is quoted, in bytes.
    const QUOTED: usize = 80;

    /// Says that `written` is not `kind`, and the rule.
    #[must_use]
    pub fn new(kind: &'static str, written: &str, rule: &'static str) -> NameError {
        let rule = if written.contains("{{") { NOT_RENDERED } else { rule };
        NameError { kind, written: excerpt(written, NameError::QUOTED).into_owned(), rule }
    }
}

/// The fix for what another program has left unrendered.
pub const NOT_RENDERED: &str = "this is a template of Helm or another program: render it before the pod is created";

/// Declares a text newtype whose only way in is a checked `FromStr`.
macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The text as it was written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<$name, NameError> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok($name(text.to_owned()))
                } else {
                    Err(NameError::new($kind, text, $rule))
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        serde_text!($name);
    };
}

/// Serde through `Display` and `FromStr`.
#[macro_export]
macro_rules! serde_text {
    ($name:ident) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub use serde_text;

text_newtype!(
    /// The name of a vault: the first label of its host.
    VaultName,
    "a vault name",
    "3 to 24 letters, digits and single hyphens, a letter first and no hyphen last",
    |text| (3..=24).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(is_name_byte)
        && !text.ends_with('-')
        && !text.contains("--")
);

text_newtype!(
    /// The name of a secret, certificate or key. Key Vault compares it without regard to case.
    ObjectName,
    "a Key Vault object name",
    "1 to 127 letters, digits and hyphens",
    |text| (1..=127).contains(&text.len()) && text.bytes().all(is_name_byte)
);

text_newtype!(
    /// What the names of objects begin with. Compared, as names are, without regard to case.
    NamePrefix,
    "a prefix of Key Vault object names",
    "1 to 127 letters, digits and hyphens",
    |text| text.parse::<ObjectName>().is_ok()
);

text_newtype!(
    /// The version of an object.
    ObjectVersion,
    "a Key Vault object version",
    "32 hexadecimal digits",
    |text| text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit())
);

text_newtype!(
    /// A path below a directory of ours: no `..`, no absolute path, nothing hidden from the writer.
    FilePath,
    "a relative file path",
    "names joined by single slashes, none of them . or .. or beginning with .., at most 255 bytes each and 1024 in all, no control characters",
    |text| text.len() <= 1024 && text.split('/').all(is_file_name)
);

/// What stands for the name of an object in a [`FilePattern`].
const NAME: &str = "${name}";
/// As long as names can be.
const LONGEST_NAME: usize = 127;

text_newtype!(
    /// A [`FilePath`] for each of many objects.
    FilePattern,
    "a file pattern",
    "a relative file path with ${name} where each secret's name goes, such as app/${name}, and no other ${…}",
    |text| text.contains(NAME) && !text.replace(NAME, "").contains("${") && text.replace(NAME, &"n".repeat(LONGEST_NAME)).parse::<FilePath>().is_ok()
);

impl FilePattern {
    /// The path for one object.
    ///
    /// # Errors
    /// None that a checked pattern can cause; the signature is that of reading a path.
    pub fn path(&self, name: &ObjectName) -> Result<FilePath, NameError> {
        self.0.replace(NAME, name.as_str()).parse()
    }
}

text_newtype!(
    /// The name of an environment variable.
    EnvName,
    "an environment variable name",
    "letters, digits and underscores, no digit first",
    |text| !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
);

text_newtype!(
    /// A client or tenant id.
    Guid,
    "a GUID",
    "32 hexadecimal digits in groups of 8-4-4-4-12",
    |text| {
        let groups = [8, 4, 4, 4, 12];
        text.split('-').count() == groups.len()
            && text.split('-').zip(groups).all(|(part, length)| part.len() == length && part.bytes().all(|b| b.is_ascii_hexdigit()))
    }
);

text_newtype!(
    /// The name of a container (a DNS label).
    ContainerName,
    "a container name",
    "1 to 63 lower-case letters, digits and hyphens, no hyphen first or last",
    |text| (1..=63).contains(&text.len()) && is_dns_label(text)
);

text_newtype!(
    /// An absolute, normal path in a container.
    AbsolutePath,
    "an absolute path",
    "a slash, then names joined by single slashes, none of them . or .., no colon and no control characters",
    |text| text.len() <= 4096
        && !text.contains(':')
        && text.strip_prefix('/').is_some_and(|rest| rest.is_empty() || rest.split('/').all(|name| is_file_name(name) || name.starts_with("...")))
);

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

/// `..data` and `..2026_…` belong to the atomic writer, so a leading `..` is refused whole, as the kubelet does.
fn is_file_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && name != "." && !name.starts_with("..") && !name.chars().any(|c| c.is_control() || c == '\\')
}

/// Lower-case letters, digits and inner hyphens; the caller bounds the length.
#[must_use]
pub fn is_dns_label(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') && !text.starts_with('-') && !text.ends_with('-')
}

/// The kind of object that a reference names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKind {
    /// A secret: its value is bytes.
    Secret,
    /// A certificate with its chain and private key.
    Certificate,
    /// A key: only its public part ever leaves the vault.
    Key,
}

impl ObjectKind {
    /// Every kind.
    pub const ALL: [ObjectKind; 3] = [ObjectKind::Secret, ObjectKind::Certificate, ObjectKind::Key];

    /// The path segment of Key Vault's REST interface.
    #[must_use]
    pub fn collection(self) -> &'static str {
        match self {
            ObjectKind::Secret => "secrets",
            ObjectKind::Certificate => "certificates",
            ObjectKind::Key => "keys",
        }
    }

    /// The word for a message.
    #[must_use]
    pub fn noun(self) -> &'static str {
        match self {
            ObjectKind::Secret => "secret",
            ObjectKind::Certificate => "certificate",
            ObjectKind::Key => "key",
        }
    }
}

/// The address of a vault: `https://HOST` or `https://HOST:PORT`, nothing else. Displayed without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VaultUrl {
    host: String,
    port: u16,
}

impl VaultUrl {
    const KIND: &'static str = "a vault address";

    /// The host in lower case, without the port.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, 443 if none was written.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host, and port where it is not 443.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.port == 443 { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// The first label of the host: the vault's name, for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        self.host.split('.').next().unwrap_or(&self.host)
    }
}

impl FromStr for VaultUrl {
    type Err = NameError;

    fn from_str(text: &str) -> Result<VaultUrl, NameError> {
        let refuse = |rule| NameError::new(VaultUrl::KIND, text, rule);
        let rest = text.strip_prefix("https://").ok_or_else(|| refuse("it begins with https://"))?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@']) {
            return Err(refuse("https://, a host and perhaps a port: no user, path or query"));
        }
        let (host, port) = match rest.split_once(':') {
            None => (rest, 443),
            Some((host, port)) => (host, port.parse().ok().filter(|port| *port != 0).ok_or_else(|| refuse("the port is a number from 1 to 65535"))?),
        };
        let host = host.to_ascii_lowercase();
        if host.len() > 253 || !host.split('.').all(|label| (1..=63).contains(&label.len()) && is_dns_label(label)) {
            return Err(refuse("the host is a DNS name"));
        }
        Ok(VaultUrl { host, port })
    }
}

impl fmt::Display for VaultUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.authority())
    }
}
serde_text!(VaultUrl);

/// Permission bits of a file, 0000 to 0777; written as four octal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileMode(u32);

impl FileMode {
    /// Only the owner reads.
    pub const OWNER: FileMode = FileMode(0o400);
    /// Owner and group read.
    pub const GROUP: FileMode = FileMode(0o440);
    /// Everyone reads.
    pub const WORLD: FileMode = FileMode(0o444);

    /// The bits, for `chmod`.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl FromStr for FileMode {
    type Err = NameError;

    fn from_str(text: &str) -> Result<FileMode, NameError> {
        let octal = matches!(text.len(), 3 | 4) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        match u32::from_str_radix(text, 8) {
            Ok(bits) if octal && bits <= 0o777 && bits & 0o400 != 0 => Ok(FileMode(bits)),
            _ => Err(NameError::new("a file mode", text, "three or four octal digits from 0400 to 0777 that let the owner read, such as 0440")),
        }
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}
serde_text!(FileMode);

/// How verbose the agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// Only what ends the run.
    Error,
    /// And what is surprising.
    Warn,
    /// And one line per step.
    #[default]
    Info,
    /// And each request, without tokens and values.
    Debug,
}

impl FromStr for LogLevel {
    type Err = NameError;

    fn from_str(text: &str) -> Result<LogLevel, NameError> {
        match text {
            "error" => Ok(LogLevel::Error),
            "warn" => Ok(LogLevel::Warn),
            "info" => Ok(LogLevel::Info),
            "debug" => Ok(LogLevel::Debug),
            _ => Err(NameError::new("a log level", text, "error, warn, info or debug")),
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
        })
    }
}
serde_text!(LogLevel);

#[cfg(test)]
mod tests;
