//! What is found, in every encoding and anywhere; what stays; what is forgotten.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn knowing(values: &[&str]) -> Scrubber {
    let scrubber = Scrubber::default();
    for value in values {
        scrubber.learn(&SecretString::from(*value));
    }
    scrubber
}

fn json_text(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap();
    quoted[1..quoted.len() - 1].to_owned()
}

/// Every character as `\u` escapes.
fn all_escaped(text: &str) -> String {
    text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<Vec<_>>().concat()
}

fn percent(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn lower_percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect::<Vec<_>>().concat()
}

fn form(text: &str) -> String {
    percent(text).replace("%20", "+")
}

/// All encodings, by name. Base64 also in the middle of a longer text, at each of the three alignments.
fn encodings(value: &str) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = [
        ("raw", value.to_owned()),
        ("hex", hex(value)),
        ("upper hex", hex(value).to_uppercase()),
        ("percent", percent(value)),
        ("lower percent", lower_percent(value)),
        ("form", form(value)),
        ("json", json_text(value)),
        ("json twice", json_text(&json_text(value))),
        ("json thrice", json_text(&json_text(&json_text(value)))),
        ("json, all escaped", all_escaped(value)),
        ("json, all escaped, in json", json_text(&all_escaped(value))),
        ("json in a url", percent(&json_text(value))),
        ("rust", format!("{value:?}")),
        ("rust, escaped", value.escape_default().to_string()),
        ("base64 of json", STANDARD.encode(json!({ "password": value }).to_string())),
        ("hex of json", hex(&json!({ "password": value }).to_string())),
        ("base64 in a url", percent(&STANDARD.encode(value))),
    ]
    .map(|(name, text)| (name.to_owned(), text))
    .into();
    for (name, engine) in
        [("", &STANDARD), ("bare ", &STANDARD_NO_PAD), ("url ", &URL_SAFE), ("bare url ", &URL_SAFE_NO_PAD)]
    {
        for (before, after) in [("", ""), ("u:", ""), ("user:", "@"), ("me:", "\n\n"), ("", "?")] {
            let text = format!("{before}{value}{after}");
            all.push((format!("{name}base64 of {text:?}"), engine.encode(text)));
        }
    }
    all
}

fn hex(text: &str) -> String {
    crate::text::hex(text.as_bytes())
}

const CANARIES: [&str; 6] = [
    "hunter2",
    "correct horse battery staple",
    "p\"a\\s/s'w&o+r%d=1",
    "5f1c0a4e-0000-4000-8000-00000000cafe",
    "schlüssel-für-die-tür-🗝",
    "~~~???>>>///+++~~~",
];

/// What may remain of a value in base64: less than two of its bytes at either end.
fn is_left(cleaned: &str, value: &str) -> bool {
    let forms = encodings(value).into_iter().map(|(_, text)| text.trim_end_matches('=').to_owned());
    forms.into_iter().any(|form| cleaned.contains(&form))
}

#[test]
fn a_value_is_found_in_every_encoding() {
    for value in CANARIES {
        let scrubber = knowing(&["another-secret", value]);
        for (name, text) in encodings(value) {
            let cleaned = scrubber.clean(&text);
            assert!(cleaned.contains(REDACTED), "{name} of `{value}`: {cleaned}");
            assert!(!is_left(&cleaned, value), "{name} of `{value}`: {cleaned}");
            let within = format!("the api said: [{text}] (400)");
            let cleaned = scrubber.clean(&within);
            assert!(cleaned.starts_with("the api said: ["), "{name}: {cleaned}");
            assert!(cleaned.ends_with("] (400)"), "{name}: {cleaned}");
            assert_eq!(cleaned, scrubber.clean(&cleaned), "{name}");
            assert_eq!(scrubber.clean_bytes(within.as_bytes()), cleaned.as_bytes(), "{name}");
        }
    }
}

#[test]
fn nothing_is_redacted_by_whoever_knows_nothing() {
    // The counterpart of the test above: without a scrubber the values do leak.
    for (name, text) in CANARIES.into_iter().flat_map(encodings) {
        assert!(matches!(Scrubber::default().clean(&text), Cow::Borrowed(_)), "{name}");
        assert!(matches!(knowing(&["root", "short", "true"]).clean(&text), Cow::Borrowed(_)), "{name}");
    }
    assert!(is_left("a hunter2 b", "hunter2") && is_left("aHVudGVyMg==", "hunter2"));
}

#[test]
fn what_is_left_is_readable() {
    let scrubber = knowing(&["hunter2", "hunter2-and-more", "more-of-it", "ab-ab-ab"]);
    for (text, cleaned) in [
        ("no such user root", "no such user root"),
        ("hunter2", "[redacted]"),
        ("the password hunter2 is wrong: hunter2?", "the password [redacted] is wrong: [redacted]?"),
        // Nothing of the longer one is left, and two that overlap are one.
        ("(hunter2-and-more)", "([redacted])"),
        ("(hunter2-and-more-of-it)", "([redacted])"),
        ("ab-ab-ab-ab-ab", "[redacted]"),
        ("{\"a\":\"x\\thunter2\\ny\"}", "{\"a\":\"x\\t[redacted]\\ny\"}"),
        ("GET /?q=hunter2%20x", "GET /?q=[redacted]%20x"),
        // `user:hunter2:xx`: of its neighbours a few bits go with it.
        ("Basic dXNlcjpodW50ZXIyOnh4", "Basic dXNlcj[redacted]Onh4"),
    ] {
        assert_eq!(scrubber.clean(text), cleaned);
    }
}

#[test]
fn what_was_cut_is_found_by_its_beginning_or_its_end() {
    let value = "a-very-long-token-that-somebody-cut";
    let scrubber = knowing(&[value]);
    for (text, cleaned) in [
        ("failed: a-very-long-token-that-so: try again", "failed: [redacted]: try again"),
        ("failed: a-very-long-to", "failed: [redacted]"),
        ("failed: a-very-l… (+1)", "failed: [redacted]… (+1)"),
        ("failed: a-very ...", "failed: [redacted] ..."),
        ("token-that-somebody-cut was refused", "[redacted] was refused"),
        ("a-very-long day, a-ve…", "a-very-long day, a-ve…"),
    ] {
        assert_eq!(scrubber.clean(text), cleaned);
    }
}

#[test]
fn each_line_of_a_key_is_a_secret() {
    let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\nQyNTUxOQAAACBfirst\nshort\n\
               -----END OPENSSH PRIVATE KEY-----\n";
    let scrubber = knowing(&[key]);
    let cleaned = scrubber.clean(key);
    assert_eq!(
        cleaned,
        "-----BEGIN OPENSSH PRIVATE KEY-----\n[redacted]\n-----END OPENSSH PRIVATE KEY-----\n"
    );
    for line in ["b3BlbnNzaC1rZXktdjEAAAAA", "QyNTUxOQAAACBfirst"] {
        for (name, text) in encodings(line) {
            assert!(!is_left(&scrubber.clean(&text), line), "{name} of {line}");
        }
    }
    assert_eq!(scrubber.clean("a short key"), "a short key");
    assert_eq!(
        scrubber.clean("expected -----BEGIN OPENSSH PRIVATE KEY-----"),
        "expected -----BEGIN OPENSSH PRIVATE KEY-----"
    );
}

#[test]
fn documents_are_cleaned_with_their_keys_and_numbers() {
    let scrubber = knowing(&["hunter2", "123456789"]);
    let mut clean = json!({ "a": [1, true, null, "x"], "b": { "c": 12345 } });
    let copy = clean.clone();
    assert!(!scrubber.clean_json(&mut clean));
    assert_eq!(clean, copy);
    let mut dirty = json!({
        "hunter2": 1, "[redacted]": 2, "list": ["x hunter2", { "pin": 123_456_789, "deep": { "a": "aHVudGVyMg" } }],
    });
    assert!(scrubber.clean_json(&mut dirty));
    assert_eq!(
        dirty,
        json!({
            "[redacted]": 2, "[redacted]'": 1,
            "list": ["x [redacted]", { "pin": "[redacted]", "deep": { "a": "[redacted]" } }],
        })
    );
}

#[test]
fn bytes_that_are_no_text_are_found_too() {
    let scrubber = Scrubber::default();
    let key = [0xff, 0xc3, 0x00, 0x10, 0x80, 0x2b, 0x9c, 0xa9];
    scrubber.keep_bytes(&key);
    let mut line = b"key=".to_vec();
    line.extend_from_slice(&key);
    assert_eq!(scrubber.clean_bytes(&line), b"key=[redacted]".as_slice());
    assert_eq!(scrubber.clean(&format!("key={}", crate::text::hex(&key))), "key=[redacted]");
    assert_eq!(scrubber.clean(&format!("key={}.", STANDARD.encode(key))), "key=[redacted]=.");
}

#[test]
fn what_is_text_stays_text_without_a_value_that_cuts_characters() {
    let scrubber = Scrubber::default();
    scrubber.keep_bytes(b"\x80\xa6key-of-bytes\xe2\x80");
    for text in ["a…key-of-bytes… b", "…key-of-bytes…"] {
        let cleaned = scrubber.clean(text);
        assert_eq!(scrubber.clean_bytes(text.as_bytes()), cleaned.as_bytes());
        assert!(!cleaned.contains(['…', 'k']), "{cleaned}");
    }
}

#[test]
fn the_oldest_leave_and_what_is_kept_stays() {
    let scrubber = Scrubber::default();
    scrubber.keep(&SecretString::from("the-credential"));
    let value = |number: usize| format!("value-{number:05}");
    for number in 0..MAX_VALUES {
        scrubber.learn(&SecretString::from(value(number)));
        // Read again and again, it does not leave.
        scrubber.learn(&SecretString::from(value(0)));
    }
    assert_eq!(format!("{scrubber:?}"), "Scrubber { known: 4096 }");
    assert_eq!(scrubber.clean("the-credential"), REDACTED);
    assert_eq!(scrubber.clean(&value(0)), REDACTED);
    assert_eq!(scrubber.clean(&value(1)), value(1));
    assert_eq!(scrubber.clean(&value(MAX_VALUES - 1)), REDACTED);
    let large = "0123456789abcdef".repeat(5_000);
    for number in 0..5 {
        scrubber.learn(&SecretString::from(format!("{number}{large}")));
    }
    let bytes: usize = scrubber.0.read().unwrap().values.keys().map(|Secret(value)| value.len()).sum();
    assert!(bytes <= MAX_BYTES, "{bytes}");
    assert_eq!(scrubber.clean("the-credential"), REDACTED);
}

#[test]
fn a_clone_learns_with_the_original() {
    let scrubber = Scrubber::default();
    let clone = scrubber.clone();
    assert_eq!(clone.clean("hunter2"), "hunter2");
    scrubber.learn(&SecretString::from("hunter2"));
    assert_eq!(clone.clean("hunter2"), REDACTED);
}

/// Printable, in all scripts, and with what an encoder must escape. What ends in blanks would be trimmed.
fn canary() -> impl Strategy<Value = String> {
    let words = proptest::sample::select(CANARIES.to_vec()).prop_map(str::to_owned);
    prop_oneof!["[!-~]{6,48}", "[!-~][ -~]{8,60}[!-~]", "[!-~äöüß€🗝]{6,24}", words]
        .prop_filter("looking for what stands in its place would never end", |value| {
            !REDACTED.contains(value.as_str())
        })
}

proptest! {
    #[test]
    fn no_canary_is_left_wherever_it_stands(
        value in canary(),
        others in proptest::collection::vec(canary(), 0..4),
        before in "[ -~äß€\\n\\t]{0,40}",
        after in "[ -~äß€\\n\\t]{0,40}",
        which in any::<proptest::sample::Index>(),
    ) {
        let mut values: Vec<&str> = others.iter().map(String::as_str).collect();
        values.push(&value);
        let scrubber = knowing(&values);
        let all = encodings(&value);
        let (name, text) = &all[which.index(all.len())];
        // A backslash, a percent sign or a letter right before it would change what it says.
        let whole = format!("{before} {text} {after}");
        let cleaned = scrubber.clean(&whole);
        prop_assert!(cleaned.contains(REDACTED), "{name}: {cleaned}");
        prop_assert!(!is_left(&cleaned, &value), "{name}: {cleaned}");
        let mut document = json!({ "message": whole });
        scrubber.clean_json(&mut document);
        prop_assert!(!is_left(&document.to_string(), &value), "{name}: {document}");
        // As a line of a log: encoded once more as a whole.
        let line = json!({ "message": whole }).to_string();
        let cleaned = String::from_utf8(scrubber.clean_bytes(line.as_bytes()).into_owned()).unwrap();
        prop_assert!(!is_left(&cleaned, &value), "{name}: {cleaned}");
    }

    #[test]
    fn a_text_without_secrets_is_not_touched(
        values in proptest::collection::vec("[A-Z]{6,30}", 1..5),
        text in "[g-z0-9 {}\"\\\\%+:…äß]{0,200}",
    ) {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let scrubber = knowing(&values);
        prop_assert!(matches!(scrubber.clean(&text), Cow::Borrowed(same) if same == text));
        prop_assert!(matches!(scrubber.clean_bytes(text.as_bytes()), Cow::Borrowed(_)));
        let mut document = json!({ text.clone(): [text] });
        prop_assert!(!scrubber.clean_json(&mut document));
    }

    #[test]
    fn any_bytes_are_cleaned_without_a_panic(
        value in proptest::collection::vec(any::<u8>(), 6..40),
        text in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let scrubber = Scrubber::default();
        scrubber.keep_bytes(&value);
        scrubber.clean_bytes(&text);
        scrubber.clean(&String::from_utf8_lossy(&text));
        let joined = [text.as_slice(), &value, &text].concat();
        prop_assert!(!contains(&scrubber.clean_bytes(&joined), value.trim_ascii()));
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    part.len() >= 6 && text.windows(part.len()).any(|window| window == part)
}
