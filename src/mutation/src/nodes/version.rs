//! Versions as kubelets and container runtimes report them. Text that cannot be parsed counts as an unknown version.

use super::Release;

/// Major and minor number of `v1.36.3`, `v1.35.0-eks-113cf36`, `1.35`. What comes before a release (`-alpha`, `-beta`) may lack all of it.
pub(super) fn version_of(text: &str) -> Option<Release> {
    let text = text.trim();
    let mut parts = text.strip_prefix('v').unwrap_or(text).splitn(3, '.');
    let (major, minor) = (number(parts.next()?)?, parts.next()?);
    let patch = parts.next();
    // Some clusters report 1.35+.
    let minor = number(minor.strip_suffix('+').unwrap_or(minor))?;
    let Some(patch) = patch else { return Some((major, minor)) };
    let digits = patch.len() - patch.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (patch, rest) = patch.split_at(digits);
    number(patch)?;
    if !rest.is_empty() && !rest.starts_with(['-', '+', '.']) {
        return None;
    }
    let is_before = patch.bytes().all(|digit| digit == b'0') && (rest.starts_with("-alpha") || rest.starts_with("-beta"));
    Some((major, if is_before { minor.checked_sub(1)? } else { minor }))
}

/// Digits and nothing else: `parse` alone would take a sign.
fn number(text: &str) -> Option<u32> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// Whether `containerd://2.2.9` or `cri-o://1.33.1` is at least as new as it has to be. No other runtime is.
pub(super) fn runtime_at_least(text: &str, containerd: Release, cri_o: Release) -> bool {
    let least = |(name, version)| match name {
        "containerd" => Some((version_of(version)?, containerd)),
        "cri-o" => Some((version_of(version)?, cri_o)),
        _ => None,
    };
    text.split_once("://").and_then(least).is_some_and(|(version, least)| version >= least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_distributions_write_them() {
        for (text, expected) in [
            ("v1.36.3", (1, 36)),
            ("v1.35.0-eks-113cf36", (1, 35)),
            ("v1.35.2-gke.1234000", (1, 35)),
            ("v1.35.1+k3s1", (1, 35)),
            ("v1.35.0-rc.1+rke2r1", (1, 35)),
            ("1.35", (1, 35)),
            ("1.35+", (1, 35)),
            ("v1.25.0-vk-azure-aci-1.6.2", (1, 25)),
            ("v1.35.0-alpha.3", (1, 34)),
            ("v1.35.0-beta.0", (1, 34)),
            ("v1.35.1-alpha.1", (1, 35)),
            ("v2.0.0", (2, 0)),
        ] {
            assert_eq!(version_of(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_version_is_none() {
        for text in [
            "",
            "v",
            "v1",
            "1.",
            ".35",
            "v1.x.0",
            "v1.-35.0",
            "v1.+35.0",
            "v1.35.",
            "v1.35.x",
            "v1.35.0x",
            "v99999999999.1.0",
            "v1.99999999999.0",
            "vv1.35.0",
            "one.two",
            "v1.0.0-alpha.1",
            "1,35",
            "v1 35 0",
            "unknown",
            "v１.35.0",
        ] {
            assert_eq!(version_of(text), None, "{text:?}");
        }
    }

    #[test]
    fn runtimes_are_known_by_name() {
        let is_new = |text| runtime_at_least(text, (2, 1), (1, 33));
        for text in ["containerd://2.1.0", "containerd://2.2.9", "containerd://v2.1.4", "containerd://2.1.4-k3s1", "cri-o://1.33.1", "cri-o://2.0.0"]
        {
            assert!(is_new(text), "{text}");
        }
        for text in [
            "containerd://2.0.7",
            "containerd://1.7.27+unknown",
            "containerd://Unknown",
            "containerd://",
            "containerd",
            "cri-o://1.32.5",
            "docker://28.0.1",
            "frakti://9.9.9",
            "",
            "://2.1.0",
            "Containerd://2.2.0",
            "containerd://2.1.0-beta.0",
        ] {
            assert!(!is_new(text), "{text}");
        }
    }
}
