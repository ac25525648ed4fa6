//! The small texts of a host's manifest (paths, modes, names), each checked in its one constructor.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// Why a text is not what it should be. Displays as a sentence's worth: "`etc/motd` must be …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` {rule}", shown(.text))]
pub struct NameError {
    pub(super) text: String,
    pub(super) rule: &'static str,
}

/// A text that may be hostile, fit for a message: no control characters, and not endless.
pub(crate) fn shown(text: &str) -> String {
    let mut clean: String =
        text.chars().take(200).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(200).is_some() {
        clean.push('…');
    }
    clean
}

/// A checked text with its JSON Schema. `$check` gives the rule that a text breaks.
macro_rules! checked_text {
    ($(#[$doc:meta])* $type:ident, $check:path, $schema:tt) => {
        holdfast_core::checked_text!(
            $(#[$doc])*
            $type, NameError, |text| $check(text).map_err(|rule| NameError { text: text.to_owned(), rule })
        );

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

checked_text!(
    /// An absolute path that means one place: no `.` or `..`, no double or trailing slash, nothing that
    /// could break a line of output or of the ledger.
    AbsolutePath,
    check_path,
    {
        "type": "string",
        "description": "An absolute path, without `.`, `..`, or a slash at its end.",
        "pattern": "^/[^\\u0000-\\u001f\\u007f]*[^/\\u0000-\\u0020\\u007f]$",
        "maxLength": 1024
    }
);
checked_text!(
    /// A user or a group: a name, or a number.
    Account,
    check_account,
    {
        "type": "string",
        "description": "The name or the number of a user or group.",
        "pattern": "^([a-z_][a-z0-9_.-]{0,30}[a-z0-9_.$-]?|[0-9]{1,10})$"
    }
);
checked_text!(
    /// A Debian package's name (Debian Policy 5.6.1), without version or architecture.
    PackageName,
    check_package,
    {
        "type": "string",
        "description": "The name of a Debian package, without a version.",
        "pattern": "^[a-z0-9][a-z0-9+.-]+$",
        "maxLength": 128
    }
);
checked_text!(
    /// The full name of a systemd unit, with its suffix. A template needs its instance: `x@1.service`.
    UnitName,
    check_unit,
    {
        "type": "string",
        "description": "The full name of a systemd unit, such as `nginx.service`.",
        "pattern": "^[A-Za-z0-9:_.\\\\@-]+\\.(service|socket|timer|path|target|mount|automount|swap|slice)$",
        "maxLength": 255
    }
);

impl AbsolutePath {
    /// The directory that it stands in.
    pub fn parent(&self) -> &str {
        match self.0.rsplit_once('/') {
            Some(("", _)) | None => "/",
            Some((parent, _)) => parent,
        }
    }

    /// Its last part.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or(self.as_str(), |(_, name)| name)
    }
}

impl UnitName {
    /// The name of the file that defines it: `x@.service` for the instance `x@1.service`.
    pub fn file_name(&self) -> String {
        match (self.0.split_once('@'), self.0.rsplit_once('.')) {
            (Some((prefix, _)), Some((_, suffix))) => format!("{prefix}@.{suffix}"),
            _ => self.as_str().to_owned(),
        }
    }
}

fn check_path(text: &str) -> Result<(), &'static str> {
    let Some(rest) = text.strip_prefix('/') else {
        return Err("must be an absolute path");
    };
    if rest.is_empty() {
        return Err("is the root directory, which is not managed");
    }
    if text.len() > 1024 {
        return Err("is longer than 1024 bytes");
    }
    if text.chars().any(char::is_control) {
        return Err("must not hold control characters");
    }
    for part in rest.split('/') {
        match part {
            "" => return Err("must not have double slashes or a slash at its end"),
            "." | ".." => return Err("must not hold `.` or `..`"),
            // The name of the temporary file beside it must fit as well.
            _ if part.len() > 200 => return Err("has a part that is longer than 200 bytes"),
            _ if part.trim() != part => return Err("must not have spaces at an end of a part"),
            _ => {}
        }
    }
    let ours = |root: &str| text == root || text.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'));
    if ours("/var/lib/holdfast") {
        return Err("is Holdfast's own directory");
    }
    if ["/proc", "/sys", "/dev"].into_iter().any(ours) {
        return Err("is the kernel's, not a place for files");
    }
    Ok(())
}

fn check_account(text: &str) -> Result<(), &'static str> {
    const RULE: &str = "must be a user's or group's name, such as `www-data`, or its number";
    let mut bytes = text.bytes();
    let fits =
        match bytes.next() {
            Some(b'0'..=b'9') => text.len() <= 10 && text.parse::<u32>().is_ok(),
            Some(b'a'..=b'z' | b'_') => {
                text.len() <= 32
                    && text.strip_suffix('$').unwrap_or(text).bytes().all(|b| {
                        b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'.')
                    })
            }
            _ => false,
        };
    if fits { Ok(()) } else { Err(RULE) }
}

fn check_package(text: &str) -> Result<(), &'static str> {
    let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let fits = (2..=128).contains(&text.len())
        && text.bytes().next().is_some_and(lower)
        && text.bytes().all(|b| lower(b) || matches!(b, b'+' | b'-' | b'.'))
        // apt-get reads these endings as "remove it" and "install it".
        && !text.ends_with('-');
    if fits { Ok(()) } else { Err("must be the name of a Debian package, without a version") }
}

const UNIT_SUFFIXES: [&str; 9] =
    ["service", "socket", "timer", "path", "target", "mount", "automount", "swap", "slice"];

fn check_unit(text: &str) -> Result<(), &'static str> {
    let Some((stem, suffix)) = text.rsplit_once('.') else {
        return Err("must be a unit's full name, such as `nginx.service`");
    };
    if !UNIT_SUFFIXES.contains(&suffix) {
        return Err("must be a unit's full name, such as `nginx.service`");
    }
    if text.len() > 255 || stem.is_empty() || stem.starts_with('-') {
        return Err("is not a unit's name");
    }
    if !stem.bytes().all(|b| b.is_ascii_alphanumeric() || b":_.\\@-".contains(&b)) {
        return Err("must consist of letters, digits and `:_.\\@-`");
    }
    if stem.ends_with('@') {
        return Err("is a template: name its instance, such as `x@1.service`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_means_one_place() {
        assert!(AbsolutePath::new("/etc/my app/motd").is_ok());
        for wrong in [
            "",
            "/",
            "etc/motd",
            "/etc/",
            "/etc//x",
            "/etc/../x",
            "/etc/./x",
            "/a\nb",
            "/a\0",
            "/a /b",
            "/a ",
            "/proc/x",
            "/dev",
            "/var/lib/holdfast",
            "/var/lib/holdfast/ledger",
        ] {
            assert!(AbsolutePath::new(wrong).is_err(), "{wrong:?} was taken");
        }
        assert!(AbsolutePath::new("/var/lib/holdfast2").is_ok());
        let path = AbsolutePath::new("/motd").unwrap();
        assert_eq!((path.parent(), path.name()), ("/", "motd"));
        assert_eq!(AbsolutePath::new("/etc/motd").unwrap().parent(), "/etc");
    }

    #[test]
    fn names_cannot_be_read_as_options_or_as_something_else() {
        for wrong in ["-x", "curl-", "curl=7", "Curl", "a", "cu rl", "curl/sid", "curl:i386"] {
            assert!(PackageName::new(wrong).is_err(), "{wrong:?} was taken");
        }
        assert!(PackageName::new("libstdc++6").is_ok());
        for wrong in ["nginx", "-x.service", "x@.service", "a b.service", ".service", "x.conf"] {
            assert!(UnitName::new(wrong).is_err(), "{wrong:?} was taken");
        }
        assert_eq!(UnitName::new("x@1.service").unwrap().file_name(), "x@.service");
        assert_eq!(UnitName::new("x.timer").unwrap().file_name(), "x.timer");
        for wrong in ["", "Root", "-r", "root:root", "4294967296", "a b"] {
            assert!(Account::new(wrong).is_err(), "{wrong:?} was taken");
        }
        assert!(Account::new("www-data").is_ok() && Account::new("1000").is_ok());
    }

    #[test]
    fn what_is_wrong_is_said_without_control_characters() {
        let error = AbsolutePath::new("/a\u{1b}[31m").unwrap_err();
        assert_eq!(error.to_string(), "`/a\u{fffd}[31m` must not hold control characters");
    }
}
