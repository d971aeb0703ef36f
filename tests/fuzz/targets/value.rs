//! A secret's value, every way in which it may be taken. The first line of the input is the path of a property.

#![no_main]

use std::collections::{BTreeMap, HashMap};

use keyvault_client::Secret;
use keyvault_common::plan::{Encoding, PlanTemplate, Value};
use keyvault_common::secret::SecretValue;
use keyvault_delivery::format::{Object, Rendered, Values, render};
use libfuzzer_sys::fuzz_target;

const FILTERS: [&str; 7] = ["b64decode", "b64encode", "dotenv", "json", "properties", "shell", "urlencode"];

fuzz_target!(|text: &str| {
    let (path, stored) = text.split_once('\n').unwrap_or(("", text));
    let secret = Secret {
        value: SecretValue::from(stored.to_owned()),
        content_type: None,
        of_certificate: false,
        file_encoding: Encoding::Utf8,
        version: String::new(),
    };
    let values: Values<'_> = HashMap::from([("0", Object::Secret(secret.into()))]);
    let property = path.parse().ok();
    for encoding in [Encoding::Utf8, Encoding::Base64, Encoding::Hex] {
        for property in [None, property.clone()] {
            let bare = property.is_none() && encoding == Encoding::Utf8;
            let result = render(&Value::Object { id: "0".to_owned(), property, encoding }, &values);
            assert!(!bare || result == Ok(Rendered::File(SecretValue::from(stored.to_owned()))), "bytes in are bytes out");
        }
    }
    // One of them for an input: each template has a separate thread, which takes time.
    let filter = FILTERS[text.len() % FILTERS.len()];
    let template = PlanTemplate {
        text: format!("${{ secret('s') | {filter} }}"),
        secrets: BTreeMap::from([("s".to_owned(), "0".to_owned())]),
        certificates: BTreeMap::new(),
        keys: BTreeMap::new(),
    };
    let result = render(&Value::Template(template), &values);
    if let ("json", Ok(Rendered::File(json))) = (filter, &result) {
        assert_eq!(serde_json::from_slice::<String>(json.expose()).ok().as_deref(), Some(stored), "json quotes what stands there");
    }
    if let Err(error) = result {
        assert!(!error.to_string().contains("engine failed"), "{error}");
    }
});
