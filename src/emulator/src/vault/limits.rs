//! Key Vault's limits.

/// Characters of a secret's value.
pub(crate) const VALUE_CHARS: usize = 25_600;
/// Characters of a content type.
pub(super) const CONTENT_TYPE_CHARS: usize = 255;
/// Tags of an object.
pub(super) const TAGS: usize = 15;
/// Characters of a tag's key, and of its value.
pub(super) const TAG_CHARS: usize = 256;
/// Items of a page, at most and by default.
pub(super) const PAGE: usize = 25;
/// Days for which a deleted object can be recovered.
pub(super) const RECOVERABLE_DAYS: u64 = 90;
