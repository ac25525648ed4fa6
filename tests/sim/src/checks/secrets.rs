//! I7: no secret leaves, in any of six encodings.

use std::fmt::Write as _;
use std::sync::LazyLock;

use super::Finding;

/// What every secret of the simulation begins with, and what its second line begins with: each holds characters that
/// encodings change, so that no encoding of one is taken for another.
pub const CANARIES: [&str; 3] = ["Zq7\"&/%canary-", "Xk3\"&/%second-", "rotated-"];

/// What is looked for: each beginning, raw and encoded.
static TRACES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut traces = Vec::new();
    for canary in CANARIES {
        traces.push(canary.to_owned());
        traces.push(hex(canary));
        traces.push(hex(canary).to_uppercase());
        traces.push(percent(canary));
        traces.push(canary.replace('"', "\\\""));
        traces.push(canary.replace('"', "\\\\\\\""));
        // Base64 of a text within which it stands at any of the three places.
        traces.extend((0..3).map(|before| base64_within(canary.as_bytes(), before)));
    }
    traces
});

/// What was said at a place.
pub(super) fn said(place: &str, text: &str) -> Finding {
    if text.is_empty() {
        return Finding::Silent;
    }
    let trace = TRACES.iter().find(|trace| text.contains(trace.as_str()));
    Finding::of(trace.map(|trace| {
        let at = text.find(trace.as_str()).unwrap_or(0);
        let start = text[..at].char_indices().rev().nth(60).map_or(0, |(at, _)| at);
        format!("a secret stands in {place}, after `{}`", &text[start..at])
    }))
}

fn hex(text: &str) -> String {
    text.bytes().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a text takes everything");
        hex
    })
}

fn percent(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// The part of the base64 (RFC 4648) of a longer text that these bytes alone decide, where `before` bytes stand
/// before them in their group of three.
fn base64_within(bytes: &[u8], before: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let skipped = (3 - before) % 3;
    let whole = bytes.get(skipped..).unwrap_or_default().chunks_exact(3);
    whole
        .flat_map(|group| {
            let bits = u32::from(group[0]) << 16 | u32::from(group[1]) << 8 | u32::from(group[2]);
            [18, 12, 6, 0].map(|shift| char::from(ALPHABET[(bits >> shift & 63) as usize]))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_every_encoding() {
        let secret = format!("{}0001", CANARIES[0]);
        let base64 = |text: &str| base64_within(text.as_bytes(), 0);
        for text in [
            secret.clone(),
            serde_json::to_string(&secret).unwrap(),
            serde_json::to_string(&serde_json::to_string(&secret).unwrap()).unwrap(),
            hex(&secret),
            percent(&secret),
            base64(&secret),
            base64(&format!("u{secret}")),
            base64(&format!("u:{secret}")),
        ] {
            assert!(matches!(said("a log", &format!("before {text} after")), Finding::Breach(_)), "{text}");
        }
        assert_eq!(said("a log", "canary-less text, second to none"), Finding::Holds);
        assert_eq!(base64("Man"), "TWFu");
    }

    #[test]
    fn what_is_told_of_a_leak_does_not_hold_the_secret() {
        let Finding::Breach(told) = said("a log", &format!("é password {}77", CANARIES[0])) else {
            panic!()
        };
        assert!(!told.contains(CANARIES[0]), "{told}");
    }
}
