//! Small helps for messages: names made safe to show, lists in words, and what somebody may have meant.

/// The most characters of a name or value that a message repeats.
const SHOWN: usize = 60;

/// Whether a character could forge or garble what a terminal or a page shows: control characters, bidi
/// overrides, and marks without width.
pub(crate) fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text with hostile characters as escapes, such as `\u{202e}`.
pub(crate) fn safe(text: &str) -> String {
    if !text.chars().any(is_hostile) {
        return text.to_owned();
    }
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if is_hostile(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
        out
    })
}

/// At most `limit` characters; what was cut off is shown as `…`.
pub(crate) fn clip(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        None => text.to_owned(),
        Some(_) => text.chars().take(limit.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// A name or value in backticks, safe and short.
pub(crate) fn tick(text: &str) -> String {
    format!("`{}`", clip(&safe(text), SHOWN).replace('`', "'"))
}

/// Names in words: `` `a`, `b` and `c` ``, the first twelve of them.
pub(crate) fn list<S: AsRef<str>>(names: &[S], last: &str) -> String {
    const MOST: usize = 12;
    let ticked: Vec<String> = names.iter().take(MOST).map(|name| tick(name.as_ref())).collect();
    match ticked.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        _ if names.len() > MOST => format!("{} and {} more", ticked.join(", "), names.len() - MOST),
        [first @ .., end] => format!("{} {last} {end}", first.join(", ")),
    }
}

/// `` did you mean `cores`? ``, where one of the candidates is near.
pub(crate) fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    closest(word, candidates).map(|name| format!("did you mean {}?", tick(name)))
}

/// The candidate that is written most alike, if any is alike at all.
pub(crate) fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters: Vec<char> = word.chars().take(LONGEST + 1).collect();
    let limit = (letters.len() / 3).min(3);
    candidates
        .into_iter()
        .filter(|candidate| *candidate != word)
        .filter_map(|candidate| {
            let far = if candidate.eq_ignore_ascii_case(word) {
                Some(0)
            } else {
                distance(&letters, candidate, limit)
            };
            far.map(|far| (far, candidate))
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// Longer words are not compared.
const LONGEST: usize = 64;

/// The edits (insert, remove, change, swap two) between two words, where there are at most `limit`.
fn distance(a: &[char], b: &str, limit: usize) -> Option<usize> {
    let b: Vec<char> = b.chars().take(LONGEST + 1).collect();
    if limit == 0 || a.len() > LONGEST || b.len() > LONGEST || a.len().abs_diff(b.len()) > limit {
        return None;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut least = (above[j] + usize::from(x != y)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        if row.iter().all(|edits| *edits > limit) {
            return None;
        }
        before = std::mem::replace(&mut above, row);
    }
    above.last().copied().filter(|edits| *edits <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_another_word_finds_none() {
        let fields = ["cores", "memory", "node", "onBoot"];
        assert_eq!(closest("coers", fields), Some("cores"));
        assert_eq!(closest("onboot", fields), Some("onBoot"));
        assert_eq!(closest("memry", fields), Some("memory"));
        assert_eq!(closest("color", fields), None);
        assert_eq!(closest("x", fields), None);
    }

    #[test]
    fn what_is_shown_cannot_forge_anything() {
        assert_eq!(tick("a\u{202e}b\u{1b}[31m`"), "`a\\u{202e}b\\u{1b}[31m'`");
        assert_eq!(tick(&"x".repeat(100)).chars().count(), 62);
        assert_eq!(list(&["a", "b", "c"], "and"), "`a`, `b` and `c`");
    }
}
