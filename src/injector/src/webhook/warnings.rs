//! Warnings as the API server passes them on: whole up to 4096 characters in all; beyond that it cuts each at 256 and then drops the rest.
//! We cut first, in its way, and say where the whole text is.

use std::borrow::Cow;

const TOTAL: usize = 4096;
const EACH: usize = 256;
const REST: &str = "there are more warnings: see the pod's annotation keyvault-injector.io/warnings";

/// The warnings that fit.
pub(super) fn fit(warnings: &[String]) -> Vec<Cow<'_, str>> {
    let length = |text: &str| text.chars().count();
    if warnings.iter().map(|warning| length(warning)).sum::<usize>() <= TOTAL {
        return warnings.iter().map(|warning| Cow::Borrowed(warning.as_str())).collect();
    }
    let mut left = TOTAL - length(REST);
    let mut fitting = Vec::new();
    for warning in warnings {
        let cut = cut(warning);
        let Some(rest) = left.checked_sub(length(&cut)) else { break };
        left = rest;
        fitting.push(cut);
    }
    fitting.push(Cow::Borrowed(REST));
    fitting
}

fn cut(warning: &str) -> Cow<'_, str> {
    match warning.char_indices().nth(EACH) {
        None => Cow::Borrowed(warning),
        Some(_) => Cow::Owned(warning.chars().take(EACH - 1).chain(['…']).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_stays_whole() {
        let warnings = ["x".repeat(4000), "é".repeat(96)];
        assert_eq!(fit(&warnings), warnings);
    }

    #[test]
    fn what_does_not_fit_is_cut_and_says_so() {
        let warnings = vec!["é".repeat(300); 20];
        let fitted = fit(&warnings);
        assert!(fitted.iter().map(|warning| warning.chars().count()).sum::<usize>() <= TOTAL);
        assert_eq!(fitted[0], format!("{}…", "é".repeat(255)));
        assert_eq!((fitted.len(), fitted.last().unwrap().as_ref()), (16, REST));
    }
}
