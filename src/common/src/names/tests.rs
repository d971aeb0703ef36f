use super::*;

fn check<T: FromStr<Err = NameError> + fmt::Display>(good: &[&str], bad: &[&str]) {
    for text in good {
        assert_eq!(text.parse::<T>().map(|value| value.to_string()).as_deref(), Ok(*text));
    }
    for text in bad {
        assert!(text.parse::<T>().is_err(), "{text:?} was accepted");
    }
}

#[test]
fn names_follow_the_rules_of_key_vault_and_kubernetes() {
    let long = "a".repeat(128);
    check::<VaultName>(&["abc", "payments-prod", "Kv1"], &["ab", "1ab", "a--b", "ab-", "a_b", "a.b", &"a".repeat(25), ""]);
    check::<ObjectName>(&["a", "db-password", "12345", &long[1..]], &["", "my_secret", "a/b", "a.b", "../keys/x", &long]);
    check::<ObjectVersion>(&["fa30baf29582406ca154583060b42e39"], &["latest", "fa30", "ga30baf29582406ca154583060b42e39"]);
    check::<FilePath>(&["a", "tls/server.pem", ".pgpass", "a b"], &["", "/a", "a/", "a//b", "..", "a/../b", "..data", "./a", "a\nb", "a\\b"]);
    check::<EnvName>(&["A", "_a1"], &["", "1A", "A-B", "A.B"]);
    check::<Guid>(
        &["0f1e2d3c-1111-4222-8333-444455556666"],
        &["", "0f1e2d3c", "0f1e2d3c-1111-4222-8333-44445555666g", "{0f1e2d3c-1111-4222-8333-444455556666}"],
    );
    check::<ContainerName>(&["api", "a-1"], &["", "Api", "-a", "a-"]);
    check::<AbsolutePath>(&["/", "/keyvault", "/a/b"], &["", "a", "/a/", "//a", "/a/../b", "/a:b"]);
}

#[test]
fn a_mode_keeps_four_digits_and_lets_the_owner_read() {
    assert_eq!("440".parse::<FileMode>().unwrap().to_string(), "0440");
    check::<FileMode>(&["0400", "0444", "0640"], &["", "4", "0888", "1444", "00440", "0044", "0o400", "+440"]);
}

#[test]
fn a_vault_url_is_a_host_and_a_port_and_nothing_else() {
    let url: VaultUrl = "https://Payments.vault.azure.net:443/".parse().unwrap();
    assert_eq!((url.to_string().as_str(), url.name(), url.port()), ("https://payments.vault.azure.net", "payments", 443));
    for bad in [
        "http://a.b",
        "https://u@a.b",
        "https://a.b/x",
        "https://a.b?x",
        "https://a.b#x",
        "https://",
        "https://a..b",
        "https://a.b:0",
        "https://a.b:x",
        "https://[::1]",
    ] {
        assert!(bad.parse::<VaultUrl>().is_err(), "{bad} was accepted");
    }
}

#[test]
fn an_error_says_what_where_and_the_rule() {
    assert_eq!(
        "my_secret".parse::<ObjectName>().unwrap_err().to_string(),
        "\"my_secret\" is not a Key Vault object name: 1 to 127 letters, digits and hyphens"
    );
}
