use super::*;

const EXAMPLE: &str = r#"{"version":1,"cloud":{"authorityHost":"https://login.microsoftonline.com","resource":"https://vault.azure.net"},"identity":{"workloadIdentity":{"clientId":"0f1e2d3c-1111-4222-8333-444455556666","tenantId":"aaaabbbb-1111-4222-8333-444455556666","tokenFile":"/var/run/secrets/keyvault-injector/token"}},"deadline":"2m","fetch":[{"id":"0","secret":{"vault":"https://payments-prod.vault.azure.net","name":"db-password"}}],"directories":[{"path":"/keyvault/files","entries":[{"file":"db-password","mode":"0400","value":{"object":"0"}},{"file":"token","mode":"0440","value":{"object":"0","property":"sink.\"\u0024(HOME)\"","encoding":"base64"}}]}]}"#;

#[test]
fn the_example_survives_a_round_trip_byte_for_byte() {
    let plan = Plan::from_json(EXAMPLE).unwrap();
    assert_eq!(plan.to_json().unwrap(), EXAMPLE.replace("\"sink.\\\"$", "\"sink.\\\"\\u0024"));
    assert!(!plan.to_json().unwrap().contains('$'));
}

#[test]
fn every_identity_has_a_shape() {
    for identity in [
        r#"{"workloadIdentity":{"clientId":"0f1e2d3c-1111-4222-8333-444455556666","tenantId":"aaaabbbb-1111-4222-8333-444455556666","tokenFile":"/t","tokenProxy":{"url":"https://proxy","sniName":"p","ca":"PEM"}}}"#,
        r#"{"managedIdentity":{}}"#,
        r#"{"managedIdentity":{"select":{"clientId":"0f1e2d3c-1111-4222-8333-444455556666"},"endpoint":"http://127.0.0.1:1"}}"#,
        r#"{"podIdentity":{}}"#,
        r#"{"servicePrincipal":{"directory":"/var/run/secrets/sp"}}"#,
    ] {
        let parsed: Identity = serde_json::from_str(identity).unwrap();
        assert_eq!(serde_json::to_string(&parsed).unwrap(), identity);
    }
}

#[test]
fn what_cannot_be_carried_out_is_refused() {
    let broken = |from: &str, to: &str| Plan::from_json(&EXAMPLE.replace(from, to)).unwrap_err().to_string();
    assert!(broken(r#""version":1"#, r#""version":2,"new":1"#).starts_with("the plan has version 2, this agent reads version 1"));
    assert!(broken(r#""deadline":"2m""#, r#""deadline":"2m","novel":1"#).contains("unknown field `novel`"));
    assert_eq!(broken(r#"{"object":"0"}"#, r#"{"object":"7"}"#), "the plan's file db-password uses id \"7\", which it does not fetch");
    assert!(broken(r#"{"id":"0","secret""#, r#"{"id":"0","key":null,"sekret""#).contains("unknown field `sekret`"));
    assert!(broken("\"db-password\",\"mode\"", "\"../x\",\"mode\"").contains("not a relative file path"));
}

#[test]
fn where_the_agent_copies_itself_survives_a_round_trip() {
    let text = OF_A_TEMPLATE.replace("}]}]}", r#"}]}],"program":"/keyvault-injector/bin"}"#);
    let plan = Plan::from_json(&text).unwrap();
    assert_eq!((plan.to_json().unwrap(), plan.program.unwrap().as_str()), (text, "/keyvault-injector/bin"));
}

const OF_EVERY_KIND: &str = r#"{"version":1,"cloud":{"authorityHost":"https://login.microsoftonline.com","resource":"https://vault.azure.net"},"identity":{"podIdentity":{}},"deadline":"2m","fetch":[{"id":"0","certificate":{"vault":"https://p.vault.azure.net","name":"web"}},{"id":"1","key":{"vault":"https://p.vault.azure.net","name":"sign"}},{"id":"2","secret":{"vault":"https://p.vault.azure.net","name":"pw"}}],"directories":[{"path":"/keyvault/files","entries":[{"file":"web/tls.crt","mode":"0400","value":{"certificate":"0","part":"chain"}},{"file":"web.pfx","mode":"0400","value":{"certificate":"0","part":"pfx","password":"2"}},{"file":"sign.pem","mode":"0400","value":{"key":"1"}},{"file":"sign.jwk","mode":"0400","value":{"key":"1","format":"jwk"}}]}]}"#;

#[test]
fn certificates_and_keys_survive_a_round_trip_byte_for_byte() {
    assert_eq!(Plan::from_json(OF_EVERY_KIND).unwrap().to_json().unwrap(), OF_EVERY_KIND);
}

#[test]
fn a_value_is_of_one_kind_and_over_an_object_of_that_kind() {
    let broken = |from: &str, to: &str| Plan::from_json(&OF_EVERY_KIND.replace(from, to)).unwrap_err().to_string();
    assert_eq!(
        broken(r#"{"certificate":"0","part":"chain"}"#, r#"{"certificate":"1","part":"chain"}"#),
        "the plan's file web/tls.crt takes id \"1\" for a certificate, and it is none"
    );
    assert_eq!(broken(r#""password":"2""#, r#""password":"0""#), "the plan's file web.pfx takes id \"0\" for a secret, and it is none");
    assert_eq!(broken(r#""password":"2""#, r#""password":"9""#), "the plan's file web.pfx uses id \"9\", which it does not fetch");
    for (from, to, expected) in [
        (r#""part":"chain""#, r#""part":"novel""#, "unknown variant `novel`"),
        (
            r#""part":"chain""#,
            r#""encoding":"hex""#,
            "a value is exactly one of object, certificate, key, template, environment, with fields of that kind only",
        ),
        (r#"{"certificate":"0","part":"chain"}"#, r#"{"certificate":"0"}"#, "a value of a certificate needs part"),
        (r#""part":"chain""#, r#""part":"chain","password":"2""#, "only the part pfx has a password"),
        (r#"{"key":"1"}"#, r#"{"key":"1","object":"2"}"#, "a value is exactly one of object, certificate, key"),
        (r#"{"key":"1"}"#, r#"{"key":"1","format":"novel"}"#, "unknown variant `novel`"),
        (r#"{"key":"1"}"#, "{}", "a value is exactly one of object, certificate, key"),
    ] {
        let error = broken(from, to);
        assert!(error.contains(expected), "{to}: {error}");
    }
}

const OF_A_TEMPLATE: &str = r#"{"version":1,"cloud":{"authorityHost":"https://login.microsoftonline.com","resource":"https://vault.azure.net"},"identity":{"podIdentity":{}},"deadline":"2m","fetch":[{"id":"0","secret":{"vault":"https://p.vault.azure.net","name":"a"}},{"id":"1","key":{"vault":"https://p.vault.azure.net","name":"k"}}],"directories":[{"path":"/keyvault/files","entries":[{"file":"app.conf","mode":"0400","value":{"template":{"text":"\u0024{ secret('a') }\u0024{ key('v/k') }\n","secrets":{"a":"0"},"keys":{"v/k":"1"}}}}]}]}"#;

#[test]
fn a_template_survives_a_round_trip_and_names_only_what_is_fetched() {
    assert_eq!(Plan::from_json(OF_A_TEMPLATE).unwrap().to_json().unwrap(), OF_A_TEMPLATE);
    let broken = |from: &str, to: &str| Plan::from_json(&OF_A_TEMPLATE.replace(from, to)).unwrap_err().to_string();
    assert_eq!(broken(r#""a":"0""#, r#""a":"7""#), "the plan's file app.conf uses id \"7\", which it does not fetch");
    assert_eq!(broken(r#""v/k":"1""#, r#""v/k":"0""#), "the plan's file app.conf takes id \"0\" for a key, and it is none");
    assert!(broken(r#"{"template":"#, r#"{"object":"0","template":"#).contains("a value is exactly one of object, certificate, key, template"));
    assert!(broken(r#""text":"#, r#""novel":1,"text":"#).contains("unknown field `novel`"));
}

const OF_MANY: &str = r#"{"version":1,"cloud":{"authorityHost":"https://login.microsoftonline.com","resource":"https://vault.azure.net"},"identity":{"podIdentity":{}},"deadline":"2m","fetch":[{"id":"0","secret":{"vault":"https://p.vault.azure.net","name":"a"}},{"id":"1","key":{"vault":"https://p.vault.azure.net","name":"k"}}],"select":[{"id":"0","vault":"https://p.vault.azure.net","selector":{"prefix":"app-","tags":{"team":"web"}},"optional":true}],"configMap":{"name":"app-templates","path":"/keyvault/templates","secrets":{"a":"0"},"keys":{"v/k":"1"}},"directories":[{"path":"/keyvault/files","entries":[],"selected":[{"select":"0","file":"app/\u0024{name}","mode":"0400","property":"a.b","encoding":"hex"}],"configMapMode":"0440"}]}"#;

#[test]
fn what_is_known_only_later_survives_a_round_trip_and_refers_to_what_is_there() {
    assert_eq!(Plan::from_json(OF_MANY).unwrap().to_json().unwrap(), OF_MANY);
    let broken = |from: &str, to: &str| Plan::from_json(&OF_MANY.replace(from, to)).unwrap_err().to_string();
    assert_eq!(broken(r#"{"select":"0""#, r#"{"select":"7""#), "the plan's file app/${name} uses id \"7\", which it does not fetch");
    assert_eq!(broken(r#"{"a":"0"}"#, r#"{"a":"7"}"#), "the plan's ConfigMap app-templates uses id \"7\", which it does not fetch");
    assert_eq!(broken(r#"{"a":"0"}"#, r#"{"a":"1"}"#), "the plan's ConfigMap app-templates takes id \"1\" for a secret, and it is none");
    let twice = r#","optional":true},{"id":"0","vault":"https://p.vault.azure.net","selector":{"prefix":"b"}}]"#;
    assert_eq!(broken(r#","optional":true}]"#, twice), "the plan fetches id \"0\" twice");
    for (from, to, expected) in [
        ("{name}", "{nome}", "is not a file pattern"),
        (r#""prefix":"app-","tags":{"team":"web"}"#, "", "a selector has a prefix or tags"),
        (r#""configMap":{"#, r#""extraCa":"x","configMap":{"novel":1,"#, "unknown field `novel`"),
        (r#""encoding":"hex""#, r#""part":"chain""#, "unknown field `part`"),
    ] {
        let error = broken(from, to);
        assert!(error.contains(expected), "{to}: {error}");
    }
    let without = OF_MANY.replace(r#""configMap":{"name":"app-templates","path":"/keyvault/templates","secrets":{"a":"0"},"keys":{"v/k":"1"}},"#, "");
    let expected = "the plan's directory /keyvault/files has files of a ConfigMap, and the plan names none";
    assert_eq!(Plan::from_json(&without).unwrap_err().to_string(), expected);
}

#[test]
fn how_much_of_the_termination_message_is_kept_survives_a_round_trip() {
    let text = OF_A_TEMPLATE.replace("}]}]}", r#"}]}],"terminationMessageBytes":1365}"#);
    let plan = Plan::from_json(&text).unwrap();
    assert_eq!((plan.to_json().unwrap(), plan.termination_message_bytes), (text, Some(1_365)));
}
