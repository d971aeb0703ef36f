//! The admission webhook: AdmissionReview in, pure core, AdmissionReview out.
//!
//! `request` and `answer` are the wire, `reviewer` joins them with the core and adds what that may not know (defaults, time), `report` is the log line
//! and the counters, `router` is HTTP with its limits, `health` the plain port beside it. Where defaults come from is a trait, [`Defaults`].

mod answer;
mod defaults;
mod files;
mod health;
mod lookout;
mod metrics;
mod referrals;
mod report;
mod request;
mod reviewer;
mod room;
mod router;
mod runtime;
mod warnings;

pub use defaults::{Defaults, LookupError, PodDefaults, account_defaults, namespace_defaults};
pub use files::{FixedDefaults, ManifestError};
pub use health::{Health, health_router};
pub use metrics::Metrics;
pub use request::Malformed;
pub use reviewer::{Decide, Reviewer};
pub use router::{Limits, router};
pub use runtime::{runtime, serve_health};
