//! Who the agent signs in as.

use serde_json::{Value, json};

use crate::world::{APP, APPLICATION_KEY, AUDIENCE, MANAGED, Plan, STRANGER, TENANT, World, application_certificate};

fn as_identity(world: &World, identity: Value) -> Plan {
    world.plan_for(&["db-password"]).with("/identity", identity)
}

fn workload(client: &str, tenant: &str) -> Value {
    json!({"workloadIdentity": {"clientId": client, "tenantId": tenant, "tokenFile": "/token/token"}})
}

#[test]
fn a_service_principal_signs_in_with_its_mounted_secret() {
    let world = World::new();
    for (file, text) in [("client-id", APP), ("tenant-id", TENANT), ("client-secret", "canary-client-secret\n")] {
        world.put(&format!("principal/{file}"), text);
    }
    let identity = json!({"servicePrincipal": {"directory": "/principal"}});
    let run = world.run(&as_identity(&world, identity.clone()));
    assert_eq!(run.code, 0, "{}", run.log);

    world.put("principal/client-secret", "canary-wrong");
    let run = world.run(&as_identity(&world, identity));
    assert_eq!(run.code, 78, "{}", run.log);
    let root = world.root.path().canonicalize().unwrap();
    let start = format!(
        "auth demo/db-password: Entra at {} refused client {APP} of tenant {TENANT} with the client secret of the Secret in {}/principal: AADSTS7000215: Invalid client secret provided.",
        world.entra(),
        root.display()
    );
    assert!(run.termination.starts_with(&start), "{}", run.termination);
    assert_eq!(world.calls("entra"), json!({"200": 1, "401": 1}), "a wrong secret is not tried again");
}

#[test]
fn a_service_principal_signs_in_with_its_mounted_certificate() {
    let world = World::new();
    let certificate = application_certificate();
    for (file, text) in [("client-id", APP), ("tenant-id", TENANT), ("client-certificate", &format!("{certificate}{APPLICATION_KEY}"))] {
        world.put(&format!("principal/{file}"), text);
    }
    let plan = || as_identity(&world, json!({"servicePrincipal": {"directory": "/principal", "secret": "web-sp"}}));
    let run = world.run(&plan());
    assert_eq!(run.code, 0, "{}", run.log);
    assert_eq!((world.calls("entra"), world.calls("vault")), (json!({"200": 1}), json!({"200": 1})));

    // Another pair, which the application does not know.
    let stranger = rcgen::KeyPair::from_pem(include_str!("../fixtures/sa.key.pem")).unwrap();
    let unknown = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&stranger).unwrap().pem();
    world.put("principal/client-certificate", &format!("{}{unknown}", include_str!("../fixtures/sa.key.pem")));
    let run = world.run(&plan());
    assert_eq!(run.code, 78, "{}", run.log);
    let who = format!("refused client {APP} of tenant {TENANT} with the certificate of Secret web-sp (thumbprint ");
    assert!(run.termination.contains(&who) && run.termination.contains(": AADSTS700027: "), "{}", run.termination);
}

#[test]
fn a_service_principal_whose_secret_is_missing_fails_by_the_deadline_and_says_which() {
    let world = World::new();
    let identity = json!({"servicePrincipal": {"directory": "/principal", "secret": "web-sp"}});
    let plan = || as_identity(&world, identity.clone()).with("/deadline", json!("1s"));
    let place = world.root.path().canonicalize().unwrap().join("principal").display().to_string();
    let ids = [("client-id", APP), ("tenant-id", TENANT)];
    for (file, missing) in [
        (Some(ids[0]), "no key client-id"),
        (Some(ids[1]), "no key tenant-id"),
        (None, "neither the key client-secret nor the key client-certificate"),
    ] {
        let run = world.run(&plan());
        assert_eq!(run.code, 78, "{}", run.log);
        let start = format!("auth demo/db-password: Secret web-sp does not exist or has {missing}: looked for in {place} (");
        assert!(run.termination.starts_with(&start) && run.termination.contains("deadline)"), "{}", run.termination);
        if let Some((file, text)) = file {
            world.put(&format!("principal/{file}"), text);
        }
    }

    // What is there and wrong is not waited for, and not shown.
    world.put("principal/client-certificate", "-----BEGIN PRIVATE KEY-----\ncanary!\n-----END PRIVATE KEY-----\n");
    let run = world.run(&as_identity(&world, identity.clone()).with("/deadline", json!("10m")));
    let start = "auth demo/db-password: key client-certificate of Secret web-sp cannot be used: it is not PEM text: ";
    assert!(run.code == 78 && run.termination.starts_with(start), "{}", run.termination);
    assert_eq!(world.calls("entra"), Value::Null, "nobody was asked");

    // The Secret comes while the agent waits.
    std::fs::remove_file(world.path("principal/client-certificate")).unwrap();
    std::thread::scope(|scope| {
        let agent = scope.spawn(|| world.run(&as_identity(&world, identity)));
        world.put("principal/client-secret", "canary-client-secret");
        let run = agent.join().unwrap();
        assert_eq!(run.code, 0, "{}", run.log);
    });
}

#[test]
fn a_managed_identity_is_picked_by_any_of_its_names() {
    let world = World::new();
    for identity in [
        world.system_assigned(),
        world.managed(json!({"clientId": MANAGED})),
        world.managed(json!({"objectId": "44444444-4444-4444-4444-444444444444"})),
        world.managed(json!({"resourceId": "/subscriptions/s/app"})),
        json!({"podIdentity": {"endpoint": world.system_assigned()["managedIdentity"]["endpoint"]}}),
    ] {
        let run = world.run(&as_identity(&world, identity));
        assert_eq!(run.code, 0, "{}", run.log);
    }
    let run = world.run(&as_identity(&world, world.managed(json!({"clientId": STRANGER}))));
    assert_eq!(run.code, 78, "{}", run.log);
    let who = format!(
        " refused the managed identity with client id {STRANGER}: Identity not found; check which identity is named, and that it is assigned to the node\n"
    );
    assert!(
        run.termination.starts_with("auth demo/db-password: the metadata service at 127.0.0.1:") && run.termination.contains(&who),
        "{}",
        run.termination
    );
}

#[test]
fn a_metadata_address_that_is_late_is_waited_for() {
    let world = World::new();
    world.fault(json!({"plane": "imds", "kind": "status", "status": 410, "count": 1}));
    world.fault(json!({"plane": "imds", "kind": "status", "status": 404, "count": 1}));
    let run = world.run(&as_identity(&world, world.system_assigned()));
    assert_eq!(run.code, 0, "{}", run.log);
    assert_eq!(world.calls("imds"), json!({"200": 1, "404": 1, "410": 1}));
}

#[test]
fn pod_identity_is_waited_for_until_its_daemon_knows_the_pod() {
    let world = World::new();
    let identity = json!({"podIdentity": {"clientId": MANAGED, "endpoint": world.system_assigned()["managedIdentity"]["endpoint"]}});
    for status in [403, 404, 500] {
        world.fault(json!({"plane": "imds", "kind": "status", "status": status, "count": 1}));
    }
    let run = world.run(&as_identity(&world, identity.clone()));
    assert_eq!(run.code, 0, "{}", run.log);
    assert_eq!(world.calls("imds"), json!({"200": 1, "403": 1, "404": 1, "500": 1}));

    // The node's own metadata service answers for as long as the daemon does not stand before it.
    let stranger = json!({"podIdentity": {"clientId": STRANGER, "endpoint": identity["podIdentity"]["endpoint"]}});
    let run = world.run(&as_identity(&world, stranger).with("/deadline", json!("2s")));
    assert_eq!(run.code, 78, "{}", run.log);
    let who = format!(" refused the identity with client id {STRANGER} that the pod's label aadpodidbinding is bound to: ");
    assert!(run.termination.starts_with("auth demo/db-password: the metadata service at 127.0.0.1:") && run.termination.contains(&who));
    assert!(run.termination.contains(" times until the deadline)"), "{}", run.termination);
}

#[test]
fn an_unknown_client_or_tenant_fails_at_once_for_all_objects_in_one_line() {
    let world = World::new();
    let nobody = "99999999-9999-9999-9999-999999999999";
    for (identity, code) in [(workload(nobody, TENANT), "AADSTS700016"), (workload(APP, nobody), "AADSTS90002")] {
        let run = world.run(&world.plan_for(&["db-password", "s-00", "s-01"]).with("/identity", identity));
        assert_eq!(run.code, 78, "{}", run.log);
        let start = format!("auth demo/db-password and 2 more: Entra at {} refused client ", world.entra());
        let who = "with the ServiceAccount token of issuer https://oidc.example.invalid/, subject system:serviceaccount:default:app, audience api://AzureADTokenExchange: ";
        assert!(run.termination.starts_with(&start) && run.termination.contains(&format!("{who}{code}: ")), "{}", run.termination);
        assert!(
            run.termination
                .ends_with("; check client id and tenant id; the federated credential's issuer, subject and audience must match to the letter\n"),
            "{}",
            run.termination
        );
        assert_eq!(run.termination.lines().count(), 1);
    }
    assert_eq!(world.calls("entra").as_object().unwrap().values().filter_map(Value::as_u64).sum::<u64>(), 2);
}

#[test]
fn a_federated_credential_that_does_not_match_gets_half_of_the_deadline() {
    let world = World::new();
    world.put_token("system:serviceaccount:default:other", AUDIENCE);
    let run = world.run(&world.plan_for(&["db-password"]).with("/deadline", json!("4s")));
    assert_eq!(run.code, 78, "{}", run.log);
    assert!(run.termination.contains("subject system:serviceaccount:default:other, audience"), "{}", run.termination);
    let end = " times until the end of its share of the deadline)";
    assert!(run.termination.contains(": AADSTS700213: ") && run.termination.contains(end), "{}", run.termination);
    assert!(world.calls("entra").as_object().unwrap().values().filter_map(Value::as_u64).sum::<u64>() >= 2);
}

#[test]
fn a_token_that_the_kubelet_has_not_written_yet_is_waited_for() {
    let world = World::new();
    std::fs::remove_file(world.path("token/token")).unwrap();
    let run = world.run(&world.plan_for(&["db-password"]).with("/deadline", json!("1s")));
    assert_eq!(run.code, 78, "{}", run.log);
    let root = world.root.path().canonicalize().unwrap();
    let start = format!(
        "auth demo/db-password: client {APP} of tenant {TENANT} cannot sign in: the ServiceAccount token cannot be read from {}/token/token: No such file or directory (os error 2) (",
        root.display()
    );
    assert!(run.termination.starts_with(&start), "{}", run.termination);

    // It comes while the agent waits.
    let path = world.path("token/token");
    std::thread::scope(|scope| {
        let agent = scope.spawn(|| world.run(&world.plan_for(&["db-password"])));
        world.put_token("system:serviceaccount:default:app", AUDIENCE);
        let run = agent.join().unwrap();
        assert_eq!(run.code, 0, "{}", run.log);
    });
    assert!(path.exists());
}

#[test]
fn no_token_goes_to_a_host_outside_the_cloud_unless_the_operator_allows_it() {
    let world = World::new();
    let plan = || world.plan_for(&["db-password"]).with("/cloud/verifyChallenge", json!(true));
    let run = world.run(&plan());
    assert_eq!(run.code, 78, "{}", run.log);
    let host = format!("demo.vault.localhost:{}", world.port);
    assert!(
        run.termination.starts_with(&format!(
            "auth demo/db-password: no token was sent, because {host} is neither under vault.azure.net nor on the operator's list; "
        )),
        "{}",
        run.termination
    );
    assert_eq!(world.calls("vault"), Value::Null);

    let run = world.run(&plan().with("/cloud/allowedVaultHosts", json!([host])));
    assert_eq!(run.code, 0, "{}", run.log);
}
