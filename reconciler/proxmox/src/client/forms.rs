//! Form and query encoding as Proxmox decodes it: it splits pairs at `;` too, and reads `+` as a space.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Everything but the unreserved characters of RFC 3986, so `;`, `+`, `=`, `&` and `%` always.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What `sshkeys` may hold unescaped: its own format is `^[-%a-zA-Z0-9_.!~*'()]*$`.
const SSH_KEYS: &AsciiSet = &ESCAPED.remove(b'!').remove(b'*').remove(b'\'').remove(b'(').remove(b')');

/// Encodes the pairs of a form body or a query.
pub(crate) fn encode<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (key, value) in pairs {
        if !text.is_empty() {
            text.push('&');
        }
        text.extend(utf8_percent_encode(key, ESCAPED));
        text.push('=');
        text.extend(utf8_percent_encode(value, ESCAPED));
    }
    text
}

/// Encodes one segment of a path, such as a UPID.
pub(crate) fn segment(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// Encodes the value of `sshkeys`, which is percent-encoded by itself; a form encodes it once more.
pub(crate) fn encode_ssh_keys<'a>(keys: impl IntoIterator<Item = &'a str>) -> String {
    let lines: Vec<&str> = keys.into_iter().collect();
    utf8_percent_encode(&lines.join("\n"), SSH_KEYS).to_string()
}

/// Reads `sshkeys` back: one key a line, trimmed, empty ones left out.
pub(crate) fn decode_ssh_keys(text: &str) -> Vec<String> {
    let decoded = percent_decode_str(text).decode_utf8_lossy();
    decoded.lines().map(str::trim).filter(|line| !line.is_empty()).map(ToOwned::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_pair_or_a_value_is_escaped() {
        assert_eq!(
            encode([("net0", "virtio=BC:24,bridge=vmbr0;x&y+z 100%"), ("cores", "2")]),
            "net0=virtio%3DBC%3A24%2Cbridge%3Dvmbr0%3Bx%26y%2Bz%20100%25&cores=2"
        );
        assert_eq!(encode([]), "");
        assert_eq!(segment("UPID:pve1:0:a@pam!x:"), "UPID%3Apve1%3A0%3Aa%40pam%21x%3A");
    }

    #[test]
    fn ssh_keys_are_encoded_by_themselves_and_again_by_the_form() {
        let own = encode_ssh_keys(["ssh-ed25519 AA+A me@x", "ssh-rsa BB"]);
        assert_eq!(own, "ssh-ed25519%20AA%2BA%20me%40x%0Assh-rsa%20BB");
        assert_eq!(decode_ssh_keys(&own), ["ssh-ed25519 AA+A me@x", "ssh-rsa BB"]);
        assert_eq!(decode_ssh_keys("a%20b%0A%0A%20c%20%0A"), ["a b", "c"]);
        assert!(encode([("sshkeys", own.as_str())]).starts_with("sshkeys=ssh-ed25519%2520AA%252BA"));
    }
}
