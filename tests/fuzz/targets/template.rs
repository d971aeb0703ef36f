//! The text of a template, as the webhook reads it and, where it cannot be made to repeat itself, as the agent renders it.

#![no_main]

use std::collections::HashMap;

use keyvault_client::Secret;
use keyvault_common::names::ObjectKind;
use keyvault_common::plan::{Encoding, PlanTemplate, Value};
use keyvault_common::secret::SecretValue;
use keyvault_common::template::Template;
use keyvault_delivery::format::{Object, Values, render};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(template) = Template::parse(text) else { return };
    assert_eq!(template.source().matches('\n').count(), text.matches('\n').count(), "lines stay where they are");
    // Blocks and operators let a template grow without bound, which is its author's own loss.
    if text.len() > 300 || text.contains(['%', '*', '~', '+']) {
        return;
    }
    let secret = Secret {
        value: SecretValue::from("{\"a\": [\"canary\"]}".to_owned()),
        content_type: None,
        of_certificate: false,
        file_encoding: Encoding::Utf8,
        version: String::new(),
    };
    let values: Values<'_> = HashMap::from([("0", Object::Secret(secret.into()))]);
    let mut planned = PlanTemplate { text: text.to_owned(), secrets: Default::default(), certificates: Default::default(), keys: Default::default() };
    for reference in template.references().iter().filter(|reference| reference.kind() == ObjectKind::Secret) {
        planned.name(ObjectKind::Secret, reference.name.clone(), "0".to_owned());
    }
    if let Err(error) = render(&Value::Template(planned), &values) {
        let error = error.to_string();
        assert!(text.contains("canary") || !error.contains("canary"), "an error shows a value: {error}");
        assert!(!error.contains("engine gave up"), "{error}");
    }
});
