//! Property strings, `key=value,key=value`: read, checked and printed as Proxmox does.

use std::collections::BTreeMap;

use super::format;

/// The values of one property string.
pub(super) type Props = BTreeMap<String, String>;

/// The type of one key's value.
#[derive(Clone, Copy)]
pub(super) enum Prop {
    Text,
    Bool,
    Int(u64, u64),
    Number,
    OneOf(&'static [&'static str]),
    Format(fn(&str) -> Result<(), String>),
}

/// What keys a property string takes.
pub(super) struct Shape {
    /// The key that may come bare.
    pub(super) default: Option<&'static str>,
    pub(super) required: &'static [&'static str],
    /// Keys that need another one, which stands second.
    pub(super) needs: &'static [(&'static str, &'static str)],
    /// Other names of a key.
    pub(super) alias: &'static [(&'static str, &'static str)],
    pub(super) keys: &'static [(&'static str, Prop)],
}

impl Shape {
    fn key(&self, name: &str) -> Option<Prop> {
        self.keys.iter().find(|(key, _)| *key == name).map(|(_, prop)| *prop)
    }

    /// Reads `text`, which stands under `path`; the error is what follows `invalid format - `.
    pub(super) fn parse(&self, path: &str, text: &str) -> Result<Props, String> {
        let mut found = Props::new();
        let mut bare = false;
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let (key, value) = match part.split_once('=') {
                Some((key, value)) if !key.is_empty() && !value.is_empty() => (key, value),
                Some(_) => return Err("missing key in comma-separated list property".into()),
                None => {
                    let none = "value without key, but schema does not define a default key";
                    let key = self.default.ok_or(none)?;
                    if std::mem::replace(&mut bare, true) {
                        return Err(format!("duplicate key in comma-separated list property: {key}"));
                    }
                    (key, part)
                }
            };
            let key = self.alias.iter().find(|(other, _)| *other == key).map_or(key, |(_, name)| name);
            let Some(prop) = self.key(key) else {
                return Err(format!("invalid key in comma-separated list property: {key}"));
            };
            let value = if matches!(prop, Prop::Bool) { boolean(value) } else { value };
            if found.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(format!("duplicate key in comma-separated list property: {key}"));
            }
        }
        self.check(path, &found)?;
        Ok(found)
    }

    fn check(&self, path: &str, found: &Props) -> Result<(), String> {
        let missing = self.required.iter().filter(|key| !found.contains_key(**key));
        let mut wrong: Vec<(String, String)> = missing
            .map(|key| ((*key).to_owned(), "property is missing and it is not optional".to_owned()))
            .collect();
        for (key, value) in found {
            if let Some(why) = self.key(key).and_then(|prop| prop.complaint(value)) {
                wrong.push((key.clone(), why));
            }
        }
        for (key, other) in self.needs {
            if found.contains_key(*key) && !found.contains_key(*other) {
                wrong.push(((*other).to_owned(), format!("missing property required by '{path}.{key}'")));
            }
        }
        if wrong.is_empty() {
            return Ok(());
        }
        wrong.sort();
        let lines: Vec<_> = wrong.iter().map(|(key, why)| format!("{path}.{key}: {why}")).collect();
        Err(format!("format error\n{}", lines.join("\n")))
    }
}

/// The further ways in which a property string spells a boolean.
fn boolean(text: &str) -> &str {
    match text.to_ascii_lowercase().as_str() {
        "1" | "on" | "yes" | "true" => "1",
        "0" | "off" | "no" | "false" => "0",
        _ => text,
    }
}

impl Prop {
    fn complaint(self, value: &str) -> Option<String> {
        match self {
            Self::Text => None,
            Self::Bool if matches!(value, "0" | "1") => None,
            Self::Bool => Some(format!("type check ('boolean') failed - got '{value}'")),
            Self::Int(least, most) => match value.parse::<u64>() {
                Err(_) => Some(format!("type check ('integer') failed - got '{value}'")),
                Ok(number) if number < least => Some(format!("value must have a minimum value of {least}")),
                Ok(number) if number > most => Some(format!("value must have a maximum value of {most}")),
                Ok(_) => None,
            },
            Self::Number if value.parse::<f64>().is_ok() => None,
            Self::Number => Some(format!("type check ('number') failed - got '{value}'")),
            Self::OneOf(values) if values.contains(&value) => None,
            Self::OneOf(values) => {
                let all = values.join(", ");
                Some(format!("value '{value}' does not have a value in the enumeration '{all}'"))
            }
            Self::Format(check) => check(value).err().map(|why| format!("invalid format - {why}")),
        }
    }
}

pub(super) const AGENT: Shape = Shape {
    default: Some("enabled"),
    required: &["enabled"],
    needs: &[],
    alias: &[("freeze-fs-on-backup", "freeze-fs"), ("guest-fsfreeze", "freeze-fs")],
    keys: &[
        ("enabled", Prop::Bool),
        ("fstrim_cloned_disks", Prop::Bool),
        ("freeze-fs", Prop::Bool),
        ("type", Prop::OneOf(&["virtio", "isa"])),
    ],
};

pub(super) const IPCONFIG: Shape = Shape {
    default: None,
    required: &[],
    needs: &[("gw", "ip"), ("gw6", "ip6")],
    alias: &[],
    keys: &[
        ("ip", Prop::Format(format::ipv4_config)),
        ("gw", Prop::Format(format::ipv4)),
        ("ip6", Prop::Format(format::ipv6_config)),
        ("gw6", Prop::Format(format::ipv6)),
    ],
};

pub(super) const MEMORY: Shape = Shape {
    default: Some("current"),
    required: &["current"],
    needs: &[],
    alias: &[],
    keys: &[("current", Prop::Int(16, 4_178_944))],
};

pub(super) const CICUSTOM: Shape = Shape {
    default: None,
    required: &[],
    needs: &[],
    alias: &[],
    keys: &[
        ("meta", Prop::Format(format::volume_id)),
        ("network", Prop::Format(format::volume_id)),
        ("user", Prop::Format(format::volume_id)),
        ("vendor", Prop::Format(format::volume_id)),
    ],
};

pub(super) const SMBIOS: Shape = Shape {
    default: None,
    required: &[],
    needs: &[],
    alias: &[],
    keys: &[
        ("uuid", Prop::Text),
        ("manufacturer", Prop::Text),
        ("product", Prop::Text),
        ("version", Prop::Text),
        ("serial", Prop::Text),
        ("sku", Prop::Text),
        ("family", Prop::Text),
        ("base64", Prop::Bool),
    ],
};

pub(super) const BOOT: Shape = Shape {
    default: Some("legacy"),
    required: &[],
    needs: &[],
    alias: &[],
    keys: &[("legacy", Prop::Text), ("order", Prop::Text)],
};
