//! PEM: text around DER.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use super::Malformed;
use super::key::PrivateKey;
use super::x509::Certificate;

/// A block with lines of 64 characters.
pub(crate) fn write(label: &str, der: &[u8]) -> String {
    let text = Zeroizing::new(BASE64_STANDARD.encode(der));
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap_or_default()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// One block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) label: String,
    pub(crate) content: Zeroizing<Vec<u8>>,
}

/// The blocks of a text. What stands between them is not looked at.
pub(crate) fn read(text: &str) -> Result<Vec<Block>, Malformed> {
    const BROKEN: Malformed = Malformed("a PEM block is broken");
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((_, found)) = rest.split_once("-----BEGIN ") {
        let (label, found) = found.split_once("-----").ok_or(BROKEN)?;
        let (body, after) = found.split_once(&format!("-----END {label}-----")).ok_or(BROKEN)?;
        let body: Zeroizing<String> = Zeroizing::new(body.split_ascii_whitespace().collect());
        let content = Zeroizing::new(BASE64_STANDARD.decode(body.as_bytes()).map_err(|_| BROKEN)?);
        blocks.push(Block { label: label.to_owned(), content });
        rest = after;
    }
    Ok(blocks)
}

/// A private key and the certificates beside it, in their order.
pub(crate) struct Bundle {
    pub(crate) key: Option<PrivateKey>,
    pub(crate) certificates: Vec<Certificate>,
}

/// The first private key of a text, and all certificates.
pub(crate) fn bundle(text: &str) -> Result<Bundle, Malformed> {
    let mut bundle = Bundle { key: None, certificates: Vec::new() };
    for Block { label, content } in read(text)? {
        match label.as_str() {
            "CERTIFICATE" => bundle.certificates.push(Certificate::parse(&content)?),
            "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" if bundle.key.is_none() => bundle.key = Some(PrivateKey::from_der(&content)?),
            "ENCRYPTED PRIVATE KEY" => return Err(Malformed("the private key is encrypted: Key Vault takes it in clear text only")),
            _ => {}
        }
    }
    Ok(bundle)
}
