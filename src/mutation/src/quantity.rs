//! Kubernetes resource quantities, as far as comparing and adding them goes.

use std::fmt;
use std::str::FromStr;

use keyvault_common::names::{NameError, serde_text};

/// An amount of cpu, memory or storage. Keeps its spelling; compares by value.
#[derive(Clone, Debug)]
pub struct Quantity {
    text: String,
    milli: i128,
}

const SUFFIXES: [(&str, i128); 12] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
    ("Ei", 1 << 60),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000),
];

impl Quantity {
    /// So many mebibytes.
    #[must_use]
    pub fn mebibytes(count: u64) -> Quantity {
        Quantity { text: format!("{count}Mi"), milli: i128::from(count) * (1 << 20) * 1000 }
    }

    /// All of them together.
    #[must_use]
    pub fn sum<'q>(quantities: impl IntoIterator<Item = &'q Quantity>) -> Quantity {
        let milli = quantities.into_iter().fold(0i128, |sum, quantity| sum.saturating_add(quantity.milli));
        let units = milli / 1000;
        let text = match units {
            _ if milli % 1000 != 0 => format!("{milli}m"),
            0 => "0".to_owned(),
            _ if units % (1 << 20) == 0 => format!("{}Mi", units >> 20),
            _ => units.to_string(),
        };
        Quantity { text, milli }
    }

    /// Whether this is more than `ratio` times `base`.
    #[must_use]
    pub fn is_over(&self, ratio: &Quantity, base: &Quantity) -> bool {
        self.milli.saturating_mul(1000) > ratio.milli.saturating_mul(base.milli)
    }

    /// The value in whole units (bytes for memory), rounded up.
    #[must_use]
    pub fn units(&self) -> u64 {
        u64::try_from((self.milli + 999) / 1000).unwrap_or(u64::MAX)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Quantity) -> bool {
        self.milli == other.milli
    }
}
impl Eq for Quantity {}
impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Quantity) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Quantity {
    fn cmp(&self, other: &Quantity) -> std::cmp::Ordering {
        self.milli.cmp(&other.milli)
    }
}

impl FromStr for Quantity {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Quantity, NameError> {
        match milli(text) {
            Some(milli) => Ok(Quantity { text: text.to_owned(), milli }),
            None => Err(NameError::new("a resource quantity", text, "a number with a Kubernetes unit, such as 50m, 0.5, 16Mi or 1Gi")),
        }
    }
}

fn milli(text: &str) -> Option<i128> {
    let (number, scale, shift) = if let Some((suffix, scale)) = SUFFIXES.iter().find(|(suffix, _)| text.ends_with(*suffix)) {
        (&text[..text.len() - suffix.len()], *scale * 1000, 0)
    } else if let Some((suffix, shift)) = [("m", 0), ("u", 3), ("n", 6)].into_iter().find(|(suffix, _)| text.ends_with(suffix)) {
        (&text[..text.len() - suffix.len()], 1, shift)
    } else if let Some((number, exponent)) = text.split_once(['e', 'E']) {
        let exponent = exponent.parse::<i32>().ok().filter(|exponent| exponent.abs() <= 18)?;
        (number, 10i128.pow(exponent.max(0).unsigned_abs()) * 1000, exponent.min(0).unsigned_abs())
    } else {
        (text, 1000, 0)
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    if !(1..=19).contains(&digits().count()) || !digits().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number = digits().fold(0u64, |number, digit| number * 10 + u64::from(digit - b'0'));
    // Kubernetes caps what is too large, too.
    let scaled = i128::from(number).saturating_mul(scale);
    let divisor = 10i128.pow(u32::try_from(fraction.len()).ok()? + shift);
    Some(scaled.saturating_add(divisor - 1) / divisor)
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
serde_text!(Quantity);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_is_kept_and_values_compare() {
        let quantity = |text: &str| text.parse::<Quantity>().unwrap();
        assert_eq!(quantity("0.5"), quantity("500m"));
        assert_eq!(quantity("1Gi"), quantity("1024Mi"));
        assert_eq!(quantity("1e3"), quantity("1k"));
        assert_eq!(quantity("500e-3"), quantity("500m"));
        assert_eq!((quantity("5000u"), quantity("5000000n")), (quantity("5m"), quantity("5m")));
        assert!(quantity("9223372036854775807") < quantity("9223372036854775807Ei"));
        assert!(quantity("16Mi") < quantity("16.5Mi"));
        assert_eq!(quantity("16.5Mi").to_string(), "16.5Mi");
        assert_eq!(quantity("64Ki").units(), 65_536);
        assert_eq!(Quantity::mebibytes(2), quantity("2Mi"));
    }

    #[test]
    fn sums_are_written_as_kubernetes_writes_them() {
        let sum = |texts: &[&str]| Quantity::sum(&texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Quantity>>()).to_string();
        assert_eq!(sum(&[]), "0");
        assert_eq!(sum(&["50m", "0.5"]), "550m");
        assert_eq!(sum(&["1", "500m", "0.5"]), "2");
        assert_eq!(sum(&["1Gi", "16Mi"]), "1040Mi");
        assert_eq!(sum(&["16Mi", "1"]), "16777217");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "Mi", "-1", "1mi", "1 Gi", "1.2.3", "ten", "1e99", "99999999999999999999", "1e", "n"] {
            assert!(text.parse::<Quantity>().is_err(), "{text:?} was accepted");
        }
    }
}
