//! What is logged: who and what came of it, never what a pod holds.

use std::io;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::Request;
use keyvault_injector::webhook::{Decide, FixedDefaults, Limits, Metrics};
use keyvault_mutation::inject::{Denial, Injection, Outcome};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::common::{app_with, core, nothing, pod, review, review_of};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Everything that is logged and counted over some requests.
async fn logged(decide: Box<Decide>, bodies: impl IntoIterator<Item = String>) -> (Vec<Value>, String) {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || writer.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let metrics = Arc::new(Metrics::default());
    let app = app_with(decide, Arc::new(FixedDefaults::default()), Arc::clone(&metrics), Limits::default());
    for body in bodies {
        let request = Request::post("/mutate").header("content-type", "application/json").body(Body::from(body)).unwrap();
        app.clone().oneshot(request).await.unwrap();
    }
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let everything = format!("{text}{}", metrics.text());
    (text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), everything)
}

/// The fields that matter of the one line there is.
fn fields(lines: &[Value]) -> Value {
    assert_eq!(lines.len(), 1, "{lines:?}");
    let mut line = lines[0].clone();
    assert!(line["milliseconds"].as_f64().unwrap() >= 0.0);
    for name in ["timestamp", "target", "milliseconds"] {
        line.as_object_mut().unwrap().remove(name);
    }
    line
}

#[tokio::test]
async fn one_line_says_who_asked_and_what_came_of_it() {
    let decide = || core(|_, _| Ok(Injection { outcome: Outcome::Injected, warnings: vec!["w".to_owned()], replaced: true, ..nothing() }));
    let (lines, _) = logged(decide(), [review().to_string()]).await;
    assert_eq!(
        fields(&lines),
        json!({
            "level": "INFO", "message": "review", "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "namespace": "payments",
            "pod": "ReplicaSet/web-7d9f", "outcome": "injected", "dry_run": false, "warnings": 1, "replaced": true,
        })
    );
    let mut bare = pod();
    bare["metadata"].as_object_mut().unwrap().remove("ownerReferences");
    assert_eq!(fields(&logged(decide(), [review_of(&bare).to_string()]).await.0)["pod"], "web-7d9f-*");
    bare["metadata"]["name"] = json!("web-0");
    let mut dry = review_of(&bare);
    dry["request"]["dryRun"] = json!(true);
    let line = fields(&logged(decide(), [dry.to_string()]).await.0);
    assert_eq!((&line["pod"], &line["dry_run"]), (&json!("web-0"), &json!(true)));
}

#[tokio::test]
async fn no_line_and_no_metric_carries_what_a_pod_holds() {
    let canary = || "canary-text".to_owned();
    let decisions: [Box<Decide>; 2] = [
        core(move |_, _| {
            let patch = serde_json::from_value(json!([{"op": "add", "path": "/canary-path", "value": "canary-patch"}])).unwrap();
            Ok(Injection { patch, warnings: vec![canary()], audit: vec![("objects", canary())], ..nothing() })
        }),
        core(|_, _| panic!("canary-panic")),
    ];
    for decide in decisions {
        let (lines, everything) = logged(decide, [review().to_string()]).await;
        assert_eq!(lines.len(), 1, "one line for a review");
        assert!(!everything.contains("canary"), "{everything}");
    }
    let mut broken = review();
    broken["request"]["object"]["spec"]["containers"] = json!("canary");
    for body in ["{\"canary\":canary}".to_owned(), "\"canary\"".to_owned(), broken.to_string(), "canary".repeat(1 << 20)] {
        let (lines, everything) = logged(core(|_, _| Ok(nothing())), [body]).await;
        assert_eq!(lines.len(), 1, "one line for a request");
        assert!(!everything.contains("canary"), "{everything}");
    }
}

#[tokio::test]
async fn the_line_of_a_denial_says_why_and_is_bounded() {
    let decide =
        core(|_, _| Err(Denial { problems: vec!["no vault is named".to_owned(), "no such container".to_owned()], more: 0, rests_on_absence: false }));
    let line = fields(&logged(decide, [review().to_string()]).await.0);
    assert_eq!((&line["outcome"], &line["problems"]), (&json!("denied"), &json!("no vault is named\nno such container")));
    let decide = core(|_, _| Err(Denial { problems: vec!["p".to_owned(); 50], more: 950, rests_on_absence: false }));
    let line = fields(&logged(decide, [review().to_string()]).await.0);
    assert_eq!(line["problems"], json!(format!("{}and 990 more", "p\n".repeat(10))));
}

#[tokio::test]
async fn a_name_from_outside_cannot_make_a_line_long() {
    let mut long = pod();
    long["metadata"]["ownerReferences"][0]["name"] = json!("n".repeat(1 << 20));
    let mut long = review_of(&long);
    long["request"]["uid"] = json!("u".repeat(1 << 20));
    let line = fields(&logged(core(|_, _| Ok(nothing())), [long.to_string()]).await.0);
    assert_eq!(line["uid"], format!("{}…", "u".repeat(250)));
    assert_eq!(line["pod"], format!("ReplicaSet/{}…", "n".repeat(250)));
}

#[tokio::test]
async fn a_text_from_outside_cannot_forge_a_line() {
    let mut forged = review();
    forged["request"]["uid"] = json!("1\n{\"message\":\"forged\"}");
    let (lines, _) = logged(core(|_, _| Ok(nothing())), [forged.to_string()]).await;
    assert_eq!(fields(&lines)["uid"], "1\n{\"message\":\"forged\"}");
}

#[tokio::test]
async fn a_bad_annotation_of_a_namespace_is_reported_once() {
    let decide = core(|_, _| Ok(Injection { namespace_problems: vec!["bad refresh".to_owned()], ..nothing() }));
    let mut elsewhere = review();
    elsewhere["request"]["namespace"] = json!("billing");
    let (lines, everything) = logged(decide, [review(), review(), elsewhere].map(|review| review.to_string())).await;
    let told: Vec<_> = lines.iter().filter(|line| line["level"] == "WARN").map(|line| (&line["namespace"], &line["problem"])).collect();
    assert_eq!(told, [(&json!("payments"), &json!("bad refresh")), (&json!("billing"), &json!("bad refresh"))]);
    assert!(everything.contains("keyvault_injector_namespace_problems_total 3\n"));
}
