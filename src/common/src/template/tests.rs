use super::words::{ENGINE_FILTERS, ENGINE_TESTS};
use super::*;

fn found(text: &str) -> Vec<String> {
    let template = Template::parse(text).unwrap();
    template.references().iter().map(|reference| format!("{} {} {}", reference.line, reference.kind().noun(), reference.name)).collect()
}

#[test]
fn every_call_that_names_an_object_is_found() {
    for (text, references) in [
        ("plain {{ helm }} $HOME $(x) $1", &[][..]),
        ("password=${ secret(\"db-password\") }\n", &["1 secret db-password"]),
        ("${secret('a')|shell}\n\n${ certificate(\"v/tls\").crt }${ key('k\\u0031') }", &["1 secret a", "3 certificate v/tls", "3 key k1"]),
        ("{% if secret('a') == 'x' %}\n{% set s = secret('b') | upper | trim %}${ s }\n{% endif %}", &["1 secret a", "2 secret b"]),
        ("{% for n in [secret('a'), secret('a')] %}${ loop.index }${ loop.cycle(1, 2) }${ n }{% endfor %}", &["1 secret a", "1 secret a"]),
        ("{% macro m(x, y=1) %}${ x ~ y }{% endmacro %}${ m(secret('a'), y=secret('b')) }", &["1 secret a", "1 secret b"]),
        ("{% filter upper %}${ dict(key=secret('a')).key }{% endfilter %}", &["1 secret a"]),
        ("{% if 1 %}{% set x = secret('a') %}{% else %}{% set x = 2 %}{% endif %}${ x }", &["1 secret a"]),
        ("{# ${ secret('a') } #}{% raw %}${HOME} ${ secret(x) }{% endraw %}", &[]),
        ("${ secret('a').count - secret('b').count }", &["1 secret a", "1 secret b"]),
        ("${ secret('a') is not startingwith('x') and 1 is odd }${ range(3) | sum }", &["1 secret a"]),
    ] {
        assert_eq!(found(text), references, "{text}");
    }
}

#[test]
fn what_would_fail_later_is_refused_with_line_and_remedy() {
    let literal = "takes one name in quotes, such as";
    let known = "before the pod starts";
    let sources = "values come from secret(\"…\"), certificate(\"…\") and key(\"…\")";
    let table = [
        ("\n${ secret(name) }", format!("line 2: secret(…) {literal} secret(\"NAME\"): every object must be known {known}")),
        ("${ key('a' ~ 'b') }", format!("line 1: key(…) {literal} key(\"NAME\"): every object must be known {known}")),
        ("${ secret() }", format!("line 1: secret(…) {literal} secret(\"NAME\"): every object must be known {known}")),
        ("${ secret('a', 'b') }", format!("line 1: secret(…) {literal} secret(\"NAME\"): every object must be known {known}")),
        (
            "{% set s = certificate %}${ s('a') }",
            "line 1: certificate is a function: call it as certificate(\"NAME\"), or give your variable another name".into(),
        ),
        ("{% for key in [1] %}{% endfor %}", "line 1: key is a function: call it as key(\"NAME\"), or give your variable another name".into()),
        ("${ secrets('a') }", format!("line 1: function \"secrets\" does not exist: {sources}")),
        ("${ super() }", format!("line 1: function \"super\" does not exist: {sources}")),
        ("${ self.a() }", format!("line 1: variable \"self\" does not exist: {sources}. {SHELL}")),
        ("${ debug() }", format!("line 1: function \"debug\" does not exist: {sources}")),
        ("${ env.HOME }", format!("line 1: variable \"env\" does not exist: {sources}. {SHELL}")),
        ("#!/bin/sh\ncd ${HOME}\n", format!("line 2: variable \"HOME\" does not exist: {sources}. {SHELL}")),
        ("${ secret('db').some-key }", "line 1: a hyphen is minus here: write [\"some-key\"] instead of .some-key".into()),
        ("${ secret('db').a-b-c | upper }", "line 1: a hyphen is minus here: write [\"a-b-c\"] instead of .a-b-c".into()),
        ("${ 'a' | base64 }", "line 1: there is no filter \"base64\"".into()),
        ("{% filter shout %}{% endfilter %}", "line 1: there is no filter \"shout\"".into()),
        ("${ 1 is prime }${ 1 is not prime }", "line 1: there is no test \"prime\"".into()),
        ("${ 'a'.upper() }", "line 1: values have no method \"upper\": use a filter, such as | upper".into()),
    ];
    for (text, message) in table {
        assert_eq!(Template::parse(text).unwrap_err().to_string(), message, "{text}");
    }
}

#[test]
fn bad_syntax_is_explained_and_shell_syntax_is_recognised() {
    let shell = |reason: &str| format!("{reason}. {SHELL}");
    let table = [
        ("a\n${ secret( }", "line 2: unexpected `}`".to_owned()),
        ("{% include 'x' %}", "line 1: unknown statement include".into()),
        ("\n{%- from 'x' import y %}", "line 2: unknown statement from".into()),
        ("{% import 'x' as y %}", "line 1: unknown statement import".into()),
        ("{% extends 'x' %}", "line 1: unknown statement extends".into()),
        ("{% block a %}{% endblock %}", "line 1: unknown statement block".into()),
        ("\n{% raw %}x", "line 2: unexpected end of raw block".into()),
        ("${ secret('a')", "line 1: unexpected end of input, expected end of variable block".into()),
        ("{% if 1 %}", "line 1: unexpected end of input, expected end of block".into()),
        ("\n${HOME:-/root}", shell("line 2: unexpected `:`, expected end of variable block")),
        ("${#list}", shell("line 1: unexpected character")),
    ];
    for (text, message) in table {
        assert_eq!(Template::parse(text).unwrap_err().to_string(), message, "{text}");
    }
}

#[test]
fn products_are_no_constants() {
    for (text, source) in [
        ("${ 'x' * 99999999 }*\n${ 2\n* (3 * a) }{% set a = 1 %}", "${ 'x' * __one * 99999999 }*\n${ 2\n* __one * (3 * __one * a) }{% set a = 1 %}"),
        ("${ range(*[3]) }${ dict(1, *[2] * 3) }${ 2 ** 3 }", "${ range(*[3]) }${ dict(1, *[2] * __one * 3) }${ 2 ** 3 }"),
    ] {
        assert_eq!(Template::parse(text).unwrap().source(), source);
    }
    // 19 GB, were they made.
    Template::parse(&format!("${{ {} }}", vec!["'x' * 99999999"; 100].join(" ~ "))).unwrap();
}

#[test]
fn hostile_depth_is_refused_before_it_overflows_the_stack() {
    for (open, link, close, message) in [
        ("${ 1", "+1", " }", "line 1: more than 400 words in one tag: split it with {% set %}"),
        ("${ 1", "|upper", " }", "line 1: more than 400 words in one tag: split it with {% set %}"),
        ("${ ", "(", "", "line 1: more than 400 words in one tag: split it with {% set %}"),
        ("${ ", "not ", "1 }", "line 1: more than 400 words in one tag: split it with {% set %}"),
        ("{% if 1 %}", "{% elif 1 %}", "{% endif %}", "line 1: more than 100 elif branches"),
        ("", "{% if 1 %}", "", "line 1: template exceeds maximum recursion limits"),
    ] {
        let text = format!("{open}{}{close}", link.repeat(100_000));
        assert_eq!(Template::parse(&text).unwrap_err().to_string(), message);
    }
    let widest = format!("{}{}${{ 1{} }}{}", "{% if 1 %}".repeat(140), "{% elif 1 %}".repeat(100), "+1".repeat(190), "{% endif %}".repeat(140));
    assert_eq!(found(&widest), [""; 0]);
    assert_eq!(found(&("x\n".repeat(70_000) + "${ secret('a') }")), ["65535 secret a"]);
}

#[test]
fn the_listed_filters_and_tests_are_the_engines_own() {
    let environment = Environment::new();
    let knows = |name: &str, what: &str| environment.compile_expression(&format!("{name:?} is {what}")).unwrap().eval(()).unwrap().is_true();
    for name in ENGINE_FILTERS.split(' ') {
        assert!(knows(name, "filter"), "{name}");
    }
    for name in ENGINE_TESTS.split(' ') {
        assert!(knows(name, "test"), "{name}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".*", parts in proptest::collection::vec("(\\$\\{|\\}|\\{%|%\\}| |secret|key|\\(|\\)|'a'|x|=|\\||upper|if|endif|for|in|set|is|not|\\.|,|\n|\\{#|#\\}|-|\\{|raw)", 0..40)) {
        let _ = Template::parse(&text);
        let _ = Template::parse(&parts.concat());
    }
}
