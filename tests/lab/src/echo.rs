//! Careless systems: answers that repeat the credentials of a request, in the encodings that error texts have them in.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};

/// How a secret stands in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Encoding {
    Raw,
    Base64,
    Hex,
    Url,
    Json,
    Lines,
}

impl Encoding {
    pub const ALL: [Self; 6] = [Self::Raw, Self::Base64, Self::Hex, Self::Url, Self::Json, Self::Lines];

    /// The text in this encoding.
    pub fn of(self, text: &str) -> String {
        match self {
            Self::Raw => text.to_owned(),
            Self::Base64 => STANDARD.encode(text),
            Self::Hex => hex(text),
            Self::Url => utf8_percent_encode(text, NON_ALPHANUMERIC).to_string(),
            Self::Json => Value::from(text).to_string(),
            Self::Lines => text.lines().collect::<Vec<_>>().join(" | "),
        }
    }
}

/// All forms of a secret that no output may hold: each encoding, base64 also within a longer text, at each of the
/// three places in a group of bytes, without the characters that its neighbours decide.
pub fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned(), hex(secret), hex(secret).to_uppercase()];
    for lead in 0..3 {
        let long = format!("{}{secret}", "x".repeat(lead));
        for text in [STANDARD.encode(&long), URL_SAFE_NO_PAD.encode(&long)] {
            let (first, end) = ((lead * 8).div_ceil(6), long.len() * 8 / 6);
            forms.push(text[first..end].to_owned());
        }
    }
    let percent = Encoding::Url.of(secret);
    let lower: String = secret.bytes().fold(String::new(), |text, byte| text + &format!("%{byte:02x}"));
    let escaped: String =
        secret.encode_utf16().fold(String::new(), |text, unit| text + &format!("\\u{unit:04x}"));
    let quoted = Encoding::Json.of(secret);
    let twice = Encoding::Json.of(quoted.trim_matches('"'));
    forms.extend([percent.replace("%20", "+"), percent, lower]);
    forms.extend([escaped, quoted.trim_matches('"').to_owned(), twice.trim_matches('"').to_owned()]);
    // What begins with a common word is no secret yet.
    forms.extend(
        secret
            .lines()
            .map(str::trim)
            .filter(|line| line.len() >= 8 && !line.starts_with("-----"))
            .map(str::to_owned),
    );
    forms.sort();
    forms.dedup();
    forms
}

fn hex(text: &str) -> String {
    text.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// The answer to a request, and the text in it.
pub(crate) async fn answer(request: Request, status: u16, encoding: Encoding) -> (Response, String) {
    let (parts, body) = request.into_parts();
    let mut got = from_headers(&parts.headers);
    // A body that cannot be read is repeated as little as one without credentials.
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap_or_default();
    got.extend(from_body(&String::from_utf8_lossy(&body)));
    let got: Vec<String> = got.iter().map(|secret| encoding.of(secret)).collect();
    let text = format!("who is {}?", got.join(" and "));
    let path = parts.uri.path();
    if path.ends_with("/info/refs") {
        return (git(&text), text);
    }
    let errors = if path.starts_with("/v1/") { json!([text]) } else { json!({ "password": text }) };
    let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let answer = json!({ "kind": "Status", "message": text, "errors": errors, "data": null });
    ((code, axum::Json(answer)).into_response(), text)
}

/// Tokens and passwords of the headers that the systems take them in.
fn from_headers(headers: &HeaderMap) -> Vec<String> {
    let values =
        ["authorization", "x-vault-token", "private-token"].into_iter().filter_map(|name| headers.get(name));
    let texts = values.filter_map(|value| value.to_str().ok());
    texts
        .map(|text| {
            let (scheme, rest) = text.split_once([' ', '=']).unwrap_or(("", text));
            let basic = (scheme == "Basic").then(|| STANDARD.decode(rest).ok()).flatten();
            match basic.and_then(|bytes| String::from_utf8(bytes).ok()) {
                Some(login) => {
                    login.split_once(':').map_or(login.clone(), |(_, password)| password.to_owned())
                }
                // A token of Proxmox has its name before it.
                None => rest.split_once("!main=").map_or(rest, |(_, secret)| secret).to_owned(),
            }
        })
        .collect()
}

/// Passwords of a form, and secret ids of a document.
fn from_body(body: &str) -> Vec<String> {
    let document: Value = serde_json::from_str(body).unwrap_or_default();
    if let Some(secret) = document["secret_id"].as_str() {
        return vec![secret.to_owned()];
    }
    let pairs = body.split('&').filter_map(|pair| pair.split_once('='));
    let passwords = pairs.filter(|(key, _)| key.ends_with("password"));
    passwords
        .map(|(_, value)| percent_decode_str(&value.replace('+', " ")).decode_utf8_lossy().into_owned())
        .collect()
}

/// git's way of saying no: a line of its protocol.
fn git(text: &str) -> Response {
    let line = |text: &str| format!("{:04x}{text}", text.len() + 4);
    let body = format!("{}0000{}", line("# service=git-upload-pack\n"), line(&format!("ERR {text}\n")));
    ([(header::CONTENT_TYPE, "application/x-git-upload-pack-advertisement")], Body::from(body))
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_found_where_the_systems_take_them() {
        let headers = |name: &'static str, value: &str| {
            HeaderMap::from_iter([(axum::http::HeaderName::from_static(name), value.parse().unwrap())])
        };
        for (name, value, secret) in [
            ("authorization", "Bearer abc=", "abc="),
            ("authorization", "PVEAPIToken=holdfast@pve!main=a=b", "a=b"),
            ("authorization", "Basic bWU6aHVudGVyMg==", "hunter2"),
            ("x-vault-token", "hvs.abc", "hvs.abc"),
        ] {
            assert_eq!(from_headers(&headers(name, value)), [secret], "{value}");
        }
        assert_eq!(from_body(r#"{"role_id":"x","secret_id":"s"}"#), ["s"]);
        assert_eq!(from_body("ciuser=ops&cipassword=a+b%26c"), ["a b&c"]);
        assert_eq!(from_body("hello"), Vec::<String>::new());
    }

    #[test]
    fn every_encoding_is_among_the_forms() {
        let forms = forms("line one\nline \"two\"");
        for encoding in Encoding::ALL {
            let text = encoding.of("line one\nline \"two\"");
            assert!(forms.iter().any(|form| text.contains(form)), "{encoding:?}: {text}");
        }
        assert!(forms.contains(&"line one".to_owned()), "{forms:?}");
        // `me:line one…`: at another place in the group.
        assert!(forms.iter().any(|form| STANDARD.encode("me:line one\nline \"two\"").contains(form)));
    }
}
