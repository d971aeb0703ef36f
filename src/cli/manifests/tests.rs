use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::config::Config;

fn args(image: &str, namespace: &str) -> ManifestsArgs {
    ManifestsArgs { image: image.to_owned(), namespace: namespace.to_owned(), directory: None }
}

fn objects(args: &ManifestsArgs) -> Vec<Value> {
    serde_saphyr::from_multiple(&stream(&files(args))).unwrap()
}

fn find<'o>(objects: &'o [Value], kind: &str) -> &'o Value {
    objects.iter().find(|object| object["kind"] == kind).unwrap()
}

#[test]
fn what_lies_in_the_repository_is_what_the_command_writes() {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/base");
    let made = tempfile::tempdir().unwrap();
    write(made.path(), &files(&args(IMAGE, NAMESPACE))).unwrap();
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
    let config = find(&objects, "ConfigMap")["data"]["config.yaml"].as_str().unwrap().to_owned();
    let config = Config::parse(&config, "config.yaml").unwrap();
    assert_eq!(config.agent.image, IMAGE);
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
