//! Fuzz targets of the core: what it does with bytes from anyone. Each may do anything but panic, and says below
//! what must hold of its answer; `tests/fuzz` runs them for long, the test below for a second.

mod manifest;

use secrecy::SecretString;
use serde_json::Value;

use crate::ident::{CommitId, EnvironmentName, KindName, Name, ResourceId, SiteName};
use crate::mark::Mark;
use crate::reference::{self, OutputRef};
use crate::report::cut;
use crate::schedule::{Moment, Schedule, Window, Zone, parse_duration, show_duration};
use crate::scrub::{REDACTED, Scrubber};
use crate::secret::{self, SecretRef, Stamp};
use crate::text::{Text, hex};

pub use manifest::{diagnostics, template, yaml};

/// Between the parts of an input.
const NEXT: &str = "\n%%\n";

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
