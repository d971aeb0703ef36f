//! Random identifiers.

/// 32 hexadecimal digits, as object versions have them.
pub(super) fn hex() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// A GUID, as requests and traces have them.
pub(super) fn guid() -> String {
    let hex = hex();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
