//! Dates as people and programs read them.

use std::time::SystemTime;

/// `2026-11-21T10:00:00Z`.
pub(super) fn rfc3339(time: SystemTime) -> String {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    // Sun, 06 Nov 1994 08:49:37 GMT
    let date = httpdate::fmt_http_date(time);
    let month = MONTHS.find(&date[8..11]).map_or(0, |at| at / 3 + 1);
    format!("{}-{month:02}-{}T{}Z", &date[12..16], &date[5..7], &date[17..25])
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn dates_are_those_of_the_standard() {
        for (seconds, expected) in [(0, "1970-01-01T00:00:00Z"), (784_111_777, "1994-11-06T08:49:37Z"), (1_709_164_799, "2024-02-28T23:59:59Z")] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
    }
}
