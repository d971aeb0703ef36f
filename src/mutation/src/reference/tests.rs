use super::*;

fn good(text: &str, grammar: Grammar) -> Vec<Reference> {
    let Parsed { references, problems, .. } = parse(text, grammar);
    assert_eq!(problems, [], "{text}");
    references
}

fn problems(text: &str, grammar: Grammar) -> Vec<String> {
    parse(text, grammar).problems.iter().map(ToString::to_string).collect()
}

fn file(reference: &Reference) -> Option<&str> {
    match &reference.destination {
        Some(Destination::File(path)) => Some(path.as_str()),
        Some(Destination::Env(name)) => Some(name.as_str()),
        None => None,
    }
}

fn object(reference: &Reference) -> (Option<String>, &str, Option<&str>) {
    match &reference.target {
        Target::Object { vault, name, version } => (
            vault.as_ref().map(|vault| match vault {
                VaultLocator::Name(name) => name.to_string(),
                VaultLocator::Url(url) => url.to_string(),
            }),
            name.as_str(),
            version.as_ref().map(ObjectVersion::as_str),
        ),
        Target::Select { .. } | Target::Group { .. } => panic!("many objects"),
    }
}

#[test]
fn the_short_form_has_four_parts_of_which_three_may_be_left_out() {
    let version = "fa30baf29582406ca154583060b42e39";
    let text = format!("db-password, stripe/api-key=stripe-key\n  tls/k=v=other-vault/key@{version},\n\n12345");
    let references = good(&text, Grammar::Secrets);
    assert_eq!(references.iter().map(file).collect::<Vec<_>>(), [None, Some("stripe/api-key"), Some("tls/k=v"), None]);
    assert_eq!(object(&references[1]), (None, "stripe-key", None));
    assert_eq!(object(&references[2]), (Some("other-vault".into()), "key", Some(version)));
    assert_eq!(object(&references[3]), (None, "12345", None));
    assert_eq!(file(&good("DB_PASSWORD=db-password", Grammar::Env)[0]), Some("DB_PASSWORD"));
}

#[test]
fn the_long_form_keeps_spellings() {
    let text = r#"
# comments are allowed here
- db-password
- "12345"
- {name: 6e10, mode: 0440, file: a/b, optional: true, containers: [audit]}
- name: payments/config
  property: sink."a.b"
  encoding: base64
- {vault: "https://hsm.example:8443", name: x, version: 00000000000000000000000000000001}
- {select: {prefix: app-, tags: {team: payments}}, file: "dir/${name}"}
"#;
    let references = good(text, Grammar::Secrets);
    assert_eq!(object(&references[1]).1, "12345");
    assert_eq!((object(&references[2]).1, references[2].mode.map(|mode| mode.to_string())), ("6e10", Some("0440".into())));
    assert!(references[2].optional && !references[0].optional);
    assert_eq!(references[2].containers.as_ref().map(|names| names[0].as_str()), Some("audit"));
    assert_eq!(references[3].encoding, Encoding::Base64);
    assert_eq!(object(&references[3]), (Some("payments".into()), "config", None));
    assert_eq!(object(&references[4]), (Some("https://hsm.example:8443".into()), "x", Some("00000000000000000000000000000001")));
    let Target::Select { vault: None, selector, file } = &references[5].target else { panic!("not a selection") };
    assert_eq!((selector.to_string().as_str(), file.as_str()), ("app-*?tags=team=payments", "dir/${name}"));
}

#[test]
fn certificates_and_keys_have_formats() {
    assert_eq!(good("[{name: web, format: pfx}]", Grammar::Certificates)[0].format, Some(Format::Pfx));
    assert_eq!(good("[{name: sign, format: jwk}]", Grammar::Keys)[0].format, Some(Format::Jwk));
    let version = "fa30baf29582406ca154583060b42e39";
    let password = good(&format!("[{{name: web, format: pfx, passwordFrom: shared/pw@{version}}}]"), Grammar::Certificates)[0].password.clone();
    let expected = NamedObject { vault: Some("shared".parse().unwrap()), name: "pw".parse().unwrap(), version: Some(version.parse().unwrap()) };
    assert_eq!(password, Some(expected));
    assert_eq!(
        problems("[{name: web, format: jks, encoding: hex}]", Grammar::Certificates),
        [
            "item 1 \"web\": format: a Java keystore is not available: write pfx, which Java reads as it is (PKCS12), with passwordFrom if the program wants a password",
            "item 1 \"web\": encoding: only a secret has an encoding: remove it"
        ]
    );
}

#[test]
fn all_problems_come_at_once_and_good_references_survive() {
    let Parsed { references, problems, .. } = parse("good, my_secret, ../x=name, a,,b@latest, ab/c", Grammar::Secrets);
    assert_eq!(references.iter().map(|reference| object(reference).1).collect::<Vec<_>>(), ["good", "a"]);
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "item 2 \"my_secret\": \"my_secret\" is not a Key Vault object name: 1 to 127 letters, digits and hyphens",
            "item 3 \"../x=name\": \"../x\" is not a relative file path: names joined by single slashes, none of them . or .. or beginning with .., at most 255 bytes each and 1024 in all, no control characters",
            "item 5: there is nothing between two commas: remove one",
            "item 6 \"b@latest\": \"latest\" is not a Key Vault object version: leave it out: without a version the latest is taken",
            "item 7 \"ab/c\": \"ab\" is not a vault name: 3 to 24 letters, digits and single hyphens, a letter first and no hyphen last",
        ]
    );
}

#[test]
#[allow(clippy::too_many_lines, reason = "most of them are a table")]
fn what_the_long_form_refuses() {
    for (text, grammar, expected) in [
        ("- 12345", Grammar::Secrets, "item 1 \"12345\": a reference is expected here, not a bare number: write it in quotes, \"12345\""),
        ("- \n- b", Grammar::Secrets, "item 1: it is empty: name an object, or remove the line"),
        ("- [a]", Grammar::Secrets, "item 1: a list in a list: a reference is a text or a map"),
        ("- {name: a, nmae: b}", Grammar::Secrets, "item 1 \"a\": nmae: unknown key; did you mean name?"),
        ("- {file: a}", Grammar::Secrets, "item 1: it names nothing: add name (or group, or select)"),
        (
            "- {name: a, env: B}",
            Grammar::Secrets,
            "item 1 \"a\": env: a file has no variable name: use file, or move the reference to the annotation env",
        ),
        ("- {name: a, optional: \"true\"}", Grammar::Secrets, "item 1 \"a\": optional: \"true\" is neither true nor false (without quotes)"),
        (
            "- {name: v/a, vault: vault}",
            Grammar::Secrets,
            "item 1 \"v/a\": the vault is there twice, in vault and before the slash in name: keep one",
        ),
        ("- {name: a, containers: []}", Grammar::Secrets, "item 1 \"a\": containers: the list is empty: name a container, or remove the field"),
        (
            "- {name: a, vault: \"http://x.example\"}",
            Grammar::Secrets,
            "item 1 \"a\": vault: \"http://x.example\" is not a vault address: it begins with https://",
        ),
        ("- db: db-password", Grammar::Secrets, "item 1: db: unknown key; for the file db write \"db=db-password\""),
        ("- DB: db-password", Grammar::Env, "item 1: DB: unknown key; for the variable DB write \"DB=db-password\""),
        (
            "- {name: a, version: latest}",
            Grammar::Secrets,
            "item 1 \"a\": version: \"latest\" is not a Key Vault object version: leave it out: without a version the latest is taken",
        ),
        (
            "DB=db-password@azurekeyvault",
            Grammar::Env,
            "item 1 \"DB=db-password@azurekeyvault\": \"azurekeyvault\" is not a Key Vault object version: leave out @azurekeyvault: the name alone is enough here",
        ),
        ("app-*", Grammar::Secrets, "item 1 \"app-*\": a name has no wildcards: write {select: {prefix: app-}, file: \"${name}\"} in a YAML list"),
        ("app-*", Grammar::Keys, "item 1 \"app-*\": a name has no wildcards: name each object"),
        ("*", Grammar::Secrets, "item 1 \"*\": a name has no wildcards: name each object"),
        (
            "- db-password\n  - api-key",
            Grammar::Secrets,
            "item 1 \"db-password - api-key\": YAML reads two lines as one item: begin each \"- \" in the same column",
        ),
        ("- {select: {prefix: app-}, file: app/${name}}", Grammar::Secrets, "line 1, column 39: ${name} needs quotes here: file: \"app/${name}\""),
        (
            "- {name: a, foo: b}",
            Grammar::Secrets,
            "item 1 \"a\": foo: unknown key; known are file, mode, group, name, vault, select, version, encoding, property, optional, containers",
        ),
        (
            "- {name: a, foo: b}",
            Grammar::Keys,
            "item 1 \"a\": foo: unknown key; known are file, mode, name, format, vault, version, optional, containers",
        ),
        ("name: a", Grammar::Secrets, "a YAML list is expected: begin each reference with \"- \""),
        ("- &a db", Grammar::Secrets, "line 1, column 6: YAML anchors and aliases are not read: write the value out"),
        ("- {name: a}", Grammar::Env, "item 1 \"a\": a variable has a name: add env"),
        (
            "- {name: a, env: A-B}",
            Grammar::Env,
            "item 1 \"a\": env: \"A-B\" is not an environment variable name: letters, digits and underscores, no digit first",
        ),
        (
            "https://evil.example/x",
            Grammar::Secrets,
            "item 1 \"https://evil.example/x\": a name is expected here, not an address: write {name: SECRET, vault: \"https://HOST\"} in a YAML list",
        ),
        ("a", Grammar::Env, "item 1 \"a\": a variable has a name: write NAME=secret"),
        (
            "KEYVAULT_AGENT_EXEC=a",
            Grammar::Env,
            "item 1 \"KEYVAULT_AGENT_EXEC=a\": \"KEYVAULT_AGENT_EXEC\" is not a variable that a container can be given: names that begin with KEYVAULT_AGENT_ belong to keyvault-injector; choose another name",
        ),
        ("[]", Grammar::Secrets, "it names nothing: list at least one reference, or remove the annotation"),
        (" \n ", Grammar::Secrets, "it names nothing: list at least one reference, or remove the annotation"),
    ] {
        assert_eq!(problems(text, grammar), [expected], "{text}");
    }
}

#[test]
fn what_a_selection_refuses() {
    let pattern = "is not a file pattern: a relative file path with ${name} where each secret's name goes, such as app/${name}, and no other ${…}";
    let prefix = "is not a prefix of Key Vault object names: 1 to 127 letters, digits and hyphens";
    let elsewhere = "only secrets that become files can be selected: move it to the annotation secrets, or name each object";
    for (fields, expected) in [
        ("select: {}, file: \"${name}\"", "select: it would take every secret of the vault: give a prefix or tags".to_owned()),
        ("select: {tags: {}}, file: \"${name}\"", "select: it would take every secret of the vault: give a prefix or tags".into()),
        ("select: [a], file: \"${name}\"", "select: a map is expected here, not a list".into()),
        ("select: {prefix: \"\"}, file: \"${name}\"", format!("select.prefix: \"\" {prefix}")),
        ("select: {prefix: a_b}, file: \"${name}\"", format!("select.prefix: \"a_b\" {prefix}")),
        ("select: {prefix: a, tag: {}}, file: \"${name}\"", "select.tag: unknown key; did you mean tags?".into()),
        ("select: {tags: [a]}, file: \"${name}\"", "select.tags: a map of tags is expected, not a list".into()),
        ("select: {tags: {a: [b]}}, file: \"${name}\"", "select.tags.a: a tag's value is text (\"\" where it is empty), not a list".into()),
        ("select: {tags: {a: }}, file: \"${name}\"", "select.tags.a: a tag's value is text (\"\" where it is empty), not nothing".into()),
        ("select: {prefix: a}", "a selection has no name: add file, with ${name} where each secret's name goes, such as \"app/${name}\"".into()),
        ("select: {prefix: a}, file: a", format!("file: \"a\" {pattern}")),
        ("select: {prefix: a}, file: \"${name}/${other}\"", format!("file: \"${{name}}/${{other}}\" {pattern}")),
        ("select: {prefix: a}, file: \"../${name}\"", format!("file: \"../${{name}}\" {pattern}")),
        ("select: {prefix: a}, file: \"${name}${name}${name}\"", format!("file: \"${{name}}${{name}}${{name}}\" {pattern}")),
        ("select: {prefix: a}, file: \"${name}\", name: b", "name: name and select exclude each other: keep one".into()),
        (
            "select: {prefix: a}, file: \"${name}\", version: 00000000000000000000000000000001",
            "version: select always takes the latest versions: remove version".into(),
        ),
        ("select: {prefix: a}, file: \"${name}\", format: pem", "format: a secret has no format: remove it".into()),
        (
            "select: {prefix: a}, file: \"${name}\", nmae: b",
            "nmae: unknown key; known are file, mode, select, vault, encoding, property, optional, containers".into(),
        ),
    ] {
        assert_eq!(problems(&format!("- {{{fields}}}"), Grammar::Secrets), [format!("item 1 (select): {expected}")], "{fields}");
    }
    for grammar in [Grammar::Certificates, Grammar::Keys, Grammar::Env] {
        assert_eq!(problems("- {select: {prefix: a}, file: \"${name}\"}", grammar), [format!("item 1 (select): {elsewhere}")]);
    }
    assert_eq!(
        problems("- {group: [A=a], format: dotenv, file: f, select: {prefix: a}}", Grammar::Secrets),
        ["item 1: group and select exclude each other: keep one"]
    );
}

#[test]
fn a_long_item_is_cut_in_messages() {
    let long = "x".repeat(200);
    let text = problems(&long, Grammar::Secrets).remove(0);
    assert!(text.starts_with(&format!("item 1 \"{}…\": ", "x".repeat(80))), "{text}");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "[ -~\\n\\t¡-￿]{0,80}", list in "(- |\\[)[-a-z{}\\[\\]:,\"'&*!|>#@=/ \\n]{0,60}") {
        for grammar in [Grammar::Secrets, Grammar::Certificates, Grammar::Keys, Grammar::Env] {
            let _ = parse(&text, grammar);
            let _ = parse(&list, grammar);
        }
    }
}

#[test]
fn a_group_is_the_template_of_its_file() {
    let written = |format: &str| {
        let Parsed { references, problems, .. } = parse(&format!("- {{group: [A=v1x/a, b-c], format: {format}, file: f}}"), Grammar::Secrets);
        assert_eq!(problems, []);
        let Target::Group { format, members } = &references[0].target else { panic!("{references:?}") };
        format.template(members)
    };
    assert_eq!(written("json"), "{\n  \"A\": ${ secret(\"v1x/a\") | json },\n  \"b-c\": ${ secret(\"b-c\") | json }\n}\n");
    assert_eq!(written("yaml"), "\"A\": ${ secret(\"v1x/a\") | json }\n\"b-c\": ${ secret(\"b-c\") | json }\n");
    let Parsed { references, problems, .. } = parse("- {group: [A=a, B=v1x/b], format: dotenv, file: f}", Grammar::Secrets);
    assert_eq!(problems, []);
    let Target::Group { format, members } = &references[0].target else { panic!("{references:?}") };
    let text = format.template(members);
    assert_eq!(text, "A=${ secret(\"a\") | dotenv }\nB=${ secret(\"v1x/b\") | dotenv }\n");
    assert_eq!(keyvault_common::template::Template::parse(&text).unwrap().references().len(), 2);
}
