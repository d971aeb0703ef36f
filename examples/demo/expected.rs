//! What must come out, to the byte.

use crate::Result;
use crate::kubelet::{Seen, Started};

/// Container; its files as mode, name, content.
pub(crate) type Expected = [(&'static str, &'static [(&'static str, &'static str, &'static [u8])])];

pub(crate) const PLAIN: &Expected =
    &[("web", &[("0400", "api-keys/stripe", b"sk_demo_4eC39HqLyjWDarjtT1zdp7dc"), ("0400", "db-password", b"correct horse battery staple")])];

const API: &[(&str, &str, &[u8])] =
    &[("0440", "db-password", b"correct horse battery staple"), ("0440", "tls/keystore.p12", b"\x30\x82\x01\xde\xad\xbe\xef")];

pub(crate) const TWO_VIEWS: &Expected = &[("migrate", API), ("api", API), ("audit", &[("0440", "token", b"s3cr3t-sink")])];

pub(crate) const DENIAL: &[&str] = &[
    "keyvault-injector found 6 problems with this pod:",
    "- annotation keyvault-injector.io/secret is unknown; did you mean keyvault-injector.io/secrets?",
    "- annotation keyvault-injector.io/secrets: item 1 \"my_secret\": \"my_secret\" is not a Key Vault object name: 1 to 127 letters, digits and hyphens",
    "- annotation keyvault-injector.io/secrets: item 2 \"12345\": a reference is expected here, not a bare number: write it in quotes, \"12345\"",
    "- annotation keyvault-injector.io/secrets: item 5 \"stripe-key\": contaners: unknown key; did you mean containers?",
    "- annotation keyvault-injector.io/mount-path: \"/etc/secrets\" is not a mount path: neither / nor in or above /etc, /usr, /bin, /sbin, /lib, /lib32, /lib64, /libx32, /dev, /proc, /sys, /run/secrets, /var/run/secrets or /keyvault-injector",
    "- annotation keyvault-injector.io/secrets: item 3 \"db-password\" and item 4 \"stripe-key\" both become the file password of container shop: give one of them another file",
];

/// The classes and objects that the agent's termination message begins its lines with.
pub(crate) const NIGHT: &[&str] = &["disabled payments-dev/bank-token: ", "rbac payroll/salaries: ", "not-found payments-dev/db-pasword: "];

/// Ends the demo where something is not as it should be.
pub(crate) fn expect<T: PartialEq + std::fmt::Debug + ?Sized>(what: &str, found: &T, wanted: &T) -> Result<()> {
    if found == wanted { Ok(()) } else { Err(format!("{what} is {found:?} instead of {wanted:?}").into()) }
}

/// Every container sees its files and no others.
pub(crate) fn expect_files(started: &Started, expected: &Expected) -> Result<()> {
    expect("the agent's exit code", &started.code, &Some(0)).map_err(|error| format!("{error}; its log: {}", started.log))?;
    let consumers = started.consumers()?;
    expect(
        "the list of containers with files",
        &consumers.iter().map(|(container, ..)| *container).collect::<Vec<_>>(),
        &expected.iter().map(|(container, _)| *container).collect(),
    )?;
    for ((container, mount, volume), (_, files)) in consumers.iter().zip(expected) {
        expect(&format!("the mount path of {container}"), *mount, "/keyvault")?;
        let seen = |(mode, file, content): &(&str, &str, &[u8])| Seen { file: (*file).into(), mode: (*mode).into(), content: content.to_vec() };
        expect(&format!("what {container} finds"), &started.files(volume)?, &files.iter().map(seen).collect())?;
    }
    Ok(())
}
