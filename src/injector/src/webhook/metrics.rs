//! Counters. Labels are words from closed lists: no namespace, pod or vault can make the series grow.

use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use keyvault_mutation::nodes::NodeFeature;

/// Everything the webhook counts.
pub struct Metrics {
    registry: Registry,
    reviews: Family<[(&'static str, &'static str); 1], Counter>,
    seconds: Histogram,
    in_flight: Gauge,
    warnings: Counter,
    policy_findings: Counter,
    namespace_problems: Counter,
    lookups: Family<[(&'static str, &'static str); 1], Counter>,
    reload_failures: Counter,
    certificate_expiry: Gauge,
    uninjected_found: Counter,
    uninjected: Gauge,
    certificate_renewals: Counter,
    ca_bundle_repairs: Counter,
    nodes_can: Family<[(&'static str, &'static str); 1], Gauge>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let mut metrics = Metrics {
            registry: Registry::with_prefix("keyvault_injector"),
            reviews: Family::default(),
            seconds: Histogram::new([0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0]),
            in_flight: Gauge::default(),
            warnings: Counter::default(),
            policy_findings: Counter::default(),
            namespace_problems: Counter::default(),
            lookups: Family::default(),
            reload_failures: Counter::default(),
            certificate_expiry: Gauge::default(),
            uninjected_found: Counter::default(),
            uninjected: Gauge::default(),
            certificate_renewals: Counter::default(),
            ca_bundle_repairs: Counter::default(),
            nodes_can: Family::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("reviews", "Requests answered, by outcome", self.reviews.clone());
        registry.register_with_unit("review_duration", "Time from a review's last byte to its answer", Unit::Seconds, self.seconds.clone());
        registry.register("reviews_in_flight", "Requests being read or answered", self.in_flight.clone());
        registry.register("warnings", "Warnings given to pods' authors", self.warnings.clone());
        registry.register("policy_findings", "What policy would have denied, had its mode been enforce", self.policy_findings.clone());
        registry.register("namespace_problems", "Bad annotations of Namespaces met in reviews", self.namespace_problems.clone());
        registry.register("lookups", "Questions to the API server for what the caches lacked, by result", self.lookups.clone());
        registry.register("certificate_reload_failures", "Times the certificate files could not be served", self.reload_failures.clone());
        registry.register(
            "uninjected_pods_found",
            "Pods found that ask for injection and run without it, each reported by an Event",
            self.uninjected_found.clone(),
        );
        registry.register(
            "uninjected_pods",
            "Pods that ask for injection and run without it, as the lease's holder sees them",
            self.uninjected.clone(),
        );
        registry.register("certificate_renewals", "Serving certificates that this replica made", self.certificate_renewals.clone());
        registry.register("ca_bundle_repairs", "Times this replica set caBundle in the registration", self.ca_bundle_repairs.clone());
        registry.register("nodes_can", "1 while every schedulable Linux node can do it, else 0, by feature that is auto", self.nodes_can.clone());
        let help = "When the certificate being served expires, in seconds since 1970";
        registry.register_with_unit("certificate_expiry", help, Unit::Seconds, self.certificate_expiry.clone());
    }

    /// The text that Prometheus reads.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a String takes everything that is written to it")]
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a String cannot fail");
        text
    }

    /// The certificate being served expires at this many seconds after 1970.
    pub fn certificate_expires(&self, at: i64) {
        self.certificate_expiry.set(at);
    }

    /// The certificate files could not be served.
    pub fn certificate_reload_failed(&self) {
        self.reload_failures.inc();
    }

    /// One more pod was found that asks for injection and does not have it.
    pub fn uninjected_pod_found(&self) {
        self.uninjected_found.inc();
    }

    /// So many such pods are there now.
    pub fn uninjected_pods(&self, count: usize) {
        self.uninjected.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// This replica made a serving certificate.
    pub fn certificate_renewed(&self) {
        self.certificate_renewals.inc();
    }

    /// This replica set `caBundle` in the registration.
    pub fn ca_bundle_repaired(&self) {
        self.ca_bundle_repairs.inc();
    }

    /// Whether every schedulable Linux node can do this.
    pub fn nodes_can(&self, feature: NodeFeature, all: bool) {
        self.nodes_can.get_or_create(&[("feature", feature.key())]).set(i64::from(all));
    }

    pub(super) fn answered(&self, outcome: &'static str) {
        self.reviews.get_or_create(&[("outcome", outcome)]).inc();
    }

    pub(super) fn took(&self, time: Duration) {
        self.seconds.observe(time.as_secs_f64());
    }

    pub(super) fn found(&self, warnings: usize, policy_findings: usize, namespace_problems: usize) {
        for (counter, count) in [(&self.warnings, warnings), (&self.policy_findings, policy_findings), (&self.namespace_problems, namespace_problems)]
        {
            counter.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
        }
    }

    pub(super) fn looked_up(&self, succeeded: bool) {
        self.lookups.get_or_create(&[("result", if succeeded { "ok" } else { "failed" })]).inc();
    }

    /// Counts a request as in flight until the guard is dropped.
    pub(super) fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }
}

/// A request in flight.
pub(super) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
