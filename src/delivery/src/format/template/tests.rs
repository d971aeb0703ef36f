use super::super::{Certificate, Object};
use super::*;
use keyvault_client::Secret;
use keyvault_common::plan::Encoding;

const PFX: &str = include_str!("../../../../../tests/fixtures/pfx/kv-ec-chain3.b64");
const PEM: &str = include_str!("../../../../../tests/fixtures/pfx/kv-ec-chain3.expected.pem");

fn values() -> Values<'static> {
    let secret = |value: &str| {
        let value = SecretValue::from(value.to_owned());
        Object::Secret(Secret { value, content_type: None, of_certificate: false, file_encoding: Encoding::Utf8, version: String::new() }.into())
    };
    let certificate = Certificate::read(&SecretValue::from(PFX.to_owned())).unwrap();
    Values::from([
        ("0", secret("p@ss 'word' canary")),
        ("1", secret(r#"{"sink": {"token": "canary", "port": 5432, "off": null}, "hosts": ["a", "b"], "x.y": "dot"}"#)),
        ("2", Object::Certificate(certificate)),
        ("3", secret("")),
    ])
}

fn planned(text: &str) -> PlanTemplate {
    let ids = |pairs: &[(&str, &str)]| pairs.iter().map(|(name, id)| ((*name).to_owned(), (*id).to_owned())).collect();
    PlanTemplate {
        text: text.to_owned(),
        secrets: ids(&[("db", "0"), ("v/config", "1"), ("empty", "3"), ("gone", "9")]),
        certificates: ids(&[("web", "2")]),
        keys: BTreeMap::new(),
    }
}

fn rendered(text: &str) -> Result<String, String> {
    let text = Rendering::new(&planned(text), &values()).and_then(|rendering| rendering.run()).map_err(|error| error.to_string())?;
    Ok(String::from_utf8(text.expose().to_vec()).unwrap())
}

#[test]
fn values_parts_filters_and_blocks_become_text_byte_for_byte() {
    let leaf_to_root = &PEM[PEM.find("-----BEGIN CERTIFICATE").unwrap()..];
    for (text, expected) in [
        ("plain {{ helm }} $HOME\r\n\n", "plain {{ helm }} $HOME\r\n\n"),
        ("a=${ secret(\"db\") }\n", "a=p@ss 'word' canary\n"),
        ("${secret('db')|shell} ${ secret('db') | urlencode }", "'p@ss '\\''word'\\'' canary' p%40ss%20%27word%27%20canary"),
        ("${ secret(\"v/config\").sink.token }:${ secret('v/config').sink.port }", "canary:5432"),
        ("${ secret('v/config').hosts[1] }${ secret('v/config')[\"x.y\"] }${ secret('v/config').hosts }", r#"bdot["a","b"]"#),
        ("{% set s = secret('db') %}{% if s is endingwith('canary') and not secret('empty') %}${ s[:1] | upper }{% endif %}", "P"),
        ("{% macro m(x) %}[${ x ~ secret('v/config').hosts[0] }]{% endmacro %}${ m(1) }${ m('<&>') }", "[1a][<&>a]"),
        ("{% for n in [secret('db')|length, 2] %}${ n }${ ',' if not loop.last }{% endfor %}", "18,2"),
        ("${ 'ab' * 2 }${ 2 * 'ab' }${ 2 * 3 * 4 ** 2 * -1 }${ ([0] * 2) | length }", "abababab-962"),
        ("{% raw %}${HOME} ${ secret(x) }{% endraw %}{# ${ secret('gone') } #}", "${HOME} ${ secret(x) }"),
        ("${ certificate('web').crt }", leaf_to_root),
        ("${ certificate('web').bundle }", PEM),
    ] {
        assert_eq!(rendered(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn a_group_is_a_file_that_its_reader_reads() {
    let text = rendered("{\n  \"a\": ${ secret(\"db\") | json },\n  \"b.c\": ${ secret(\"v/config\") | json }\n}\n").unwrap();
    let read: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(read["a"], "p@ss 'word' canary");
    assert!(read["b.c"].as_str().unwrap().starts_with("{\"sink\": {"));
    assert_eq!(rendered("A=${ secret(\"empty\") | dotenv }\nB=${ secret(\"db\") | dotenv }\n").unwrap(), "A=''\nB=\"p@ss 'word' canary\"\n");
}

#[test]
fn what_cannot_be_rendered_names_its_line_and_never_a_value() {
    let value = "a filter, test, function or operator cannot work with this value";
    let undefined = "the variable, or a part of it, is not defined";
    for (text, expected) in [
        ("\n\n${ secret('v/config').sink.none }", "line 3: property sink.none: there is nothing at \"none\""),
        ("${ secret('v/config').sink.off }", "line 1: property sink.off is null"),
        ("\n${ secret('gone') }", "line 2: its object does not exist"),
        ("${ secret('other') }", "line 1: secret(\"other\") is not in the plan: use the agent image that the webhook was released with"),
        ("\n${ secret('db') | int }", &format!("line 2: {value}")),
        ("\n${ secret('db') + 1 }", &format!("line 2: {value}")),
        ("${ secret(\n'db'\n) }\n${ dict(a=1).b }", &format!("line 4: {undefined}")),
        ("{% set s = secret('v/config') %}\n${ s.sink }", &format!("line 2: {undefined}")),
        ("{% if 0 %}{% set x = 1 %}{% endif %}\n${ x }", &format!("line 2: {undefined}")),
        ("\n${ secret('db') | b64decode }", "line 2: b64decode: the value is not base64"),
        (
            "A=${ secret('empty') | dotenv }\nB=${ (secret('db') ~ '$') | dotenv }",
            "line 2: dotenv: bash expands $ and ` in a value that has a single quote; write the value as JSON or YAML, or with the filter shell if only a shell reads it",
        ),
        ("\n${ 'x' * 70000 }", "the template cannot be rendered: the file would be longer than 64 KiB"),
        (
            "${ secret('db', 1) }",
            "line 1: secret(…) takes one name in quotes, such as secret(\"NAME\"): every object must be known before the pod starts",
        ),
        ("${ namespace() }", "line 1: function \"namespace\" does not exist: values come from secret(\"…\"), certificate(\"…\") and key(\"…\")"),
    ] {
        let error = rendered(text).unwrap_err();
        assert_eq!(error, expected, "{text}");
        assert!(!error.contains("canary"));
    }
}

#[test]
fn a_template_that_repeats_too_much_ends() {
    for long in [
        "\n{% for a in range(2000) %}{% for b in range(2000) %}{% endfor %}{% endfor %}",
        "{% macro m(n) %}{% if n %}${ m(n - 1) }${ m(n - 1) }{% endif %}{% endmacro %}\n${ m(30) }",
    ] {
        let error = rendered(long).unwrap_err();
        assert!(error.ends_with(": the template takes more than a million steps: let it repeat less"), "{error}");
    }
    let longest = "{% for a in range(65536) %}${ loop.index % 10 }{% endfor %}";
    assert_eq!(rendered(longest).map(|text| text.len()), Ok(MAX_BYTES));
}

#[test]
fn another_process_gets_the_template_and_its_values_to_the_byte() {
    let rendering = Rendering::new(&planned("é${ secret('db') }${ secret('empty') }"), &values()).unwrap();
    let bytes = rendering.to_bytes();
    assert_eq!(Rendering::from_bytes(bytes.expose()), Some(rendering));
    for broken in [&b""[..], &bytes.expose()[..bytes.len() - 1], &[bytes.expose(), b"x"].concat(), &[0xff; 9], b"\x01\0\0\0\0\0\0\0\xff"] {
        assert_eq!(Rendering::from_bytes(broken), None);
    }
}

#[test]
fn deep_values_do_not_overflow_the_stack() {
    let nested = format!("{{% set x = 1 %}}{}${{ x }}", "{% set x = [x] %}".repeat(5_500));
    assert_eq!(rendered(&nested).map(|text| text.len()), Ok(11_001));
    let called = "{% macro m(x) %}${ m(x) }{% endmacro %}${ m(1) }";
    assert_eq!(rendered(called).unwrap_err(), "line 1: a filter, test, function or operator cannot work with this value");
}

proptest::proptest! {
    #[test]
    fn no_template_makes_it_panic(parts in proptest::collection::vec("(\\$\\{|\\}|\\{%|%\\}| |secret\\('db'\\)|secret\\('v/config'\\)|\\.sink|\\.port|\\[0\\]|certificate\\('web'\\)\\.key|\\(|\\)|'a'|x|=|\\|json|\\|properties|\\|b64decode|\\|upper|if 1|endif|for|in|set|is|not|\\.|,|\n|1|\\+|~|\\*|range|\\{#|#\\}|-|\\{|raw)", 0..30)) {
        static VALUES: std::sync::LazyLock<Values<'static>> = std::sync::LazyLock::new(values);
        for text in [parts.concat(), format!("${{ {} }}", parts.concat())] {
            if let Err(error) = Rendering::new(&planned(&text), &VALUES).and_then(|rendering| rendering.run()) {
                assert_ne!(error, FormatError::Unrendered(GAVE_UP.into()), "{text}");
                assert!(!error.to_string().contains("canary"), "{text}");
            }
        }
    }
}
