//! Which policy texts the server refuses: a rough cut of its parser, enough to tell a broken text.

const CAPABILITIES: [&str; 9] =
    ["create", "read", "update", "patch", "delete", "list", "scan", "sudo", "deny"];

/// Checks quotes, braces and brackets, what stands at the top, and the words in lists of capabilities.
pub(super) fn check(text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("'policy' parameter not supplied or empty".to_owned());
    }
    if text.trim_start().starts_with('{') {
        return serde_json::from_str::<serde_json::Value>(text).map(drop).map_err(|error| error.to_string());
    }
    let mut depth = 0_usize;
    let mut in_capabilities = false;
    for (at, line) in text.lines().enumerate() {
        let says = |what: &str| format!("At {}: {what}", at + 1);
        let pieces: Vec<&str> = line.split('"').collect();
        let comment = pieces.iter().enumerate().position(|(at, piece)| at % 2 == 0 && piece.contains('#'));
        if comment.is_none() && pieces.len().is_multiple_of(2) {
            return Err(says("literal not terminated"));
        }
        for (at, piece) in pieces.iter().enumerate() {
            let is_last = comment == Some(at);
            if at % 2 == 1 {
                if in_capabilities && !CAPABILITIES.contains(piece) {
                    return Err(says(&format!("invalid capability {piece:?}")));
                }
                continue;
            }
            let code = piece.split('#').next().unwrap_or_default();
            let word = code.split_whitespace().next().unwrap_or_default();
            if depth == 0 && word.starts_with(|c: char| c.is_alphabetic()) && !matches!(word, "path" | "name")
            {
                return Err(says(&format!("invalid key {word:?}")));
            }
            for c in code.chars() {
                match c {
                    '{' => depth += 1,
                    '}' => {
                        depth = depth.checked_sub(1).ok_or_else(|| says("unexpected token while parsing"))?;
                    }
                    '[' => in_capabilities = line.contains("capabilities"),
                    ']' => in_capabilities = false,
                    _ => {}
                }
            }
            if is_last {
                break;
            }
        }
    }
    if depth == 0 { Ok(()) } else { Err("object expected closing RBRACE got: EOF".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn broken_texts_are_told() {
        for good in [
            "path \"a\" {\n  capabilities = [\"read\"]\n}\n",
            "# a { comment \"\npath \"kv/{{x}}\" { capabilities = [\"deny\"] } # }\n",
            "{ \"path\": {} }",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "path \"a\" {",
            "}",
            "path \"a {\n}",
            "paths \"a\" {\n}",
            "path \"a\" { capabilities = [\"readd\"] }",
            "{",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
