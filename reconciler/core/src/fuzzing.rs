//! Fuzz targets of the core: what it does with bytes from anyone. Each may do anything but panic, and says below
//! what must hold of its answer; `tests/fuzz` runs them for long, the test below for a second.

use std::ops::Range;

use secrecy::SecretString;
use serde_json::Value;

use crate::ident::{CommitId, EnvironmentName, KindName, Name, ResourceId, SiteName};
use crate::manifest::diagnostic::Findings;
use crate::manifest::template::Templates;
use crate::manifest::words::is_hostile;
use crate::manifest::yaml::{self, Budget, Document, MAX_DEPTH, MAX_NODES};
use crate::manifest::{Diagnostic, Tree, render};
use crate::mark::Mark;
use crate::reference::{self, OutputRef};
use crate::report::cut;
use crate::schedule::{Moment, Schedule, Window, Zone, parse_duration, show_duration};
use crate::scrub::{REDACTED, Scrubber};
use crate::secret::{self, SecretRef, Stamp};
use crate::text::{Piece, Text, hex};

/// Between the parts of an input.
const NEXT: &str = "\n%%\n";

/// A file of YAML: budgets hold, what is refused is said, and everything stands where it is said to.
pub fn yaml(data: &[u8]) {
    let mut findings = Findings::default();
    let documents = yaml::load("a.yaml", data, &mut Budget::default(), &mut findings);
    let is_broken = documents.iter().any(|document| document.broken);
    assert_eq!(is_broken, findings.errors() > 0, "what is refused is said");
    said_well(&findings.into_sorted(), &tree(&[("a.yaml", data)]));
    let Ok(text) = std::str::from_utf8(data) else { return };
    let nodes: usize = documents
        .iter()
        .filter(|document| !document.broken)
        .map(|document| placed(text, document, &document.value, &mut String::new(), 0))
        .sum();
    assert!(nodes <= MAX_NODES, "{nodes} nodes");
}

/// Checks that a value and what is in it stand where their nodes say. Gives the number of them.
fn placed(text: &str, document: &Document, value: &Value, pointer: &mut String, depth: usize) -> usize {
    assert!(depth <= MAX_DEPTH, "{depth} deep at {pointer}");
    let node = document.find(pointer).expect("each value has its node");
    let written = fits(text, &node.value);
    let shown = [document.value_span(pointer), document.key_span(pointer)];
    for span in node.key.iter().chain(&shown) {
        fits(text, span);
    }
    let length = pointer.len();
    let mut below = |token: &str, inner: &Value| {
        pointer.push('/');
        pointer.push_str(token);
        let nodes = placed(text, document, inner, pointer, depth + 1);
        pointer.truncate(length);
        nodes
    };
    match value {
        Value::Object(fields) => {
            1 + fields.iter().map(|(key, inner)| 1 + below(&yaml::token(key), inner)).sum::<usize>()
        }
        Value::Array(items) => {
            1 + items.iter().enumerate().map(|(at, inner)| below(&at.to_string(), inner)).sum::<usize>()
        }
        Value::String(word) if node.plain && !written.contains(['\n', '\r']) => {
            assert_eq!(written, word, "a word stands as it is written");
            1
        }
        _ => 1,
    }
}

/// The text at a span, which lies within it and cuts no character.
fn fits<'t>(text: &'t str, span: &Range<usize>) -> &'t str {
    text.get(span.clone()).expect("a span lies within the text")
}

fn tree(files: &[(&str, &[u8])]) -> Tree {
    let files = files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec()));
    Tree { files: files.collect(), ..Tree::default() }
}

/// Checks that problems lie within their files, and that what is shown of them is bounded and safe to show.
fn said_well(diagnostics: &[Diagnostic], tree: &Tree) -> String {
    for diagnostic in diagnostics {
        assert!(!diagnostic.title.is_empty() && diagnostic.title.chars().count() <= 400);
        let spans = diagnostic.span.iter().map(|span| (&diagnostic.path, span));
        for (path, span) in spans.chain(diagnostic.also.iter().map(|also| (&also.path, &also.span))) {
            let bytes = tree.files.get(path).expect("a problem is of a file that was read");
            assert!(span.start <= span.end && span.end <= bytes.len(), "{span:?} of {path}");
            if let Ok(text) = std::str::from_utf8(bytes) {
                fits(text, span);
            }
        }
    }
    let shown = render(diagnostics, tree);
    assert!(!shown.contains(|c| c != '\n' && is_hostile(c)), "{shown:?}");
    assert!(shown.len() < 2_000_000, "{} bytes", shown.len());
    shown
}

/// Variables as JSON, and a template: rendering it is bounded and gives the same again.
pub fn template(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (vars, source) = text.split_once(NEXT).unwrap_or(("{}", text));
    let Ok(vars) = serde_json::from_str::<Value>(vars) else { return };
    let used = "{ template: t }";
    let rendered = || Templates::new().render("t", source, &vars, ("a.yaml", 2..10));
    match (rendered(), rendered()) {
        (Ok(one), Ok(other)) => {
            assert_eq!(one.text, other.text, "the same again");
            assert!(one.bytes <= 64 * 500_000, "{} bytes of fuel were spent", one.bytes);
            let pieces = match &one.text {
                Text::Pieces { pieces } => pieces.as_slice(),
                Text::Plain(text) => &[Piece::Plain(text.clone())],
                Text::Secret(_) => &[],
            };
            let marked = |piece: &Piece| matches!(piece, Piece::Plain(text) if text.contains('\u{10fffd}'));
            assert!(!pieces.iter().any(marked), "no place of a secret is left as text");
        }
        (Err(one), Err(other)) => {
            assert_eq!(one, other, "the same again");
            let problems: Vec<Diagnostic> = one.into_iter().map(|problem| *problem).collect();
            assert_eq!(problems.len(), 1, "a first use says what is wrong");
            said_well(&problems, &tree(&[("t", source.as_bytes()), ("a.yaml", used.as_bytes())]));
        }
        _ => unreachable!("rendering is a function of its arguments"),
    }
}

/// A spec as JSON: every reference in it is found where it stands, and replaced.
pub fn references(data: &[u8]) {
    let Ok(spec) = serde_json::from_slice::<Value>(data) else { return };
    let found = reference::references_in(&spec);
    for (pointer, reference) in &found {
        let there = spec.pointer(pointer).expect("a reference has its place");
        assert_eq!(serde_json::from_value::<OutputRef>(there.clone()).ok().as_ref(), Some(reference));
    }
    let mut same = spec.clone();
    let left = reference::substitute(&mut same, |_| None);
    assert_eq!((same == spec, left.len() <= found.len()), (true, true), "what is not known stays");
    let mut known = spec.clone();
    assert_eq!(reference::substitute(&mut known, |_| Some("10.0.0.1".to_owned())), []);
    assert_eq!(reference::references_in(&known), [], "what is known is replaced");

    let secrets = secret::references_in(&spec);
    let stamp = Stamp { version: 1, digest: "00ff".to_owned() };
    let stamps = secrets.iter().map(|secret| (secret.clone(), stamp.clone())).collect();
    let mut stamped = spec.clone();
    secret::stamp_all(&mut stamped, &stamps);
    assert!(secret::references_in(&stamped).is_subset(&secrets), "a stamp changes no reference");
    if let Ok(text) = serde_json::from_value::<Text>(spec.clone()) {
        let again = serde_json::to_value(&text).and_then(serde_json::from_value::<Text>);
        assert_eq!(again.ok().as_ref(), Some(&text), "a text survives being stored");
        assert_eq!(text.digest().len(), 64);
        let mut values = secret::Secrets::default();
        for reference in text.secrets() {
            values.insert(&reference, SecretString::from("value"));
        }
        assert!(text.reveal(&values).is_ok(), "a text names all of its secrets");
    }
    if let Ok(secret) = serde_json::from_value::<SecretRef>(spec) {
        assert!(secrets.contains(&secret.bare()));
    }
}

/// Spans in bytes, and a file: whatever problems say of it is shown, and what is hidden is not.
pub fn diagnostics(data: &[u8]) {
    /// The bytes that tell one problem: four numbers below 65536.
    const ONE: usize = 8;
    let Some((count, rest)) = data.split_first() else { return };
    let (problems, file) = rest.split_at(rest.len().min(usize::from(count % 8) * ONE));
    let text = String::from_utf8_lossy(file);
    let number = |bytes: &[u8]| usize::from(u16::from_le_bytes([bytes[0], bytes[1]])) % (text.len() + 3);
    let mut diagnostics = Vec::new();
    let mut hidden = Vec::new();
    for bytes in problems.chunks_exact(ONE) {
        let [a, b, c, d] = [0, 2, 4, 6].map(|at| number(&bytes[at..]));
        let secret = text.floor_char_boundary(c.min(d))..text.floor_char_boundary(c.max(d));
        hidden.extend(text[secret.clone()].lines().map(str::trim).filter(|line| line.len() >= 8));
        diagnostics.push(
            Diagnostic::error("wrong")
                .at("a.yaml", a.min(b)..a.max(b))
                .label("here")
                .also("a.yaml", c.min(d)..c.max(d), "there")
                .help("mend it")
                .hidden(secret),
        );
    }
    let shown = render(&diagnostics, &tree(&[("a.yaml", text.as_bytes())]));
    assert!(!shown.contains(|c| c != '\n' && is_hostile(c)), "{shown:?}");
    assert!(shown.len() <= 4_000 + 8 * (40_000 + 12 * text.len()), "{} bytes", shown.len());
    for secret in hidden {
        // What stands elsewhere too was not hidden there, and what replaces characters may look like it.
        let is_hidden =
            text.matches(secret).count() == 1 && secret.bytes().all(|b| b.is_ascii_alphanumeric());
        assert!(!is_hidden || !shown.contains(secret), "`{secret}` is shown:\n{shown}");
    }
}

/// A text as every identity that there is: what is taken prints as what it was read from.
pub fn names(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let home = EnvironmentName::new("core").expect("`core` is a name");
    if let Some(mark) = Mark::parse(text) {
        assert_eq!(Mark::parse(&mark.to_string()), Some(mark), "a mark reads back");
    }
    if let Ok(id) = ResourceId::parse_in(&home, text) {
        for told in [id.to_string(), id.seen_from(&home)] {
            assert_eq!(ResourceId::parse_in(&home, &told).as_ref(), Ok(&id), "an id reads back");
        }
        assert_eq!(ResourceId::try_from(String::from(id.clone())), Ok(id));
    }
    if let Ok(commit) = CommitId::new(text) {
        assert!(commit.short().len() == 7 && commit.as_str().eq_ignore_ascii_case(text));
    }
    let is_plain = |name: &str| name == text && !name.contains(|c: char| !c.is_ascii_graphic() || c == '/');
    assert!(Name::new(text).map_or(true, |name| is_plain(name.as_str())));
    assert!(SiteName::new(text).map_or(true, |name| is_plain(name.as_str())));
    assert!(EnvironmentName::new(text).map_or(true, |name| is_plain(name.as_str())));
    assert!(KindName::new(text).map_or(true, |name| is_plain(name.as_str())));
    let short = cut(text, 140);
    assert!(short.chars().count() <= 140 && !short.contains(['\n', '\r', '\t']), "{short:?}");
}

/// A secret, what stands before it and what after: once it is learnt, no form of it is left.
pub fn redaction(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.splitn(3, NEXT);
    let secret = parts.next().unwrap_or_default().trim();
    let (before, after) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    // What stands in the place of a secret could else look like a part of one.
    if secret.len() > 400 || secret.contains(['[', ']']) {
        return;
    }
    let scrubber = Scrubber::default();
    scrubber.learn(&SecretString::from(secret));
    let is_known = scrubber.clean(secret) != secret;
    let is_word = secret.len() >= 8 && secret.bytes().all(|b| b.is_ascii_alphanumeric());
    assert!(is_known || !is_word || REDACTED.contains(secret), "`{secret}` was not learnt");
    if !is_known {
        return;
    }
    let quoted = serde_json::to_string(secret).expect("a text is plain data");
    let base64 = base64(secret.as_bytes());
    let forms = [
        secret.to_owned(),
        base64.replace('+', "-").replace('/', "_"),
        base64,
        hex(secret.as_bytes()),
        hex(secret.as_bytes()).to_uppercase(),
        secret.bytes().fold(String::new(), |text, byte| text + "%" + &hex(&[byte])),
        quoted[1..quoted.len() - 1].to_owned(),
    ];
    for form in &forms {
        let told = format!("{before} {form} {after}");
        let cleaned = scrubber.clean(&told);
        for form in &forms {
            assert!(!cleaned.contains(form.as_str()), "`{form}` is left of {told:?}: {cleaned:?}");
        }
        assert_eq!(scrubber.clean_bytes(told.as_bytes()), cleaned.as_bytes(), "bytes are cleaned alike");
        let mut document = serde_json::json!({ "text": told, before: { after: [form] } });
        scrubber.clean_json(&mut document);
        let document = document.to_string();
        assert!(!document.contains(&forms[6]), "`{}` is left of {told:?}: {document}", forms[6]);
    }
}

/// The standard alphabet, without padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits =
            three.iter().fold(0, |bits, byte| (bits << 8) | usize::from(*byte)) << (8 * (3 - three.len()));
        for digit in 0..=three.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * digit)) & 63]));
        }
    }
    text
}

/// A zone and a cron expression, then a moment and a duration: what is taken happens later and later, and what is not
/// is said with the place of the fault.
pub fn schedule(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let (zone, text, moment, lasts) = (line(), line(), line(), line());
    let after = Moment(moment.parse().unwrap_or(1_800_000_000));
    let duration = parse_duration(lasts);
    if let Some(duration) = duration {
        assert_eq!(parse_duration(&show_duration(duration)), Some(duration), "{lasts} reads back");
    }
    let Ok(zone) = Zone::new(zone) else { return };
    zone.show(after);
    let opens = match Schedule::read(text, zone) {
        Ok(schedule) => schedule,
        Err(fault) => {
            assert!(!fault.to_string().is_empty());
            return;
        }
    };
    assert_eq!(Schedule::read(&opens.to_string(), zone).as_ref().ok(), Some(&opens), "{text} reads back");
    let mut last = after;
    for next in opens.next_three(after) {
        assert!(next > last, "{next:?} comes after {last:?}");
        last = next;
    }
    opens.longest_pause();
    let window = Window { opens, lasts: duration.unwrap_or_default() };
    window.is_open(after);
    window.never_closes();
}

#[cfg(test)]
mod tests {
    use holdfast_cases::fuzz::briefly;

    #[test]
    fn yaml() {
        briefly("yaml", 3_000, super::yaml);
    }

    #[test]
    fn template() {
        briefly("template", 1_500, super::template);
    }

    #[test]
    fn references() {
        briefly("references", 10_000, super::references);
    }

    #[test]
    fn diagnostics() {
        briefly("diagnostics", 1_500, super::diagnostics);
    }

    #[test]
    fn names() {
        briefly("names", 20_000, super::names);
    }

    #[test]
    fn redaction() {
        briefly("redaction", 600, super::redaction);
    }

    #[test]
    fn schedule() {
        briefly("schedule", 1_500, super::schedule);
    }
}
