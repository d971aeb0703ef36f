//! The termination message: what `kubectl describe pod` shows of a failed start.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

/// The kubelet keeps 4,096 bytes.
const LONGEST: usize = 4_000;

/// Whole lines as far as they fit, then how many did not.
pub(super) fn fit(lines: &[String]) -> String {
    const ROOM_FOR_REST: usize = "and 1000000 more\n".len();
    let mut message = String::new();
    for (index, line) in lines.iter().enumerate() {
        let last = index + 1 == lines.len();
        if message.len() + line.len() + 1 > LONGEST - if last { 0 } else { ROOM_FOR_REST } {
            let rest = lines.len() - index;
            return if index == 0 { cut(line) } else { format!("{message}and {rest} more\n") };
        }
        message.push_str(line);
        message.push('\n');
    }
    message
}

/// A single line that is too long on its own.
fn cut(line: &str) -> String {
    let end = (0..=LONGEST - 4).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…\n", &line[..end])
}

/// Writes the message where the kubelet looks for it, and nowhere where it does not: the file is there or there is no kubelet.
pub(super) fn write(path: &Path, message: &str) {
    let written = OpenOptions::new().write(true).truncate(true).open(path).and_then(|mut file| file.write_all(message.as_bytes()));
    if let Err(error) = written {
        tracing::debug!("{}: {error}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_then_how_many_more() {
        let lines = |count: usize| (0..count).map(|n| format!("{n:099}")).collect::<Vec<_>>();
        assert_eq!(fit(&lines(2)), format!("{:099}\n{:099}\n", 0, 1));
        assert_eq!(fit(&lines(40)).len(), 4_000);
        let message = fit(&lines(50));
        assert!(message.ends_with("\nand 11 more\n"), "{message}");
        assert!(message.len() <= 4_000 && message.lines().count() == 40);
    }

    #[test]
    fn a_message_replaces_the_one_before_and_makes_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("termination-log");
        write(&path, "nobody asked for this");
        assert!(!path.exists());
        drop(std::fs::File::create(&path).unwrap());
        for message in ["a longer one\n", "short\n"] {
            write(&path, message);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), message);
        }
    }

    #[test]
    fn a_single_endless_line_is_cut_at_a_character() {
        let message = fit(&["é".repeat(3_000)]);
        assert!(message.len() <= 4_000 && message.ends_with("é…\n"));
    }
}
