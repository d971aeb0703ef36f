use std::collections::BTreeSet;

use serde_json::Value;

use super::directory::Done;
use super::*;
use keyvault_mutation::config::Config;

fn args(image: &str, namespace: &str) -> ManifestsArgs {
    let (image, namespace) = (image.to_owned(), namespace.to_owned());
    ManifestsArgs { image, namespace, tenant_id: None, no_namespace: false, directory: None, force: false }
}

fn config(args: &ManifestsArgs) -> Config {
    let objects = objects(args);
    Config::parse(find(&objects, "ConfigMap")["data"]["config.yaml"].as_str().unwrap(), "config.yaml").unwrap()
}

fn objects(args: &ManifestsArgs) -> Vec<Value> {
    serde_saphyr::from_multiple(&stream(&files(args))).unwrap()
}

fn find<'o>(objects: &'o [Value], kind: &str) -> &'o Value {
    objects.iter().find(|object| object["kind"] == kind).unwrap()
}

#[test]
fn what_lies_in_the_repository_is_what_the_command_writes() {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests/base");
    let made = tempfile::tempdir().unwrap();
    directory::write(made.path(), &files(&args(IMAGE, NAMESPACE)), false, |_, _| {}).unwrap();
    let names = |directory: &Path| -> BTreeSet<_> { std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect() };
    assert_eq!(names(made.path()), names(&base));
    for name in names(&base) {
        let read = |directory: &Path| std::fs::read_to_string(directory.join(&name)).unwrap();
        assert_eq!(read(made.path()), read(&base), "{name:?}: `keyvault-injector manifests --directory manifests/base` brings them into step");
    }
}

#[test]
fn an_image_and_a_namespace_reach_every_place() {
    let text = stream(&files(&args("r.example/kvi@sha256:00", "secrets")));
    assert_eq!(text.matches("r.example/kvi@sha256:00").count(), 2, "the webhook's and the agent's");
    assert!(!text.contains("registry.example"));
    for object in objects(&args("i", "secrets")) {
        assert!(object["metadata"]["namespace"].as_str().is_none_or(|namespace| namespace == "secrets"), "{object}");
    }
    assert_eq!(find(&objects(&args("i", "secrets")), "Namespace")["metadata"]["name"], "secrets");
    for place in [
        "values: [kube-system, secrets]",
        "system:serviceaccount:secrets:keyvault-injector",
        "\"kube-system\", \"secrets\"",
        "        namespace: secrets\n",
    ] {
        assert!(text.contains(place), "{place}");
    }
    assert!(!text.contains("namespace: keyvault-injector\n"));
}

#[test]
fn the_ports_and_the_configuration_are_those_of_the_webhook() {
    let objects = objects(&args(IMAGE, NAMESPACE));
    let config = config(&args(IMAGE, NAMESPACE));
    assert_eq!((config.agent.image.as_str(), config.defaults.tenant_id), (IMAGE, None));
    let webhook = &find(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(webhook["ports"][0]["containerPort"], config.server.listen.port());
    assert_eq!(webhook["ports"][1]["containerPort"], config.server.health_listen.port());
    assert_eq!(webhook["image"], IMAGE);
}

#[test]
fn what_is_no_image_is_refused() {
    for good in ["a", "localhost:5000/a/b_c:1.0-x", "r.example/a@sha256:0f"] {
        assert_eq!(image(good).as_deref(), Ok(good));
    }
    for bad in ["", "a b", "a:", "a\nb", "-a", "a#b", "\"a\""] {
        assert!(image(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_tenant_becomes_the_default_of_the_configuration() {
    const TENANT: &str = "0a1b2c3d-1111-4222-8333-444455556666";
    let with = ManifestsArgs { tenant_id: Some(TENANT.parse().unwrap()), ..args(IMAGE, NAMESPACE) };
    assert_eq!(config(&with).defaults.tenant_id.unwrap().as_str(), TENANT);
    assert!(!stream(&files(&with)).contains("# defaults:"));
}

#[test]
fn namespaces_of_the_cluster_itself_are_refused() {
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        let refused = "the installation sets Pod Security restricted on its namespace: give it a dedicated one, such as keyvault-injector";
        assert_eq!(own_namespace(name).unwrap_err(), refused, "{name}");
    }
    assert_eq!(own_namespace("platform").as_deref(), Ok("platform"));
    assert!(own_namespace("a/b").unwrap_err().starts_with("not a namespace"));
}

#[test]
fn a_namespace_that_exists_is_left_out_and_one_of_ours_is_marked() {
    let ours = &objects(&args(IMAGE, NAMESPACE))[0];
    assert_eq!((&ours["kind"], &ours["metadata"]["annotations"][CREATED_BY.0]), (&"Namespace".into(), &CREATED_BY.1.into()));
    let without = ManifestsArgs { no_namespace: true, ..args(IMAGE, "platform") };
    assert!(objects(&without).iter().all(|object| object["kind"] != "Namespace"));
    assert!(!kustomization(&files(&without)).contains("namespace.yaml"));
}

#[test]
fn an_edited_configuration_survives_an_upgrade() {
    let folder = tempfile::tempdir().unwrap();
    let write = |image: &str, force: bool| {
        let mut done = Vec::new();
        let report = |file: &Path, what| done.push((file.file_name().unwrap().to_str().unwrap().to_owned(), what));
        directory::write(folder.path(), &files(&args(image, NAMESPACE)), force, report).unwrap();
        done
    };
    assert!(write(IMAGE, false).iter().all(|(_, done)| *done == Done::Written));
    let again = write(IMAGE, false);
    assert_eq!(again.len(), files(&args(IMAGE, NAMESPACE)).len() + 1, "and the kustomization");
    assert!(again.iter().all(|(_, done)| *done == Done::Unchanged));

    let config = folder.path().join(CONFIG);
    std::fs::File::create(&config).unwrap().write_all(b"mine").unwrap();
    let upgraded = write("r.example/new:1", false);
    let of = |name: &str| upgraded.iter().find(|(file, _)| file == name).unwrap().1;
    assert_eq!((of(CONFIG), of("deployment.yaml"), of("service.yaml")), (Done::Kept, Done::Written, Done::Unchanged));
    assert_eq!(std::fs::read(&config).unwrap(), b"mine");

    write("r.example/new:1", true);
    assert!(std::fs::read_to_string(&config).unwrap().contains("image: r.example/new:1"));
}
