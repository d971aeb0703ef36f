//! The plan, which anybody who may write a pod can write in the webhook's stead.

#![no_main]

use keyvault_common::plan::Plan;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(plan) = Plan::from_json(text) else { return };
    let written = plan.to_json().expect("a plan can be written");
    assert!(Plan::from_json(&written).is_ok_and(|again| again == plan), "what was written is the same plan");
});
