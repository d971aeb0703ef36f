use serde_json::json;

use super::*;

const DEPLOYMENT: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: api, namespace: pay}\nspec:\n  template:\n    spec: {}\n";

fn rendered_with(text: &str, pointer: &str, value: Value) -> String {
    let mut stream = Stream::parse(text).unwrap();
    let document = stream.documents_mut().iter_mut().find(|document| document.value().pointer(pointer).is_some()).unwrap();
    document.replace(pointer, value).unwrap();
    stream.render().unwrap()
}

#[test]
fn an_untouched_stream_is_the_same_to_the_byte() {
    for (text, documents) in [
        ("", 1),
        ("# only a comment\n", 1),
        ("---\n---\n", 2),
        ("a: 1", 1),
        ("# licence\n---\na: 1\n--- # second\nb: 2\n", 2),
        ("%YAML 1.1\n# why\n---\na: 1\n...\n%YAML 1.2\n---\nb: 2\n...\n", 2),
        ("a: 1\n...\n# after\n", 2),
        ("\u{feff}a: 1\r\n---\r\nb: |\r\n  --- not a marker\r\n  # text\r\n", 2),
        ("a: |\n  text\n  ---\n  ----\nb: 1\n", 1),
        ("--- {a: 1}\n---\t[b]\n---\n", 3),
        (" {\"a\": 1}\n", 1),
        ("{\"a\": 1}{\"b\": 2}\r\n{\"c\": 3}\n\n", 3),
        ("{a: 1}\n---\n{\"b\": 2}\n", 2),
    ] {
        let stream = Stream::parse(text).unwrap();
        assert_eq!(stream.documents().len(), documents, "{text:?}");
        assert_eq!(stream.render().unwrap(), text);
    }
}

#[test]
fn a_document_knows_the_line_it_starts_on() {
    let stream = Stream::parse("# one\na: 1\n---\nb: 2\n...\nc: 3\n").unwrap();
    assert_eq!(stream.documents().iter().map(Document::line).collect::<Vec<_>>(), [1, 3, 6]);
    let stream = Stream::parse("{\n\"a\": 1}\n{}").unwrap();
    assert_eq!(stream.documents().iter().map(Document::line).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn every_kind_that_makes_pods_is_found_and_nothing_else() {
    for (api_version, kind, pointer) in [
        ("v1", "Pod", Some("")),
        ("v1", "ReplicationController", Some("/spec/template")),
        ("apps/v1", "Deployment", Some("/spec/template")),
        ("apps/v1", "StatefulSet", Some("/spec/template")),
        ("apps/v1", "DaemonSet", Some("/spec/template")),
        ("apps/v1", "ReplicaSet", Some("/spec/template")),
        ("batch/v1", "Job", Some("/spec/template")),
        ("batch/v1", "CronJob", Some("/spec/jobTemplate/spec/template")),
        ("batch.volcano.sh/v1alpha1", "Job", None),
        ("v1", "ConfigMap", None),
        ("", "Pod", Some("")),
    ] {
        let value = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "n"}, "spec": {"template": {}, "jobTemplate": {"spec": {"template": {}}}}});
        let stream = Stream::parse(&value.to_string()).unwrap();
        let expected = pointer.map(|pointer| Target {
            pointer: pointer.into(),
            kind: kind.into(),
            name: Some("n".into()),
            generate_name: None,
            namespace: None,
        });
        assert_eq!(stream.documents()[0].targets(), Vec::from_iter(expected), "{kind}");
    }
    assert_eq!(Stream::parse("apiVersion: apps/v1\nkind: Deployment\nspec:\n").unwrap().documents()[0].targets(), []);
}

#[test]
fn lists_in_lists_are_searched() {
    let stream = Stream::parse(&format!(
        "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n- apiVersion: v1\n  kind: List\n  items:\n  - {}",
        DEPLOYMENT.replace('\n', "\n    ")
    ));
    let target = Target {
        pointer: "/items/1/items/0/spec/template".into(),
        kind: "Deployment".into(),
        name: Some("api".into()),
        generate_name: None,
        namespace: Some("pay".into()),
    };
    assert_eq!(stream.unwrap().documents()[0].targets(), [target]);
}

#[test]
fn a_change_leaves_the_other_documents_and_what_surrounds_its_own() {
    let text = format!("# licence\n---\n# Source: chart\n{DEPLOYMENT}...\n---\nmode:   0440 # kept\n");
    assert_eq!(
        rendered_with(&text, "/spec/template/spec", json!({"a": ["x", {"b": "1\n2\n"}]})),
        "# licence\n---\n# Source: chart\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: api\n  namespace: pay\nspec:\n  template:\n    spec:\n      \
         a:\n      - x\n      - b: |\n          1\n          2\n...\n---\nmode:   0440 # kept\n"
    );
    assert_eq!(rendered_with("\u{feff}a: 1\r\nb: 2\r\n", "/a", json!([3])), "\u{feff}a:\r\n- 3\r\nb: 2\r\n");
    assert_eq!(rendered_with("--- {a: 1}\n---\nb: 1", "/a", json!(2)), "---\na: 2\n---\nb: 1");
    assert_eq!(rendered_with(" {\"a\":1}\n{\"b\":1}\n", "/a", json!(2)), " {\n  \"a\": 2\n}\n{\"b\":1}\n");
}

#[test]
fn a_value_put_back_unchanged_changes_no_byte() {
    let mut stream = Stream::parse("b:   1 # why\n").unwrap();
    assert_eq!(stream.documents_mut()[0].replace("/b", json!(1)), Some(json!(1)));
    assert_eq!(stream.documents_mut()[0].replace("/c/d", json!(1)), None);
    assert_eq!(stream.render().unwrap(), "b:   1 # why\n");
}

#[test]
fn text_that_another_reader_would_take_for_something_else_is_quoted() {
    for text in [
        "0440",
        "yes",
        "No",
        "on",
        "y",
        "1e3",
        "null",
        "~",
        "",
        "2026-01-01",
        "true",
        "0x1f",
        "1_000",
        ".5",
        "1:30",
        "- a",
        "a: b",
        "# c",
        "*x",
        "&x",
        "!x",
        "%x",
        "<<",
        " x",
    ] {
        assert_eq!(rendered_with("a: b", "/a", json!(text)), format!("a: {text:?}\n"));
        assert_eq!(rendered_with("a: b", "", json!({text: 1})), format!("{text:?}: 1\n"));
    }
}

#[test]
fn values_are_read_as_kubectl_reads_them() {
    let stream = Stream::parse("a: 0440\nb: yes\nc: 1e3\nd: 2026-01-01\ne: ~\nf: '0440'\ng: &x {h: 1}\ni: {<<: *x, j: 2}\n1: k\n").unwrap();
    let expected =
        json!({"a": 288, "b": true, "c": 1000.0, "d": "2026-01-01", "e": null, "f": "0440", "g": {"h": 1}, "i": {"h": 1, "j": 2}, "1": "k"});
    assert_eq!(stream.documents()[0].value(), &expected);
}

#[test]
fn an_error_names_the_line_of_the_whole_text_and_the_reason() {
    for (text, error) in [
        ("a: 1\n---\nb: {\n", "line 3: unclosed bracket '{'"),
        ("# c\n---\na: 1\na: 2\n", "line 4: duplicate mapping key: a not allowed here"),
        ("a: .nan\n", "line 1: value `.nan` is not a finite number"),
        ("a:\n\t- 1\n", "line 2: tabs disallowed within this context (block indentation)"),
        ("a: *b\n", "line 1: reference to unknown value"),
        ("{\"a\": 1,\n \"b\" 2}", "line 2: invalid trailing content after double-quoted scalar"),
    ] {
        assert_eq!(Stream::parse(text).unwrap_err().to_string(), error, "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_is_lost_or_makes_it_panic(parts in proptest::collection::vec("(---|\\.\\.\\.|#|%|\\{|a|: |- |\u{feff}|\r\n|\n|\"| |1)", 0..40)) {
        let text = parts.concat();
        for (line, piece) in split(&text) {
            let offset = piece.as_ptr() as usize - text.as_ptr() as usize;
            proptest::prop_assert_eq!(text[..offset].matches('\n').count() + 1, line);
        }
        if let Ok(stream) = Stream::parse(&text) {
            proptest::prop_assert_eq!(stream.render().unwrap(), text);
        }
    }

    #[test]
    fn any_text_survives_being_written(key in ".*", text in "(\\PC|[\n\r\t :#'\"|>-]){0,60}", crlf in proptest::bool::ANY) {
        let value = json!({"x": [{"y": text, key.as_str(): text}], key.as_str(): null, "z": text});
        let source = if crlf { "# c\r\n---\r\na: b\r\n...\r\n" } else { "# c\n---\na: b\n...\n" };
        let written = rendered_with(source, "", value.clone());
        let back = Stream::parse(&written).unwrap();
        proptest::prop_assert_eq!(back.documents()[0].value(), &value, "{}", written);
    }
}
