//! `keyvault-injector inject` as its users run it: a process, files, exit codes.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::io::Write;
use std::process::{Command, Output, Stdio};

const POD_SPEC: &str = "{serviceAccountName: api, containers: [{name: app, image: app:1}]}";
const ACCOUNT: &str = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: api, namespace: shop, annotations: {azure.workload.identity/client-id: 0f1e2d3c-1111-4222-8333-444455556666, azure.workload.identity/tenant-id: aaaabbbb-1111-4222-8333-444455556666}}\n";

/// A pod template that asks for one secret.
fn template(secrets: &str) -> String {
    format!("{{metadata: {{annotations: {{keyvault-injector.io/vault: payments, keyvault-injector.io/secrets: {secrets}}}}}, spec: {POD_SPEC}}}")
}

fn workload(kind: &str, group: &str, spec: &str) -> String {
    format!("apiVersion: {group}\nkind: {kind}\nmetadata: {{name: {}, namespace: shop}}\nspec: {spec}\n", kind.to_lowercase())
}

fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(keyvault_tests::program("keyvault-injector"))
        .args(["inject", "-f", "-"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses its options may end before it reads.
    let written = child.stdin.take().unwrap().write_all(input.as_bytes());
    assert!(written.is_ok() || written.is_err_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe));
    child.wait_with_output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn every_kind_of_workload_is_injected_where_its_pods_are() {
    for (kind, group, path) in [
        ("Deployment", "apps/v1", "/spec/template"),
        ("StatefulSet", "apps/v1", "/spec/template"),
        ("DaemonSet", "apps/v1", "/spec/template"),
        ("ReplicaSet", "apps/v1", "/spec/template"),
        ("Job", "batch/v1", "/spec/template"),
        ("CronJob", "batch/v1", "/spec/jobTemplate/spec/template"),
    ] {
        let pods = format!("{{template: {}}}", template("db-password"));
        let spec = if kind == "CronJob" { format!("{{schedule: '0 * * * *', jobTemplate: {{spec: {pods}}}}}") } else { pods };
        let output = run(&["-o", "json"], &format!("{ACCOUNT}---\n{}", workload(kind, group, &spec)));
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""), "{kind}");
        let documents: Vec<serde_json::Value> = serde_json::Deserializer::from_str(stdout(&output)).into_iter().map(Result::unwrap).collect();
        assert_eq!(documents.len(), 2, "{kind}");
        let pod = documents[1].pointer(path).unwrap();
        assert_eq!(pod["spec"]["initContainers"][0]["name"], "keyvault-agent", "{kind}");
        assert_eq!(pod["spec"]["containers"][0]["volumeMounts"][0]["mountPath"], "/keyvault", "{kind}");
    }
}

#[test]
fn a_list_and_a_bare_pod_are_injected_too() {
    let pod = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p, namespace: shop, annotations: {{keyvault-injector.io/secrets: payments/a}}}}\nspec: {POD_SPEC}\n"
    );
    let value: serde_json::Value = serde_saphyr::from_str(&pod).unwrap();
    let account: serde_json::Value = serde_saphyr::from_str(ACCOUNT).unwrap();
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [account, value]}).to_string();
    let output = run(&["-o", "patch"], &list);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    let shown: serde_json::Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!((shown["kind"].as_str(), shown["name"].as_str(), shown["pod"].as_str()), (Some("Pod"), Some("p"), Some("/items/1")));
    let paths: Vec<&str> = shown["patch"].as_array().unwrap().iter().map(|operation| operation["path"].as_str().unwrap()).collect();
    assert_eq!(
        paths,
        ["/spec/containers/0/volumeMounts", "/spec/volumes", "/spec/initContainers", "/metadata/annotations/keyvault-injector.io~1status"]
    );
}

#[test]
fn everything_else_passes_through_byte_for_byte() {
    let input = format!(
        "# a comment\n\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: x}}   # kept\ndata:\n  mode: 0440\n  yes: 'no'\n...\n---\r\napiVersion: v1\r\nkind: Service\r\nmetadata: {{name: s}}\r\n---\n{}",
        workload("Deployment", "apps/v1", &format!("{{template: {{spec: {POD_SPEC}}}}}"))
    );
    let output = run(&[], &input);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    assert_eq!(stdout(&output), input);
}

#[test]
fn only_the_touched_document_is_rewritten() {
    let untouched = "# first\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}   # kept\n---\n";
    let output = run(&[], &format!("{untouched}{ACCOUNT}---\n{}", workload("Job", "batch/v1", &format!("{{template: {}}}", template("a")))));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).starts_with(&format!("{untouched}{ACCOUNT}---\n")), "{}", stdout(&output));
    assert!(stdout(&output).contains("keyvault-injector.io/status: injected plan=sha256:"));
}

#[test]
fn a_denial_shows_all_problems_and_nothing_on_standard_output() {
    let output = run(&[], &workload("Deployment", "apps/v1", &format!("{{template: {}}}", template("my_secret"))));
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(stdout(&output), "");
    let expected = "denied: Deployment shop/deployment: keyvault-injector found 3 problems with this pod:\n\
        - annotation keyvault-injector.io/secrets: item 1 \"my_secret\": \"my_secret\" is not a Key Vault object name: 1 to 127 letters, digits and hyphens\n\
        - identity workload-identity has no client-id: annotate ServiceAccount shop/api (which was not found) with azure.workload.identity/client-id, or set keyvault-injector.io/client-id on the pod or its Namespace\n\
        - identity workload-identity has no tenant-id: annotate ServiceAccount shop/api (which was not found) with azure.workload.identity/tenant-id, or set keyvault-injector.io/tenant-id on the pod or its Namespace\n";
    assert_eq!(stderr(&output), expected);
}

#[test]
fn warnings_go_to_standard_error_and_a_second_run_changes_nothing() {
    let manifest = format!("{ACCOUNT}---\n{}", workload("Job", "batch/v1", &format!("{{template: {}}}", template("a"))));
    let once = run(&[], &manifest);
    let twice = run(&[], stdout(&once));
    assert_eq!(stdout(&twice), stdout(&once));
    assert_eq!(stdout(&run(&["-o", "diff"], stdout(&once))), "");
    let idle = run(
        &[],
        &format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p, annotations: {{keyvault-injector.io/vault: payments}}}}\nspec: {POD_SPEC}\n"),
    );
    assert_eq!(idle.status.code(), Some(0));
    assert!(stderr(&idle).starts_with("warning: Pod p: nothing is injected: keyvault-injector.io/vault asks for no object"), "{}", stderr(&idle));
}

#[test]
fn defaults_of_a_namespace_file_hold() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("namespace.yaml");
    std::fs::File::create(&file)
        .and_then(|mut file| {
            file.write_all(b"apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, annotations: {keyvault-injector.io/mount-path: /secrets}}\n")
        })
        .unwrap();
    let manifest = format!("{ACCOUNT}---\n{}", workload("Job", "batch/v1", &format!("{{template: {}}}", template("a"))));
    let output = run(&["--defaults-from", file.to_str().unwrap()], &manifest);
    assert!(stdout(&output).contains("mountPath: /secrets\n"), "{}", stdout(&output));
}

#[test]
fn unusable_input_ends_with_code_2_and_says_where() {
    let cases: [(&[&str], &str, &str); 6] = [
        (&[], "a: [", "error: -: line 1: "),
        (&["--config", "/nonexistent.yaml"], "a: 1", "error: /nonexistent.yaml: No such file or directory"),
        (
            &["--defaults-from", "payments"],
            "a: 1",
            "error: --defaults-from takes a file with Namespaces and ServiceAccounts, and the file payments does not exist; for the name of a namespace use -n\n",
        ),
        (
            &["--namespace", "./ns.yaml"],
            "a: 1",
            "error: invalid value './ns.yaml' for '--namespace <NAME>': not a namespace: lower-case letters, digits and inner hyphens, at most 63; \
             a file with Namespaces and ServiceAccounts is given by --defaults-from\n",
        ),
        (
            &[],
            "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: 7}\n",
            "error: -:1: Pod p: it is not a readable pod: invalid type: integer `7`, expected a sequence",
        ),
        (
            &[],
            "a: 1\n---\nvault: {{ .Values.vault }}\n",
            "error: -: line 3: {{ … }} is a template of Helm: render it first: helm template . | keyvault-injector inject -f -\n",
        ),
    ];
    for (arguments, input, expected) in cases {
        let output = run(arguments, input);
        assert_eq!((output.status.code(), stdout(&output)), (Some(2), ""), "{input}");
        assert!(stderr(&output).starts_with(expected), "{}", stderr(&output));
    }
}

#[test]
fn a_limit_range_that_would_refuse_the_pod_is_named_with_the_remedy() {
    let limits = "apiVersion: v1\nkind: LimitRange\nmetadata: {name: ratio, namespace: shop}\nspec: {limits: [{type: Container, maxLimitRequestRatio: {cpu: 10}}]}\n";
    let pods = template("a").replace("image: app:1", "image: app:1, resources: {requests: {cpu: 50m}}");
    let job = workload("Job", "batch/v1", &format!("{{template: {pods}}}"));
    let output = run(&[], &format!("{ACCOUNT}---\n{limits}---\n{job}"));
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        stderr(&output),
        "warning: Job shop/job: LimitRange ratio refuses the pod: container keyvault-agent has the cpu limit 500m and the request 10m, and the maxLimitRequestRatio is 10; set keyvault-injector.io/agent-resources on the pod or its Namespace\n"
    );
    let asked = pods.replace("metadata: {annotations: {", "metadata: {annotations: {keyvault-injector.io/agent-resources: '{limits: {cpu: 100m}}', ");
    let output = run(&[], &format!("{ACCOUNT}---\n{limits}---\n{}", workload("Job", "batch/v1", &format!("{{template: {asked}}}"))));
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
}

#[test]
fn a_value_that_is_no_text_is_named_with_its_line_and_the_fix() {
    let manifest = "# first\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: payments}\nspec:\n  template:\n    metadata:\n      labels: {\"on\": yes}\n      annotations:\n        keyvault-injector.io/secrets:\n          - db-password\n        keyvault-injector.io/templates:\n          app.conf: x\n        keyvault-injector.io/inject: true\n        keyvault-injector.io/file-mode: 0400\n        keyvault-injector.io/metrics-port: 9090\n    spec: {containers: [{name: app, env: [{name: RETRIES, value: 3}]}]}\n";
    let output = run(&[], manifest);
    assert_eq!((output.status.code(), stdout(&output)), (Some(2), ""));
    let subject = "Deployment payments/web";
    let annotation = |key: &str| format!("{subject}: annotation keyvault-injector.io/{key}");
    let expected = [
        format!("error: -:15: {} is true, a boolean, and annotations are text: write it in quotes: \"true\"", annotation("inject")),
        format!("error: -:16: {} is 0400, a number, and annotations are text: write it in quotes: \"0400\"", annotation("file-mode")),
        format!("error: -:17: {} is 9090, a number, and annotations are text: write it in quotes: \"9090\"", annotation("metrics-port")),
        format!(
            "error: -:11: {} is a list, and annotations are text: write \"keyvault-injector.io/secrets: |\" and indent the list below it",
            annotation("secrets")
        ),
        format!(
            "error: -:13: {} is a map, and annotations are text: write \"keyvault-injector.io/templates: |\" and indent the map below it",
            annotation("templates")
        ),
        format!("error: -:9: {subject}: label on is yes, a boolean, and labels are text: write it in quotes: \"yes\""),
        format!("error: -:18: {subject}: container app: variable RETRIES is 3, a number, and variables are text: write it in quotes: \"3\""),
    ];
    let mut lines: Vec<&str> = stderr(&output).lines().collect();
    let mut expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    lines.sort_unstable();
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

/// Helm and kustomize leave the namespace to the person who applies.
#[test]
fn documents_without_a_namespace_are_in_the_one_that_is_given() {
    let account = ACCOUNT.replace("namespace: shop, ", "");
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: pay, annotations: {keyvault-injector.io/mount-path: /secrets}}\n";
    let job = workload("Job", "batch/v1", &format!("{{template: {}}}", template("a"))).replace(", namespace: shop", "");
    let manifest = format!("{account}---\n{namespace}---\n{job}");
    let output = run(&["-n", "pay"], &manifest);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    assert!(stdout(&output).contains("mountPath: /secrets\n"), "{}", stdout(&output));
    let elsewhere = run(&[], &manifest);
    assert!(stdout(&elsewhere).contains("mountPath: /keyvault\n"), "{}", stdout(&elsewhere));
}

#[test]
fn a_pipeline_can_stop_at_warnings() {
    let idle = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p, annotations: {{keyvault-injector.io/vault: payments}}}}\nspec: {POD_SPEC}\n");
    let output = run(&["--fail-on-warnings"], &idle);
    assert_eq!((output.status.code(), stdout(&output)), (Some(4), ""));
    assert!(stderr(&output).starts_with("warning: Pod p: nothing is injected: "), "{}", stderr(&output));
    let good = format!("{ACCOUNT}---\n{}", workload("Job", "batch/v1", &format!("{{template: {}}}", template("a"))));
    let output = run(&["--fail-on-warnings"], &good);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
}

#[test]
fn a_diff_names_objects_of_lists_and_objects_without_a_name() {
    let job = workload("Job", "batch/v1", &format!("{{template: {}}}", template("a")));
    let value = |yaml: &str| serde_saphyr::from_str::<serde_json::Value>(yaml).unwrap();
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [value(ACCOUNT), value(&job)]}).to_string();
    let output = run(&["-o", "diff"], &list);
    assert!(stdout(&output).starts_with("--- List[1] Job job\n+++ List[1] Job job, injected\n@@"), "{}", stdout(&output));

    let nameless = format!("{ACCOUNT}---\n{}", job.replace("{name: job,", "{generateName: mig-,"));
    let output = run(&["-o", "diff"], &nameless);
    assert!(stdout(&output).starts_with("--- Job mig-… (generateName)\n"), "{}", stdout(&output));
    let denied = run(&[], &nameless.replace("secrets: a", "secrets: a_b"));
    assert!(stderr(&denied).starts_with("denied: Job shop/mig-… (generateName): keyvault-injector found 1 problem"), "{}", stderr(&denied));
}

#[test]
fn what_is_wrong_with_a_namespace_is_said_beside_the_idle_warning() {
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, annotations: {keyvault-injector.io/secrets: db-password}}\n";
    let pod = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p, namespace: shop, annotations: {{keyvault-injector.io/vault: payments}}}}\nspec: {POD_SPEC}\n"
    );
    let output = run(&[], &format!("{namespace}---\n{pod}"));
    let lines: Vec<&str> = stderr(&output).lines().collect();
    assert!(lines[0].starts_with("warning: Pod shop/p: nothing is injected: keyvault-injector.io/vault asks for no object"), "{lines:?}");
    assert_eq!(
        lines[1..],
        ["warning: Pod shop/p: Namespace shop: annotation keyvault-injector.io/secrets has no meaning on a Namespace: set it on the pod"]
    );
}

#[test]
fn the_newest_kubernetes_is_assumed_and_said_once_where_it_matters() {
    const NOTE: &str = "note: Kubernetes 1.36 is assumed on every node; name another version by --kubernetes-version\n";
    let pod = |name: &str, annotation: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, annotations: {{keyvault-injector.io/{annotation}}}}}\nspec: {POD_SPEC}\n"
        )
    };
    let (env, files) = (pod("one", "env: A=payments/a"), pod("two", "secrets: payments/a"));
    let stream = [ACCOUNT, &env, &files, &pod("three", "env: B=payments/b")].join("---\n");
    let output = run(&["-o", "json"], &stream);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stderr(&output).matches(NOTE).count(), 1, "{}", stderr(&output));
    assert!(stdout(&output).contains("fileKeyRef"), "{}", stdout(&output));

    let output = run(&[], &[ACCOUNT, &files].join("---\n"));
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""), "nothing depends on the nodes");
    let output = run(&["--kubernetes-version", "v1.35.2"], &stream);
    assert_eq!((output.status.code(), stderr(&output).contains("note:")), (Some(0), false), "{}", stderr(&output));
    let output = run(&["--kubernetes-version", "1.34"], &stream);
    assert_eq!(output.status.code(), Some(3));
    let denied = "A: it has no command that could be wrapped, and Kubernetes 1.34 has neither variables from files nor image volumes (1.35 has): ";
    assert!(stderr(&output).contains(denied), "{}", stderr(&output));
    let output = run(&["--kubernetes-version", "newest"], &stream);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("\"newest\" is not a version of Kubernetes: major and minor number, such as 1.36"), "{}", stderr(&output));
}
