//! Words from outside, as a message may show them: on one line, not endless, without what nobody sees, and without secrets.

use std::collections::HashSet;

use keyvault_common::secret::SecretValue;

/// No message quotes more characters.
const LONGEST: usize = 400;
/// A message is made from so many characters at most: redaction shortens what it shows.
const MOST_READ: usize = 16 << 10;
/// So many bytes of a secret are no chance.
const WINDOW: usize = 12;
/// What replaces a secret.
const REDACTED: &str = "[redacted]";

/// Who asked and what of that no message may repeat, whatever a server answers.
#[derive(Clone, Copy)]
pub(super) struct Caller<'a> {
    /// For messages.
    pub(super) who: &'a str,
    /// The secrets of the request, in every form in which it carried them.
    pub(super) secrets: &'a [SecretValue],
}

impl Caller<'_> {
    /// Foreign text without any part of the request's secrets.
    pub(super) fn words(&self, text: &str) -> String {
        one_line(&without(text, self.secrets))
    }

    /// A code as servers name their errors; anything else is none.
    pub(super) fn code(&self, text: &str) -> Option<String> {
        let is_code = !text.is_empty() && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        is_code.then(|| self.words(text))
    }
}

/// Text from outside, fit for one line of a log: nothing invisible, no web token, and not endless.
pub(super) fn one_line(text: &str) -> String {
    let visible: String = text.chars().filter(|c| !is_invisible(*c)).take(MOST_READ).collect();
    let words = visible.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let mut line = without_web_tokens(&words.collect::<Vec<_>>().join(" "));
    if let Some((end, _)) = line.char_indices().nth(LONGEST) {
        line.truncate(end);
        line.push('…');
    }
    line
}

/// Characters that change how others look, or that hide between them.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Takes out whatever has [`WINDOW`] bytes or more in common with a secret. What is remembered is bounded by the text, however long a secret is.
fn without(text: &str, secrets: &[SecretValue]) -> String {
    let text: String = text.chars().filter(|c| !is_invisible(*c)).take(MOST_READ).collect();
    let mut hidden = vec![false; text.len()];
    for secret in secrets.iter().map(SecretValue::expose) {
        let size = WINDOW.min(secret.len()).max(1);
        let in_text: HashSet<&[u8]> = text.as_bytes().windows(size).collect();
        let shared: HashSet<&[u8]> = secret.windows(size).filter(|window| in_text.contains(window)).collect();
        for (at, _) in text.as_bytes().windows(size).enumerate().filter(|(_, window)| shared.contains(window)) {
            hidden[at..at + size].fill(true);
        }
    }
    redact(&text, |at| hidden[at])
}

/// Takes out what begins as the header of a JSON web token does, with all that may belong to it.
fn without_web_tokens(text: &str) -> String {
    const SHORTEST: usize = 16;
    let may_belong = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.=+/%".contains(&byte);
    let (bytes, mut hidden) = (text.as_bytes(), vec![false; text.len()]);
    for (start, _) in text.match_indices("eyJ") {
        let end = bytes[start..].iter().position(|byte| !may_belong(*byte)).map_or(bytes.len(), |length| start + length);
        if end - start >= SHORTEST {
            hidden[start..end].fill(true);
        }
    }
    redact(text, |at| hidden[at])
}

/// The text with one word in place of each run of hidden bytes. A character is hidden if any of its bytes is.
fn redact(text: &str, is_hidden: impl Fn(usize) -> bool) -> String {
    let (mut shown, mut before) = (String::with_capacity(text.len()), false);
    for (at, c) in text.char_indices() {
        let now = (at..at + c.len_utf8()).any(&is_hidden);
        match (before, now) {
            (_, false) => shown.push(c),
            (false, true) => shown.push_str(REDACTED),
            (true, true) => {}
        }
        before = now;
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl";

    fn words(secrets: &[&str], text: &str) -> String {
        let secrets: Vec<SecretValue> = secrets.iter().map(|secret| SecretValue::from((*secret).to_owned())).collect();
        Caller { who: "client c", secrets: &secrets }.words(text)
    }

    #[test]
    fn foreign_text_becomes_one_short_line() {
        assert_eq!(one_line("Caller:\r\n appid=1;\tx\u{1b}[31m\n"), "Caller: appid=1; x [31m");
        assert_eq!(one_line(&"é".repeat(500)).chars().count(), 401);
    }

    #[test]
    fn what_nobody_sees_is_left_out() {
        for hidden in "\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}\u{200b}\u{200d}\u{200e}\u{200f}\u{61c}\u{2060}\u{feff}\u{ad}\u{e0041}".chars() {
            assert_eq!(one_line(&format!("{hidden}no{hidden}t fo{hidden}und{hidden}")), "not found", "{hidden:?}");
        }
        assert_eq!(one_line("Größe 東京 קובץ ملف"), "Größe 東京 קובץ ملف");
    }

    #[test]
    fn no_part_of_a_secret_of_the_request_is_repeated() {
        let secret = "s3cr3t~with.all-kinds_of/chars+=";
        for (text, expected) in [
            (format!("Bearer {secret}"), "Bearer [redacted]"),
            (format!("a{secret}b {secret}"), "a[redacted]b [redacted]"),
            (format!("begins {}", &secret[..12]), "begins [redacted]"),
            (format!("ends {}", &secret[secret.len() - 12..]), "ends [redacted]"),
            (format!("with \u{200b}{}\u{202e}{} in it", &secret[..9], &secret[9..]), "with [redacted] in it"),
            (format!("eleven {} are chance", &secret[..11]), "eleven s3cr3t~with are chance"),
            (format!("é{secret}é"), "é[redacted]é"),
        ] {
            assert_eq!(words(&[secret], &text), expected, "{text:?}");
        }
        assert_eq!(words(&["a b&c", "a%20b%26c"], "was a%20b%26c or a b&c."), "was [redacted] or [redacted].");
        assert_eq!(words(&["", "x"], "nothing of it"), "nothing of it");
        // Only as much of an endless answer is looked at as a message can show.
        assert_eq!(words(&[secret], &"s3cr3t~with.all-kinds_of/chars+=".repeat(10_000)), "[redacted]");
        // Cut where the text is cut: what is left of the secret is hidden all the same.
        let long = format!("{}{secret}", "y ".repeat(192));
        assert_eq!(words(&[secret], &long), format!("{}[redacted]", "y ".repeat(192)));
    }

    #[test]
    fn no_web_token_is_repeated() {
        for (text, expected) in [
            (format!("for {TOKEN}."), "for [redacted]"),
            (format!("{TOKEN}, {}", &TOKEN[..30]), "[redacted], [redacted]"),
            (format!("client_assertion={TOKEN}&x=1"), "client_assertion=[redacted]&x=1"),
            ("eyJ is how they begin".to_owned(), "eyJ is how they begin"),
        ] {
            assert_eq!(one_line(&text), expected);
        }
    }

    #[test]
    fn a_code_is_a_word() {
        let caller = Caller { who: "", secrets: &[SecretValue::from("abcdefghijklmnop".to_owned())] };
        assert_eq!(caller.code("ForbiddenByRbac").as_deref(), Some("ForbiddenByRbac"));
        assert_eq!(caller.code("xabcdefghijklm").as_deref(), Some("x[redacted]"));
        for text in ["", "two words", "p@ss", &"x".repeat(65)] {
            assert_eq!(caller.code(text), None, "{text:?}");
        }
    }
}
