use super::*;

const PLAN: &str = r#"{"version":1,"cloud":{"authorityHost":"https://login.microsoftonline.com","resource":"https://vault.azure.net"},"identity":{"podIdentity":{}},"deadline":"2m",
"fetch":[{"id":"0","secret":{"vault":"https://p.vault.azure.net","name":"App-one"}},{"id":"1","key":{"vault":"https://p.vault.azure.net","name":"sign"}},{"id":"2","secret":{"vault":"https://p.vault.azure.net","name":"other"}}],
"select":[{"id":"0","vault":"https://p.vault.azure.net","selector":{"prefix":"app-"}},{"id":"1","vault":"https://p.vault.azure.net","selector":{"tags":{"a":"b"}},"optional":true}],
"configMap":{"name":"texts","path":"/keyvault/templates","secrets":{"App-one":"0","other":"2"},"keys":{"v/sign":"1"}},
"directories":[
{"path":"/keyvault/files","entries":[{"file":"one","mode":"0400","value":{"object":"0"}},{"file":"sign","mode":"0400","value":{"key":"1"}}],"selected":[{"select":"0","file":"s/${name}","mode":"0440"},{"select":"1","file":"t/${name}","mode":"0400","encoding":"hex"}],"configMapMode":"0444"},
{"path":"/keyvault/files-2","entries":[{"file":"other","mode":"0400","value":{"object":"2"}}],"selected":[{"select":"0","file":"${name}","mode":"0400"}]}]}"#;

fn expanded(selected: [&[&str]; 2], templates: &[(&str, &str)]) -> Result<Plan, Vec<String>> {
    let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
    let templates = templates.iter().map(|(file, text)| (file.parse().unwrap(), (*text).to_owned())).collect();
    let found = Found { selected: selected.into_iter().map(names).collect(), templates };
    expand(Plan::from_json(PLAN).unwrap(), found).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

/// Files and what they are made of, and what is fetched, with a question mark where it may be missing.
fn told(plan: &Plan) -> (Vec<String>, Vec<String>) {
    let entries = plan.directories.iter().flat_map(|directory| &directory.entries);
    let used = |entry: &Entry| entry.value.uses().iter().map(|(id, _)| *id).collect::<Vec<_>>().join(" ");
    let files = entries.map(|entry| format!("{} {}: {}", entry.mode, entry.file, used(entry))).collect();
    let optional = |object: &Object| if object.optional { "?" } else { "" };
    let fetches = plan.fetch.iter().map(|fetch| format!("{} {}{}", fetch.id, fetch.object.name, optional(&fetch.object))).collect();
    (files, fetches)
}

#[test]
fn every_selected_secret_is_fetched_once_and_becomes_a_file_in_each_directory() {
    let plan = expanded([&["app-ONE", "app-two"], &["app-two", "z"]], &[("a.txt", "${ secret('App-one') }${ key('v/sign') }")]).unwrap();
    let (files, fetches) = told(&plan);
    assert_eq!(
        files,
        [
            "0400 one: 0",
            "0400 sign: 1",
            "0440 s/app-ONE: 0",
            "0440 s/app-two: 0/app-two",
            "0400 t/app-two: 0/app-two",
            "0400 t/z: 1/z",
            "0444 a.txt: 0 1",
            "0400 other: 2",
            "0400 app-ONE: 0",
            "0400 app-two: 0/app-two",
        ]
    );
    assert_eq!(fetches, ["0 App-one", "1 sign", "2 other", "0/app-two app-two?", "1/z z?"]);
    assert!(plan.select.is_empty() && plan.config_map.is_none() && plan.directories.iter().all(|directory| directory.config_map_mode.is_none()));
    assert!(matches!(plan.directories[0].entries[4].value, Value::Object { encoding: keyvault_common::plan::Encoding::Hex, .. }));
    Plan::from_json(&plan.to_json().unwrap()).unwrap();
}

#[test]
fn the_only_secret_of_a_selection_must_be_there_unless_the_selection_is_optional() {
    assert_eq!(told(&expanded([&["app-x"], &[]], &[]).unwrap()).1[3..], ["0/app-x app-x"]);
    assert_eq!(told(&expanded([&[], &["x"]], &[]).unwrap()).1[3..], ["1/x x?"]);
}

#[test]
fn two_files_at_one_place_are_reported_with_both_sources() {
    assert_eq!(
        expanded([&["other", "sign"], &[]], &[]).unwrap_err(),
        ["p/other: it becomes the file other, and so does p/other: give one of them another file"]
    );
    assert_eq!(
        expanded([&["x", "y"], &[]], &[("s", "text"), ("one", "text")]).unwrap_err(),
        [
            "template one: it becomes the file one, and so does p/App-one: give one of them another file",
            "template s: it becomes the file s, where p/x needs a folder for s/x: give one of them another file",
            "template s: it becomes the file s, where p/y needs a folder for s/y: give one of them another file",
        ]
    );
}

#[test]
fn a_template_names_only_what_the_pod_declares_and_its_containers_are_given() {
    let problems =
        expanded([&[], &[]], &[("a", "x\n${ secret('nosuch') }${ key('App-one') }"), ("b", "${ secret( }"), ("c", "${ secret('App-one') }")]);
    assert_eq!(
        problems.unwrap_err(),
        [
            "ConfigMap texts: key a: line 2: secret(\"nosuch\") is nothing that the pod declares: name it in the pod's annotation keyvault-injector.io/secrets, spelt the same",
            "ConfigMap texts: key a: line 2: key(\"App-one\") is nothing that the pod declares: name it in the pod's annotation keyvault-injector.io/keys, spelt the same",
            "ConfigMap texts: key b: line 1: unexpected `}`",
        ]
    );
    let what = "template a of the ConfigMap goes to containers that are not given it: add them to the containers of its reference";
    assert_eq!(expanded([&[], &[]], &[("a", "${ secret('other') }")]).unwrap_err(), [format!("p/other: {what}")]);
}
