//! Policy texts: enough of HCL 1 to read them, and to refuse what a real server refuses.

use serde_json::Value;

/// One `path` block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) path: String,
    pub(super) capabilities: Vec<String>,
}

const CAPABILITIES: &[&str] =
    &["deny", "create", "read", "update", "delete", "list", "sudo", "patch", "scan"];
const KEYS: &[&str] = &[
    "capabilities",
    "policy",
    "min_wrapping_ttl",
    "max_wrapping_ttl",
    "allowed_parameters",
    "denied_parameters",
    "required_parameters",
    "pagination_limit",
    "response_keys_filter_path",
    "list_scan_response_keys_filter_path",
    "expiration",
    "comment",
];

/// Reads a policy. The error is what the server says behind `failed to parse policy: `.
pub(super) fn rules(text: &str) -> Result<Vec<Rule>, String> {
    if text.trim_start().starts_with('{') {
        return json_rules(text);
    }
    let mut parser = Parser { tokens: tokens(text)?, at: 0 };
    let mut rules = Vec::new();
    while let Some((token, place)) = parser.next() {
        match token {
            Token::Word(word) if word == "path" => rules.push(parser.block()?),
            Token::Word(word) if word == "name" => parser.skip_assignment()?,
            Token::Word(word) | Token::Text(word) => {
                return Err(format!(
                    "1 error occurred:\n\t* invalid key {word:?} on line {}\n\n",
                    place.line - 1
                ));
            }
            other => return Err(place.says(&format!("unexpected token while parsing: {other:?}"))),
        }
    }
    Ok(rules)
}

fn json_rules(text: &str) -> Result<Vec<Rule>, String> {
    let policy: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut rules = Vec::new();
    for (key, paths) in policy.as_object().into_iter().flatten() {
        if key != "path" {
            return Err(format!("1 error occurred:\n\t* invalid key {key:?} on line 0\n\n"));
        }
        for (path, block) in paths.as_object().into_iter().flatten() {
            let list = block["capabilities"].as_array().into_iter().flatten();
            let capabilities = list.filter_map(|item| item.as_str().map(str::to_owned)).collect();
            rules.push(checked(Rule { path: path.clone(), capabilities })?);
        }
    }
    Ok(rules)
}

fn checked(rule: Rule) -> Result<Rule, String> {
    let Rule { path, capabilities } = rule;
    if let Some(wrong) = capabilities.iter().find(|name| !CAPABILITIES.contains(&name.as_str())) {
        return Err(format!("path {path:?}: path {path:?}: invalid capability {wrong:?}"));
    }
    // The server takes a leading slash, and drops it.
    Ok(Rule { path: path.trim_start_matches('/').to_owned(), capabilities })
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
    End,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    line: usize,
    column: usize,
}

impl Place {
    fn says(self, what: &str) -> String {
        format!("At {}:{}: {what}", self.line, self.column)
    }
}

fn tokens(text: &str) -> Result<Vec<(Token, Place)>, String> {
    let chars: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let (mut at, mut line, mut start) = (0, 1, 0);
    while let Some(&c) = chars.get(at) {
        let place = Place { line, column: at - start + 1 };
        match c {
            '\n' => {
                line += 1;
                start = at + 1;
                at += 1;
            }
            c if c.is_whitespace() => at += 1,
            '#' => at = until(&chars, at, '\n'),
            '/' if chars.get(at + 1) == Some(&'/') => at = until(&chars, at, '\n'),
            '/' if chars.get(at + 1) == Some(&'*') => {
                let mut end = at + 2;
                while end < chars.len() && !(chars[end] == '*' && chars.get(end + 1) == Some(&'/')) {
                    if chars[end] == '\n' {
                        line += 1;
                        start = end + 1;
                    }
                    end += 1;
                }
                at = end + 2;
            }
            '"' => {
                let (string, end) = quoted(&chars, at, place)?;
                found.push((Token::Text(string), place));
                at = end;
            }
            '{' | '}' | '[' | ']' | ',' | '=' => {
                found.push((Token::Sign(c), place));
                at += 1;
            }
            c if c.is_alphanumeric() || c == '_' || c == '-' => {
                let end = (at..chars.len())
                    .find(|&at| !(chars[at].is_alphanumeric() || "_-.".contains(chars[at])))
                    .unwrap_or(chars.len());
                found.push((Token::Word(chars[at..end].iter().collect()), place));
                at = end;
            }
            _ => return Err(place.says("illegal char")),
        }
    }
    found.push((Token::End, Place { line, column: at.saturating_sub(start) + 1 }));
    Ok(found)
}

fn until(chars: &[char], from: usize, end: char) -> usize {
    (from..chars.len()).find(|&at| chars[at] == end).unwrap_or(chars.len())
}

fn quoted(chars: &[char], from: usize, place: Place) -> Result<(String, usize), String> {
    let mut text = String::new();
    let mut at = from + 1;
    loop {
        match chars.get(at) {
            Some('"') => return Ok((text, at + 1)),
            Some('\\') => {
                text.push(match chars.get(at + 1) {
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some(&other) => other,
                    None => return Err(place.says("literal not terminated")),
                });
                at += 2;
            }
            Some('\n') | None => return Err(place.says("literal not terminated")),
            Some(&other) => {
                text.push(other);
                at += 1;
            }
        }
    }
}

struct Parser {
    tokens: Vec<(Token, Place)>,
    at: usize,
}

impl Parser {
    /// The next token, or nothing at the end.
    fn next(&mut self) -> Option<(Token, Place)> {
        let (token, place) = self.tokens.get(self.at)?.clone();
        if token == Token::End {
            return None;
        }
        self.at += 1;
        Some((token, place))
    }

    fn place(&self) -> Place {
        self.tokens.get(self.at).map_or(Place { line: 1, column: 1 }, |(_, place)| *place)
    }

    fn take_sign(&mut self, sign: char) -> bool {
        let found = self.tokens.get(self.at).is_some_and(|(token, _)| *token == Token::Sign(sign));
        self.at += usize::from(found);
        found
    }

    fn skip_assignment(&mut self) -> Result<(), String> {
        self.take_sign('=');
        self.value().map(drop)
    }

    /// What follows `path`: a name and its block.
    fn block(&mut self) -> Result<Rule, String> {
        self.take_sign('=');
        let place = self.place();
        let Some((Token::Text(path) | Token::Word(path), _)) = self.next() else {
            return Err(place.says("key 'path' expected start of object ('{') or assignment ('=')"));
        };
        if !self.take_sign('{') {
            return Err(self.place().says("object expected closing RBRACE got: EOF"));
        }
        let mut capabilities = Vec::new();
        loop {
            if self.take_sign('}') {
                return checked(Rule { path, capabilities });
            }
            match self.next() {
                Some((Token::Word(key) | Token::Text(key), place)) => {
                    if !KEYS.contains(&key.as_str()) {
                        let line = place.line;
                        return Err(format!(
                            "path {path:?}: 1 error occurred:\n\t* invalid key {key:?} on line {line}\n\n"
                        ));
                    }
                    self.take_sign('=');
                    let values = self.value()?;
                    match key.as_str() {
                        "capabilities" => capabilities.extend(values),
                        "policy" => capabilities.extend(expanded(&path, &values)?),
                        _ => {}
                    }
                }
                Some((Token::Sign(','), _)) => {}
                _ => return Err(self.place().says("object expected closing RBRACE got: EOF")),
            }
        }
    }

    /// A value; a list gives its texts, a single text itself, an object nothing.
    fn value(&mut self) -> Result<Vec<String>, String> {
        let place = self.place();
        match self.next() {
            Some((Token::Text(text) | Token::Word(text), _)) => Ok(vec![text]),
            Some((Token::Sign('['), _)) => {
                let mut items = Vec::new();
                loop {
                    if self.take_sign(']') {
                        return Ok(items);
                    }
                    items.extend(self.value()?);
                    if !self.take_sign(',') && !self.take_sign(']') {
                        let what = "error parsing list, expected comma or list end, got: EOF";
                        return Err(self.place().says(what));
                    }
                    if self.tokens.get(self.at.wrapping_sub(1)).is_some_and(|(t, _)| *t == Token::Sign(']')) {
                        return Ok(items);
                    }
                }
            }
            Some((Token::Sign('{'), _)) => {
                while !self.take_sign('}') {
                    let _key =
                        self.next().ok_or_else(|| place.says("object expected closing RBRACE got: EOF"))?;
                    self.take_sign('=');
                    self.value()?;
                    self.take_sign(',');
                }
                Ok(Vec::new())
            }
            _ => Err(place.says("Unknown token")),
        }
    }
}

/// The old way to write capabilities.
fn expanded(path: &str, values: &[String]) -> Result<Vec<String>, String> {
    let names: &[&str] = match values.first().map(String::as_str) {
        Some("deny") => &["deny"],
        Some("read") => &["read", "list"],
        Some("write") => &["create", "read", "update", "delete", "list"],
        Some("sudo") => &["create", "read", "update", "delete", "list", "sudo"],
        other => return Err(format!("path {path:?}: invalid policy {:?}", other.unwrap_or_default())),
    };
    Ok(names.iter().map(|name| (*name).to_owned()).collect())
}
