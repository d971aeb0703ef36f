//! The one place that looks at the clock.

use jiff::Timestamp;

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    u64::try_from(Timestamp::now().as_second()).unwrap_or_default()
}

/// The current year, for certificates.
pub(super) fn year() -> i32 {
    i32::from(Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).year())
}

/// As Entra writes times: `2026-11-21 03:39:45Z`.
pub(super) fn timestamp(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok()).unwrap_or_default();
    time.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}
