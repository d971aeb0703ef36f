//! Where documents begin and end in a YAML stream, found by lines alone.

/// What some editors put before the first character.
pub(super) const BOM: char = '\u{feff}';

/// Cuts a YAML stream into documents, each with the line where it starts. Together they are the text.
///
/// `---` and `...` in the first column are markers wherever they are, in block scalars and quotes too: no parser is needed to find them.
pub(super) fn split(text: &str) -> Vec<(usize, &str)> {
    let mut pieces = Vec::new();
    let (mut start, mut start_line, mut open, mut end) = (0, 1, false, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let begins = is_marker(line, "---");
        if begins && open {
            pieces.push((start_line, &text[start..end]));
            (start, start_line) = (end, index + 1);
        }
        open |= begins || !is_preamble(line);
        end += line.len();
        if is_marker(line, "...") {
            pieces.push((start_line, &text[start..end]));
            (start, start_line, open) = (end, index + 2, false);
        }
    }
    if start < text.len() || pieces.is_empty() {
        pieces.push((start_line, &text[start..]));
    }
    pieces
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// What may come before a document's `---` and belongs to it: blank lines, comments, directives.
fn is_preamble(line: &str) -> bool {
    let text = line.trim_start_matches(BOM);
    text.trim().is_empty() || text.trim_start().starts_with('#') || text.starts_with('%')
}

/// Everything before the first line of content.
pub(super) fn head(source: &str) -> String {
    let mut head = String::new();
    for line in source.split_inclusive('\n') {
        if is_marker(line, "---") && !is_preamble(&line[3..]) {
            return head + "---\n";
        }
        if !is_marker(line, "---") && !is_preamble(line) {
            break;
        }
        head += line;
    }
    if head.is_empty() && source.starts_with(BOM) {
        head.push(BOM);
    }
    head
}

/// The `...` at the end, if there is one.
pub(super) fn tail(source: &str) -> &str {
    let last = source.split_inclusive('\n').next_back().unwrap_or_default();
    if is_marker(last, "...") { last } else { "" }
}
