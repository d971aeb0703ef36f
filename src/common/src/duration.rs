//! Durations as people write them: `30s`, `2m`, `1h30m`, `500ms`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::names::{NameError, serde_text};

/// A length of time with a spelling that survives a round trip through a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(Duration);

impl Span {
    /// So many whole seconds.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Span {
        Span(Duration::from_secs(seconds))
    }

    /// As the standard library has it.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl FromStr for Span {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Span, NameError> {
        parse(text).map(|ms| Span(Duration::from_millis(ms))).ok_or_else(|| {
            NameError::new("a duration", text, "whole numbers with units, largest first, such as 30s, 2m or 1h30m (units h, m, s, ms)")
        })
    }
}

fn parse(text: &str) -> Option<u64> {
    let (mut rest, mut total, mut units) = (text, 0u64, UNITS.as_slice());
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (unit, tail) = tail.split_at(letters);
        let index = units.iter().position(|(name, _)| *name == unit)?;
        total = number.parse::<u64>().ok()?.checked_mul(units[index].1)?.checked_add(total)?;
        units = &units[index + 1..];
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, size) in UNITS {
            let count = rest / size;
            rest %= size;
            if count > 0 {
                write!(f, "{count}{unit}")?;
            }
        }
        Ok(())
    }
}
serde_text!(Span);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_survives_and_is_made_canonical() {
        for (text, ms, canonical) in
            [("2m", 120_000, "2m"), ("90s", 90_000, "1m30s"), ("1h30m", 5_400_000, "1h30m"), ("500ms", 500, "500ms"), ("0s", 0, "0s")]
        {
            let span: Span = text.parse().unwrap();
            assert_eq!((span.get().as_millis(), span.to_string().as_str()), (ms, canonical), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "2", "m", "2 m", "2m1h", "1m1m", "-2m", "1.5h", "2d", "99999999999999999999h", "9999999999999999h"] {
            assert!(text.parse::<Span>().is_err(), "{text:?} was accepted");
        }
    }
}
