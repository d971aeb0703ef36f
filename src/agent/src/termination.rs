//! The termination message: what `kubectl describe pod` shows of a failed start.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

/// How much the kubelet keeps of the message of a pod with few containers.
const LONGEST: usize = 4_096;
/// How much it keeps in a pod of 24 containers. Without a plan nothing says how many there are.
const WITHOUT_A_PLAN: usize = 512;

/// How much the kubelet keeps, as the plan says; absent means [`LONGEST`].
pub(super) fn room(bytes: Option<u16>) -> usize {
    bytes.map_or(LONGEST, usize::from)
}

/// Writes one line of a program that may not know its plan.
pub(super) fn write_line(path: &Path, line: &str, room: Option<usize>) {
    write(path, &fit(&[line.to_owned()], room.unwrap_or(WITHOUT_A_PLAN)));
}

/// Whole lines as far as they fit into `room` bytes, then how many did not.
pub(super) fn fit(lines: &[String], room: usize) -> String {
    let more = |rest: usize| if rest == 0 { String::new() } else { format!("and {rest} more\n") };
    let mut message = String::new();
    for (index, line) in lines.iter().enumerate() {
        let rest = lines.len() - index - 1;
        if message.len() + line.len() + 1 + more(rest).len() > room {
            return if index == 0 { cut(line, room.saturating_sub(more(rest).len())) + &more(rest) } else { message + &more(rest + 1) };
        }
        message.push_str(line);
        message.push('\n');
    }
    message
}

/// A single line that is too long on its own.
fn cut(line: &str, room: usize) -> String {
    format!("{}…\n", &line[..line.floor_char_boundary(room.saturating_sub("…\n".len()))])
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
        assert_eq!(fit(&lines(2), LONGEST), format!("{:099}\n{:099}\n", 0, 1));
        assert_eq!(fit(&lines(40), 4_000).len(), 4_000);
        for (count, room, whole, rest) in [(50, LONGEST, 40, 10), (50, 12_288 / 9, 13, 37), (40, 3_999, 39, 1), (3, 200, 1, 2), (2, 199, 1, 1)] {
            let message = fit(&lines(count), room);
            assert!(message.ends_with(&format!("\nand {rest} more\n")), "{message}");
            assert!(message.len() <= room && message.lines().count() == whole + 1, "{room}: {message}");
        }
    }

    #[test]
    fn a_first_line_that_does_not_fit_leaves_room_for_how_many_more_there_are() {
        let lines = vec!["x".repeat(300); 12];
        assert_eq!(fit(&lines, 60), format!("{}…\nand 11 more\n", "x".repeat(44)));
        for room in 0..60 {
            assert!(fit(&lines, room).len() <= room.max("…\nand 11 more\n".len()), "{room}");
        }
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
    fn a_line_without_a_plan_fits_into_the_share_of_many_containers() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("termination-log");
        drop(std::fs::File::create(&path).unwrap());
        for (room, expected) in [(None, 512), (Some(room(Some(1_365))), 1_365), (Some(room(None)), 4_096)] {
            write_line(&path, &"x".repeat(5_000), room);
            assert_eq!(std::fs::read(&path).unwrap().len(), expected);
        }
    }

    #[test]
    fn a_single_endless_line_is_cut_at_a_character() {
        let message = fit(&["é".repeat(3_000)], LONGEST);
        assert!(message.len() <= LONGEST && message.ends_with("é…\n"));
    }
}
