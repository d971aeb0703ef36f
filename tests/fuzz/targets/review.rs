//! A whole review, bytes in and bytes out, within a budget of time and memory. The input is the body that an API server, or anybody, sends.

#![no_main]

use std::alloc::System;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cap::Cap;
use keyvault_injector::webhook::{FixedDefaults, Metrics, Reviewer};
use keyvault_mutation::config::Config;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// What a review may hold beside its body, and how long it may take with little optimisation.
const MEMORY: usize = 32 << 20;
const TIME: Duration = Duration::from_secs(1);
/// A patch holds at most the plan twice, and what it says of each container.
const ANSWER: usize = 1 << 20;

static REVIEWER: LazyLock<Reviewer> = LazyLock::new(|| {
    let text = "agent: {image: registry.example/injector:1}\nfeatures: {envFiles: \"on\"}\npolicy: {allowSharedIdentities: true}\n\
                defaults: {vault: demo, tenantId: aaaabbbb-1111-4222-8333-444455556666, clientId: 0f1e2d3c-1111-4222-8333-444455556666}\n";
    let config = Config::parse(text, "config.yaml").expect("the configuration is right");
    Reviewer::new(config, Arc::new(FixedDefaults::default()), Arc::new(Metrics::default()))
});

fuzz_target!(|body: &[u8]| {
    let reviewer = &*REVIEWER;
    let (held, started) = (ALLOCATOR.allocated(), Instant::now());
    // Over the limit an allocation fails, which ends the process.
    ALLOCATOR.set_limit(held + MEMORY).expect("the limit is over what is held");
    let answer = reviewer.respond(body);
    ALLOCATOR.set_limit(usize::MAX).expect("there is no limit");
    assert!(started.elapsed() <= TIME, "{:?}", started.elapsed());
    let Some(answer) = answer else { return };
    assert!(answer.len() <= ANSWER, "an answer of {} bytes", answer.len());
    let answer: Value = serde_json::from_slice(&answer).expect("an answer is JSON");
    let Some(patch) = answer["response"]["patch"].as_str() else { return };
    let patch: json_patch::Patch = serde_json::from_slice(&STANDARD.decode(patch).expect("base64")).expect("a patch");
    let Ok(mut review) = serde_json::from_slice::<Value>(body) else { return };
    json_patch::patch(&mut review["request"]["object"], &patch).expect("the patch applies");
    let again = reviewer.respond(review.to_string().as_bytes()).expect("the injected pod has an answer");
    let again: Value = serde_json::from_slice(&again).expect("an answer is JSON");
    assert!(again["response"]["allowed"] == true && again["response"]["patch"].is_null(), "a second pass changes nothing: {again}\n{review}");
});
