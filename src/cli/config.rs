//! Reading the operator's file and what it points to.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::{Config, ConfigError, MAX_CA_BYTES};

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
    if !text.contains("-----BEGIN CERTIFICATE-----") {
        return refuse("no PEM certificate is in it".to_owned());
    }
    Ok(text)
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

    #[test]
    fn both_cas_are_read_with_the_configuration_and_what_is_none_is_named() {
        const PEM: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name).display().to_string();
        let text =
            format!("agent: {{extraCaFile: {}, tokenProxy: {{url: \"https://proxy.aks\", caFile: {}}}}}\n", place("extra.pem"), place("proxy.pem"));
        let file = written(directory.path(), "config.yaml", &text);
        written(directory.path(), "extra.pem", PEM);
        written(directory.path(), "proxy.pem", &format!("the proxy's\n{PEM}"));
        let agent = load(&file).unwrap().agent;
        assert_eq!(agent.extra_ca.as_deref(), Some(PEM));
        assert_eq!(agent.token_proxy.unwrap().ca, format!("the proxy's\n{PEM}"));

        for (content, reason) in
            [("nothing".to_owned(), "no PEM certificate is in it"), (PEM.repeat(600), "35400 bytes are more than the 32768 that fit in a plan")]
        {
            written(directory.path(), "proxy.pem", &content);
            let error = load(&file).unwrap_err().to_string();
            assert_eq!(error, format!("{}: agent.tokenProxy.caFile: {reason}", place("proxy.pem")));
        }
    }
}
