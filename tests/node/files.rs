//! Files, as containers see them.

use serde_json::json;

use crate::harness::{APP_IMAGE, Node, STAY, pod, shell, shell_with};

const PASSWORD: &str = "correct horse battery staple";

#[tokio::test]
async fn a_pod_finds_secrets_certificates_keys_templates_groups_and_selections() {
    let node = Node::shared().await;
    let namespace = node.namespace().await;
    let secrets = "- db-password
- {name: settings, property: sink.token, file: sink}
- {group: [KEY=api-key], format: dotenv, file: app.env}
- {select: {prefix: app-}, file: \"app/${name}\"}";
    let templates = "conf/db.url: postgres://app:${ secret(\"db-password\") | urlencode }@db";
    let asked = [("secrets", secrets), ("certificates", "web"), ("keys", "signing"), ("templates", templates)];
    let all = pod("all", &asked, json!({"securityContext": {"runAsUser": 10001}, "containers": [shell("app", STAY)]}));
    namespace.apply(&[all]).await;
    namespace.ready("all").await;
    let listed = namespace.sh("all", "app", "cd /keyvault && find . -follow -type f ! -path './..*' | sort | xargs stat -Lc '%n %a %u'").await;
    assert_eq!(
        listed,
        "./app.env 400 10001\n./app/app-one 400 10001\n./app/app-two 400 10001\n./conf/db.url 400 10001\n./db-password 400 10001\n\
         ./signing 400 10001\n./sink 400 10001\n./web/ca.crt 400 10001\n./web/tls.crt 400 10001\n./web/tls.key 400 10001\n"
    );
    let shown = namespace
        .sh("all", "app", "cd /keyvault && for file in db-password sink app.env app/app-one conf/db.url; do cat $file; echo '|'; done")
        .await;
    assert_eq!(shown, format!("{PASSWORD}|\nt-456|\nKEY='k-123'\n|\n1|\npostgres://app:correct%20horse%20battery%20staple@db|\n"));
    let mounted = namespace.sh("all", "app", "grep ' /keyvault ' /proc/mounts; touch /keyvault/x 2>&1; true").await;
    assert!(mounted.starts_with("tmpfs /keyvault tmpfs ro,") && mounted.ends_with("Read-only file system\n"), "{mounted}");
    let begins = namespace.sh("all", "app", "cd /keyvault && head -qn1 web/tls.crt web/tls.key web/ca.crt signing").await;
    let pem = |what: &str| format!("-----BEGIN {what}-----\n");
    assert_eq!(begins, [pem("CERTIFICATE"), pem("PRIVATE KEY"), pem("CERTIFICATE"), pem("PUBLIC KEY")].concat());
}

#[tokio::test]
async fn files_have_the_mode_that_lets_every_reader_read() {
    let node = Node::shared().await;
    let namespace = node.namespace().await;
    let asked = [("secrets", "db-password")];
    let as_user = |name: &str, user: u32| shell_with(name, STAY, json!({"securityContext": {"runAsUser": user}}));
    let two_users = [as_user("app", 1000), as_user("second", 2000)];
    let pods = [
        pod("image-user", &asked, json!({"containers": [shell("app", STAY)]})),
        pod("root", &asked, json!({"securityContext": {"runAsUser": 0}, "containers": [shell("app", STAY)]})),
        pod("one-user", &asked, json!({"containers": [as_user("app", 1000)]})),
        pod("group", &asked, json!({"securityContext": {"fsGroup": 3000}, "containers": two_users})),
        pod("two-users", &asked, json!({"containers": two_users})),
    ];
    namespace.apply(&pods).await;
    for (name, mode) in
        [("image-user", "444 65532"), ("root", "444 65532"), ("one-user", "400 1000"), ("group", "440 65532 3000"), ("two-users", "444 65532")]
    {
        namespace.ready(name).await;
        let script = "stat -Lc '%a %u %g' /keyvault/db-password; cat /keyvault/db-password";
        let seen = namespace.sh(name, "app", script).await;
        assert!(seen.starts_with(mode) && seen.ends_with(PASSWORD), "{name}: {seen}");
    }
    for name in ["group", "two-users"] {
        assert_eq!(namespace.sh(name, "second", "cat /keyvault/db-password").await, PASSWORD, "{name}");
    }
}

#[tokio::test]
async fn a_restricted_namespace_takes_the_pod_and_a_read_only_root_is_enough() {
    let node = Node::shared().await;
    let namespace = node.namespace_with(&[("pod-security.kubernetes.io/enforce", "restricted")]).await;
    let restricted = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": true});
    let asked = [("secrets", "db-password"), ("env", "PASSWORD=db-password"), ("refresh", "30s")];
    let script = format!("cat /keyvault/db-password; echo \" $PASSWORD\"; touch /x 2>&1{STAY}");
    let security = json!({"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}});
    let containers = [shell_with("app", &script, json!({"securityContext": restricted}))];
    namespace.apply(&[pod("web", &asked, json!({"securityContext": security, "containers": containers}))]).await;
    namespace.ready("web").await;
    namespace.says("web", "app", &format!("{PASSWORD} {PASSWORD}\ntouch: /x: Read-only file system\n")).await;
}

#[tokio::test]
async fn init_containers_sidecars_and_pods_that_share_more_find_their_files() {
    let node = Node::shared().await;
    let namespace = node.namespace_with(&[("pod-security.kubernetes.io/enforce", "privileged")]).await;
    let asked = [("secrets", "db-password")];
    let read = "cat /keyvault/db-password; echo";
    let sidecar = shell_with("side", &format!("{read}{STAY}"), json!({"restartPolicy": "Always"}));
    let all = json!({"initContainers": [shell("first", read), sidecar], "containers": [shell("app", &format!("{read}{STAY}"))], "shareProcessNamespace": true});
    let host = json!({"hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet", "containers": [shell("app", &format!("{read}{STAY}"))]});
    namespace.apply(&[pod("neighbours", &asked, all), pod("host", &asked, host)]).await;
    namespace.ready("neighbours").await;
    for container in ["first", "side", "app"] {
        namespace.says("neighbours", container, &format!("{PASSWORD}\n")).await;
    }
    let processes = namespace.sh("neighbours", "app", "ps -o comm").await;
    assert!(!processes.contains("keyvault-agent"), "the agent has ended: {processes}");
    namespace.ready("host").await;
    namespace.says("host", "app", &format!("{PASSWORD}\n")).await;
}

#[tokio::test]
async fn an_image_without_a_command_gets_files_and_variables() {
    let node = Node::shared().await;
    let namespace = node.namespace().await;
    let asked = [("secrets", "db-password"), ("env", "PASSWORD=db-password")];
    namespace.apply(&[pod("image", &asked, json!({"containers": [{"name": "app", "image": APP_IMAGE}]}))]).await;
    namespace.ready("image").await;
    namespace.says("image", "app", &format!("started PASSWORD={PASSWORD}\n")).await;
    assert_eq!(namespace.sh("image", "app", "cat /keyvault/db-password").await, PASSWORD);
}
