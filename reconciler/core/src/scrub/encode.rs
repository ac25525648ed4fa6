//! The forms of a secret that are looked for: the value's pieces, as they are, in hexadecimal and in base64.

use std::collections::BTreeMap;

use super::{REDACTED, Secret};
use crate::text::hex;

/// Shorter values are no secrets.
const MIN_VALUE: usize = 6;
/// Shorter lines of a value of several lines are not looked for by themselves.
const MIN_LINE: usize = 8;
/// Longer pieces are cut, so that comparing one with a text stays cheap.
const LONGEST: usize = 1024;

/// What of a neighbouring character in base64 also holds bits of the secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Edges {
    pub(super) before: bool,
    pub(super) after: bool,
}

/// All forms of all values, each once.
pub(super) fn forms<'v>(values: impl Iterator<Item = &'v [u8]>) -> BTreeMap<Secret, Edges> {
    let mut forms = BTreeMap::new();
    for piece in values.flat_map(pieces) {
        add(&mut forms, piece.clone(), Edges::default());
        add_encoded(&mut forms, &piece);
        if let Some(escaped) = json_escaped(&piece) {
            add_encoded(&mut forms, &escaped);
        }
    }
    forms
}

fn add(forms: &mut BTreeMap<Secret, Edges>, form: Secret, edges: Edges) {
    let known = forms.entry(form).or_default();
    *known = Edges { before: known.before || edges.before, after: known.after || edges.after };
}

fn add_encoded(forms: &mut BTreeMap<Secret, Edges>, Secret(piece): &Secret) {
    let lower = Secret(hex(piece).into_bytes());
    add(forms, Secret(lower.0.to_ascii_uppercase()), Edges::default());
    add(forms, lower, Edges::default());
    for lead in 0..3 {
        let (standard, edges) = base64_core(piece, lead);
        let for_urls = standard.0.iter().map(|byte| match byte {
            b'+' => b'-',
            b'/' => b'_',
            other => *other,
        });
        add(forms, Secret(for_urls.collect()), edges);
        add(forms, standard, edges);
    }
}

/// What of a value is looked for: the whole, and each line of several. Long ones in parts that follow each other.
pub(super) fn pieces(value: &[u8]) -> Vec<Secret> {
    let whole = without_armour(value.trim_ascii());
    let mut pieces = Vec::new();
    if whole.len() >= MIN_VALUE && !is_armour(whole) {
        cut(whole, &mut pieces);
    }
    if whole.contains(&b'\n') {
        let lines = whole.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        for line in lines.filter(|line| line.len() >= MIN_LINE && !is_armour(line)) {
            cut(line, &mut pieces);
        }
    }
    // Looking for what stands in the place of secrets would never end.
    pieces.retain(|Secret(piece)| !contains(REDACTED.as_bytes(), piece));
    pieces
}

fn cut(text: &[u8], into: &mut Vec<Secret>) {
    let mut rest = text;
    // The last part is not so short that it would be found where nothing is.
    while rest.len() > LONGEST + LONGEST / 8 {
        let (part, more) = rest.split_at(LONGEST);
        into.push(Secret(part.to_vec()));
        rest = more;
    }
    into.push(Secret(rest.to_vec()));
}

/// Without the first and last line of PEM, which are the same for all keys.
fn without_armour(value: &[u8]) -> &[u8] {
    let mut value = value;
    if let Some(end) = value.iter().position(|byte| *byte == b'\n')
        && is_armour(&value[..end])
    {
        value = value[end..].trim_ascii();
    }
    if let Some(start) = value.iter().rposition(|byte| *byte == b'\n')
        && is_armour(&value[start + 1..])
    {
        value = value[..start].trim_ascii();
    }
    value
}

fn is_armour(line: &[u8]) -> bool {
    (line.starts_with(b"-----BEGIN ") || line.starts_with(b"-----END ")) && !line.contains(&b'\n')
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len().max(1)).any(|window| window == part)
}

/// The value as JSON writes it, where that is another text.
fn json_escaped(Secret(value): &Secret) -> Option<Secret> {
    let text = std::str::from_utf8(value).ok()?;
    let quoted = Secret(serde_json::to_vec(text).ok()?);
    let escaped = &quoted.0[1..quoted.0.len() - 1];
    (escaped != value.as_slice()).then(|| Secret(escaped.to_vec()))
}

/// The characters of base64 (standard alphabet, RFC 4648) that hold nothing but bits of `value`, where `lead` bytes
/// stand before it in a group of three.
fn base64_core(value: &[u8], lead: usize) -> (Secret, Edges) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = (lead + value.len()) * 8;
    let first = (lead * 8).div_ceil(6);
    let bit = |at: usize| {
        let byte = value[at / 8 - lead];
        usize::from(byte >> (7 - at % 8) & 1)
    };
    let character = |at: usize| {
        let sextet = (at * 6..at * 6 + 6).fold(0, |sextet, at| sextet << 1 | bit(at));
        ALPHABET[sextet]
    };
    let core = (first..bits / 6).map(character).collect();
    (Secret(core), Edges { before: lead > 0, after: !bits.is_multiple_of(6) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(value: &str) -> Vec<String> {
        pieces(value.as_bytes())
            .iter()
            .map(|Secret(piece)| String::from_utf8(piece.clone()).unwrap())
            .collect()
    }

    #[test]
    fn what_is_short_or_the_same_for_all_is_no_piece() {
        for nothing in
            ["", "root", "true", "12345", "  five5 ", "redacted", "[redacted]", "-----END X-----\n"]
        {
            assert_eq!(texts(nothing), Vec::<String>::new(), "{nothing}");
        }
        assert_eq!(texts(" hunter2\n"), ["hunter2"]);
        assert_eq!(
            texts("user\nan-old-password\r\nroot"),
            ["user\nan-old-password\r\nroot", "an-old-password"]
        );
        let pem = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1r\nZXktdjEA\n-----END OPENSSH PRIVATE KEY-----\n";
        assert_eq!(texts(pem), ["b3BlbnNzaC1r\nZXktdjEA", "b3BlbnNzaC1r", "ZXktdjEA"]);
    }

    #[test]
    fn what_is_long_is_cut_without_a_gap() {
        let long = (0..700).map(|number| format!("{number:05}")).collect::<Vec<_>>().concat();
        let parts = texts(&long);
        assert_eq!(parts.concat(), long);
        assert_eq!(parts.iter().map(String::len).collect::<Vec<_>>(), [1024, 1024, 1024, 428]);
    }

    #[test]
    fn the_core_of_base64_is_what_neighbours_cannot_change() {
        let core = |value: &[u8], lead| String::from_utf8(base64_core(value, lead).0.0.clone()).unwrap();
        // `aHVudGVyMg==`, `AGh1bnRlcjI=` and `AABodW50ZXIy` with zeros before it.
        assert_eq!(core(b"hunter2", 0), "aHVudGVyM");
        assert_eq!(core(b"hunter2", 1), "h1bnRlcj");
        assert_eq!(core(b"hunter2", 2), "odW50ZXIy");
    }
}
