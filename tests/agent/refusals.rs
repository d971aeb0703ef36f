//! One walk through all classes: what every line has, whatever went wrong.

use std::net::TcpListener;
use std::path::Path;

use keyvault_client::Class;
use serde_json::{Value, json};

use crate::world::{APP, Plan, TENANT, World};

/// Where the line has to say that the request went.
enum Address {
    Vault,
    Entra,
    Text(String),
    /// The problem is not a server's.
    None,
}

struct Case {
    class: Class,
    /// Scripted before the run.
    fault: Value,
    plan: fn(&World, Plan) -> Plan,
    address: fn(&World) -> Address,
}

fn as_it_is(_: &World, plan: Plan) -> Plan {
    plan
}

fn of_vault(class: Class, fault: Value) -> Case {
    Case { class, fault, plan: as_it_is, address: |_| Address::Vault }
}

/// A port of loopback where nothing listens.
fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn case(class: Class) -> Case {
    match class {
        Class::Dns => Case {
            class,
            fault: Value::Null,
            plan: |_, plan| plan.with("/fetch/0/secret/vault", json!("https://demo.nosuch.invalid")),
            address: |_| Address::Text("demo.nosuch.invalid.".to_owned()),
        },
        Class::Connect => Case {
            class,
            fault: Value::Null,
            plan: |_, plan| plan.with("/fetch/0/secret/vault", json!(format!("https://demo.vault.localhost:{}", closed_port()))),
            address: |_| Address::Text(" (127.0.0.1, ::1): ".to_owned()),
        },
        Class::Tls => Case { class, fault: Value::Null, plan: |_, plan| plan.with("/extraCa", Value::Null), address: |_| Address::Entra },
        Class::Timeout => of_vault(class, json!({"plane": "vault", "kind": "delay", "delay_ms": 30_000})),
        Class::Auth => Case { address: |_| Address::Entra, ..of_vault(class, json!({"plane": "entra", "kind": "status", "status": 400})) },
        Class::Rbac => of_vault(class, json!({"plane": "vault", "kind": "rbac"})),
        Class::Firewall => of_vault(class, json!({"plane": "vault", "kind": "firewall"})),
        Class::NotFound => Case { plan: |_, plan| plan.with("/fetch/0/secret/name", json!("nosuch")), ..of_vault(class, Value::Null) },
        Class::Disabled => Case { plan: |_, plan| plan.with("/fetch/0/secret/name", json!("old-token")), ..of_vault(class, Value::Null) },
        Class::Throttled => of_vault(class, json!({"plane": "vault", "kind": "throttle"})),
        Class::Unavailable => of_vault(class, json!({"plane": "vault", "kind": "unavailable"})),
        Class::Format => of_vault(class, json!({"plane": "vault", "kind": "garbage"})),
        Class::Volume => Case {
            class,
            fault: Value::Null,
            plan: |_, plan| plan.with("/directories/0/path", json!("/keyvault/nosuch")),
            address: |_| Address::None,
        },
    }
}

#[test]
fn every_line_has_class_object_address_identity_and_the_next_step_of_its_page() {
    std::thread::scope(|scope| {
        for class in Class::ALL {
            scope.spawn(move || check(&case(class)));
        }
    });
}

fn check(case: &Case) {
    let world = World::new();
    if !case.fault.is_null() {
        world.fault(case.fault.clone());
    }
    let plan = (case.plan)(&world, world.plan_for(&["db-password"]).with("/deadline", json!("6s")));
    // The world itself looks for values, tokens and keys in log and message.
    let run = world.run(&plan);
    let line = run.termination.strip_suffix('\n').unwrap();
    let class = case.class.to_string();
    assert!(line.starts_with(&format!("{class} ")) && line.lines().count() == 1, "{class}: {line}");
    assert!(run.log.contains(line), "{class}: the log has the line too: {}", run.log);
    assert!(line.len() < 1_300, "{class}: {} bytes: {line}", line.len());

    let object = line[class.len() + 1..].split(": ").next().unwrap();
    let is_object = if case.class == Class::Volume { object.ends_with("/keyvault/nosuch") } else { object.starts_with("demo/") };
    assert!(is_object, "{class}: {line}");
    let address = match (case.address)(&world) {
        Address::Vault => world.demo(),
        Address::Entra => world.entra(),
        Address::Text(text) => text,
        Address::None => String::new(),
    };
    assert!(line.contains(&address), "{class}: {address} is missing: {line}");
    if matches!(case.class, Class::Auth | Class::Rbac) {
        let identity = format!(
            "client {APP} of tenant {TENANT} with the ServiceAccount token of issuer https://oidc.example.invalid/, \
             subject system:serviceaccount:default:app, audience api://AzureADTokenExchange"
        );
        assert!(line.contains(&identity), "{class}: {line}");
    }
    let page = Path::new(keyvault_tests::REPOSITORY).join(format!("docs/errors/{class}.md"));
    let page = std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
    let next_step = page.lines().find_map(|line| line.strip_prefix("Next step: ")).unwrap_or_else(|| panic!("{class}: the page has no next step"));
    assert!(line.ends_with(&format!("; {}", next_step.trim_end_matches('.'))), "{class}: {line}");
    assert!(page.starts_with(&format!("# {class} (exit code {})\n\n", run.code)), "{class}: {}", run.code);
}
