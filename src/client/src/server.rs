//! The far end of a request, as messages name it: with the address that was really talked to.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// No message names more addresses.
const MOST_SHOWN: usize = 3;

/// Whom a request went to. Its `Display` is `payments-prod.vault.azure.net (10.0.0.4)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Host and port, as the request has them.
    pub authority: String,
    /// What is known of the way there.
    pub way: Way,
}

/// The way to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// Nothing is known: no connection was tried yet.
    Unknown,
    /// The address that was reached, or all that were tried.
    Addresses(Vec<IpAddr>),
    /// Through this proxy, without its password: what the name means is the proxy's business.
    Proxy(String),
}

impl Server {
    /// Whether every address is one of the Internet. A private endpoint has one of the network's own.
    pub(super) fn is_public(&self) -> bool {
        matches!(&self.way, Way::Addresses(addresses) if !addresses.is_empty() && addresses.iter().all(is_public))
    }
}

impl From<&str> for Server {
    fn from(authority: &str) -> Server {
        Server { authority: authority.to_owned(), way: Way::Unknown }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority)?;
        match &self.way {
            Way::Unknown => Ok(()),
            Way::Proxy(proxy) => write!(f, " (through proxy {})", proxy.trim_end_matches('/')),
            Way::Addresses(addresses) => {
                // An authority that is an address has been named already.
                let shown: Vec<String> = addresses.iter().map(ToString::to_string).filter(|text| !self.authority.contains(text)).collect();
                match shown.len().checked_sub(MOST_SHOWN) {
                    _ if shown.is_empty() => Ok(()),
                    Some(more) if more > 0 => write!(f, " ({} and {more} more)", shown[..MOST_SHOWN].join(", ")),
                    _ => write!(f, " ({})", shown.join(", ")),
                }
            }
        }
    }
}

fn is_public(address: &IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            !(v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified() || shared)
        }
        IpAddr::V6(v6) => !(v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_unspecified()),
    }
}

/// Where a connection goes while it is being made: all addresses of the name at first, then the one that was reached.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes(Arc<Mutex<Vec<IpAddr>>>);

impl Notes {
    pub(super) fn replace(&self, addresses: Vec<IpAddr>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    pub(super) fn add(&self, addresses: &[IpAddr]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(addresses);
    }

    pub(super) fn way(&self) -> Way {
        Way::Addresses(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(addresses: &[&str]) -> Server {
        Server { authority: "p.vault.azure.net".to_owned(), way: Way::Addresses(addresses.iter().map(|text| text.parse().unwrap()).collect()) }
    }

    #[test]
    fn an_address_follows_the_name_and_at_most_three_are_shown() {
        for (addresses, expected) in [
            (&[][..], "p.vault.azure.net"),
            (&["10.0.0.4"], "p.vault.azure.net (10.0.0.4)"),
            (&["10.0.0.4", "10.0.0.5", "fd00::1"], "p.vault.azure.net (10.0.0.4, 10.0.0.5, fd00::1)"),
            (&["1.0.0.1", "1.0.0.2", "1.0.0.3", "1.0.0.4", "1.0.0.5"], "p.vault.azure.net (1.0.0.1, 1.0.0.2, 1.0.0.3 and 2 more)"),
        ] {
            assert_eq!(server(addresses).to_string(), expected);
        }
        let proxied = Server { way: Way::Proxy("http://proxy:3128/".to_owned()), ..server(&[]) };
        assert_eq!(proxied.to_string(), "p.vault.azure.net (through proxy http://proxy:3128)");
        let literal = Server { authority: "127.0.0.1:80".to_owned(), ..server(&["127.0.0.1"]) };
        assert_eq!(literal.to_string(), "127.0.0.1:80");
    }

    #[test]
    fn a_public_address_is_distinguished_from_those_of_a_private_endpoint() {
        for (addresses, expected) in [
            (&["20.61.98.1"][..], true),
            (&["2603:1020::1"], true),
            (&["20.61.98.1", "10.0.0.4"], false),
            (&["10.0.0.4"], false),
            (&["172.16.0.4"], false),
            (&["192.168.0.4"], false),
            (&["100.64.0.4"], false),
            (&["::ffff:10.0.0.4"], false),
            (&["fd00::4"], false),
            (&["127.0.0.1"], false),
            (&[], false),
        ] {
            assert_eq!(server(addresses).is_public(), expected, "{addresses:?}");
        }
        assert!(!Server::from("20.61.98.1").is_public());
    }
}
