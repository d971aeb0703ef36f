//! Reading the operator's file and what it points to.

use std::io;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};

use keyvault_mutation::config::{Config, ConfigError, MAX_CA_BYTES};

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    /// A file that cannot be read.
    #[error("{file}: {error}")]
    Read {
        /// Which one.
        file: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// The operator's file is not a configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A CA would not fit in a plan, or is none.
    #[error("{file}: {key}: {reason}")]
    Ca {
        /// The CA's file.
        file: PathBuf,
        /// What names it in the configuration.
        key: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// Reads the configuration and the CAs that it names.
pub(super) fn load(file: &Path) -> Result<Config, LoadError> {
    let mut config = Config::parse(&read(file)?, &file.display().to_string())?;
    if let Some(file) = &config.agent.extra_ca_file {
        config.agent.extra_ca = Some(ca(file, "agent.extraCaFile")?);
    }
    if let Some(proxy) = &mut config.agent.token_proxy {
        proxy.ca = ca(&proxy.ca_file, "agent.tokenProxy.caFile")?;
    }
    Ok(config)
}

/// Reads a text file.
pub(super) fn read(file: &Path) -> Result<String, LoadError> {
    std::fs::read_to_string(file).map_err(|error| LoadError::Read { file: file.to_owned(), error })
}

fn ca(file: &Path, key: &'static str) -> Result<String, LoadError> {
    let text = read(file)?;
    let refuse = |reason: String| Err(LoadError::Ca { file: file.to_owned(), key, reason });
    if text.len() > MAX_CA_BYTES {
        return refuse(format!("{} bytes are more than the {MAX_CA_BYTES} that fit in a plan", text.len()));
    }
    if text.contains("PRIVATE KEY-----") {
        return refuse("it holds a private key, and every pod would carry it: keep the certificates only".to_owned());
    }
    match certificates(&text) {
        Ok(0) => refuse("no PEM certificate is in it".to_owned()),
        Ok(count) => {
            tracing::info!(file = %file.display(), certificates = count, "{key} was read");
            Ok(text)
        }
        Err(reason) => refuse(reason),
    }
}

/// How many certificates a PEM text holds, each of them one that the agent can trust.
fn certificates(text: &str) -> Result<usize, String> {
    let mut roots = RootCertStore::empty();
    for (index, certificate) in CertificateDer::pem_slice_iter(text.as_bytes()).enumerate() {
        let number = index + 1;
        let certificate = certificate.map_err(|error| unreadable(number, &error))?;
        roots.add(certificate).map_err(|error| format!("certificate {number} is none that can be trusted: {error}"))?;
    }
    Ok(roots.len())
}

fn unreadable(number: usize, error: &pem::Error) -> String {
    if matches!(error, pem::Error::MissingSectionEnd { .. }) {
        return format!("certificate {number} is cut off: its END line is missing");
    }
    format!("certificate {number} is not PEM: {error}")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn written(directory: &Path, name: &str, text: &str) -> PathBuf {
        let file = directory.join(name);
        std::fs::File::create(&file).unwrap().write_all(text.as_bytes()).unwrap();
        file
    }

    /// A self-signed certificate as PEM.
    fn pem() -> String {
        rcgen::generate_simple_self_signed(vec!["ca.example".to_owned()]).unwrap().cert.pem().replace("\r\n", "\n")
    }

    #[test]
    fn both_cas_are_read_with_the_configuration_and_what_is_none_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name).display().to_string();
        let text =
            format!("agent: {{extraCaFile: {}, tokenProxy: {{url: \"https://proxy.aks\", caFile: {}}}}}\n", place("extra.pem"), place("proxy.pem"));
        let file = written(directory.path(), "config.yaml", &text);
        let (one, two) = (pem(), format!("the proxy's\n{}{}", pem(), pem()));
        written(directory.path(), "extra.pem", &one);
        written(directory.path(), "proxy.pem", &two);
        let agent = load(&file).unwrap().agent;
        assert_eq!(agent.extra_ca.as_ref(), Some(&one));
        assert_eq!(agent.token_proxy.unwrap().ca, two);

        let half = one.len() / 2;
        for (content, reason) in [
            ("nothing".to_owned(), "no PEM certificate is in it"),
            ("x".repeat(32 * 1024 + 1), "32769 bytes are more than the 32768 that fit in a plan"),
            (format!("{one}{}", &one[..half]), "certificate 2 is cut off: its END line is missing"),
            (one.replacen("\nM", "\n?", 1), "certificate 1 is not PEM: base64 decode error: InvalidCharacter(63)"),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(),
                "certificate 1 is none that can be trusted: invalid peer certificate: BadEncoding",
            ),
            (
                format!("{one}-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
                "it holds a private key, and every pod would carry it: keep the certificates only",
            ),
        ] {
            written(directory.path(), "proxy.pem", &content);
            let error = load(&file).unwrap_err().to_string();
            assert_eq!(error, format!("{}: agent.tokenProxy.caFile: {reason}", place("proxy.pem")));
        }
    }
}
