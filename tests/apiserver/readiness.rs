//! When a replica calls itself ready.

use std::time::{Duration, Instant};

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::Api;
use kube::api::DeleteParams;

use crate::cluster::{Cluster, Injector, OPTED_IN, Setup, registration, until};

const SELF_MANAGED: &str = "{selfManaged: {names: [127.0.0.1]}}";

async fn start(cluster: &Cluster, namespace: &str, server: &str, token: Option<&str>) -> Injector {
    Injector::start(cluster, &Setup { namespace, tls: SELF_MANAGED, loopback: None, agent: "", config: "", server, token }).await
}

#[tokio::test]
async fn without_a_registration_there_is_nothing_to_wait_for() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("unregistered", &[OPTED_IN]).await;
    let server = format!("  registration: {}\n", cluster.name("zz-absent"));
    start(cluster, &namespace, &server, None).await.ready().await;
}

#[tokio::test]
async fn a_replica_is_ready_within_a_second_and_stays_so() {
    let cluster = Cluster::own().await;
    let namespace = cluster.namespace("quick", &[OPTED_IN]).await;
    for _ in 0..80 {
        cluster.namespace("other", &[]).await;
    }
    let name = cluster.name("zz-quick");
    cluster.create_registration(&registration(&name, &namespace, "127.0.0.1:1", None)).await;
    let server = format!("  registration: {name}\n");
    let mut took = Vec::new();
    let mut last = None;
    for _ in 0..3 {
        let started = Instant::now();
        let replica = start(&cluster, &namespace, &server, None).await;
        replica.ready().await;
        took.push(started.elapsed());
        last = Some(replica);
    }
    println!("from start to ready with 80 namespaces, the first one making the CA: {took:?}");
    assert!(took.iter().min().unwrap() < &Duration::from_secs(1), "{took:?}");

    // An API server that is away keeps the last answer; so does a registration that comes and goes.
    let replica = last.unwrap();
    let registrations: Api<MutatingWebhookConfiguration> = Api::all(cluster.client().await);
    registrations.delete(&name, &DeleteParams::default()).await.unwrap();
    cluster.stop_api_server();
    replica.line_with("a watch was interrupted").await;
    assert_eq!(replica.get("/ready").await.unwrap().0, 200);
    cluster.start_api_server();
    cluster.create_registration(&registration(&name, &namespace, "127.0.0.1:1", None)).await;
    let bundle = async || {
        let registration = registrations.get_opt(&name).await.ok()??;
        registration.webhooks?.first()?.client_config.ca_bundle.clone()
    };
    until("caBundle after the API server came back", bundle).await;
    assert_eq!(replica.get("/ready").await.unwrap().0, 200);
}

#[tokio::test]
async fn a_replica_that_may_not_read_is_alive_unready_and_says_why() {
    let cluster = Cluster::shared().await;
    let namespace = cluster.namespace("forbidden", &[OPTED_IN]).await;
    let token = cluster.kubectl(&["-n", &namespace, "create", "token", "default"]).await.ok();
    let loopback = crate::cluster::Loopback::new();
    let name = cluster.name("zz-forbidden");
    let server = format!("  registration: {name}\n");
    let replica = Injector::start(cluster, &Setup { server: &server, token: Some(token.trim()), ..Setup::files(&namespace, &loopback) }).await;
    replica.line_with("a watch was interrupted").await;
    assert_eq!(replica.get("/live").await.unwrap().0, 200);
    assert_eq!(replica.get("/ready").await.unwrap().0, 503);
}
