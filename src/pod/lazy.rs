//! Fields that few reviews look into.

use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// A field that is kept as it stood in the request and read when somebody asks: most containers are given no variables.
#[derive(Clone, Copy, Debug)]
pub struct Lazy<'a, T> {
    raw: &'a RawValue,
    read: PhantomData<fn() -> T>,
}

impl<'de: 'a, 'a, T> Deserialize<'de> for Lazy<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Lazy<'a, T>, D::Error> {
        <&'de RawValue>::deserialize(deserializer).map(|raw| Lazy { raw, read: PhantomData })
    }
}

impl<'a, T: Deserialize<'a>> Lazy<'a, T> {
    /// What it holds; `None` where that is something else.
    #[must_use]
    pub fn read(&self) -> Option<T> {
        serde_json::from_str(self.raw.get()).ok()
    }

    /// Whether it may hold a text, without reading it. Where there are escapes it may hold any text.
    #[must_use]
    pub fn mentions(&self, text: &str) -> bool {
        let raw = self.raw.get();
        raw.contains(text) || raw.contains('\\')
    }
}
