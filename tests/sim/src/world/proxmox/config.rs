//! The API's property strings, and what a running guest takes at once.

/// The keys that this cluster knows, besides those of disks.
const KNOWN: [&str; 16] = [
    "agent",
    "cores",
    "memory",
    "net0",
    "onboot",
    "name",
    "tags",
    "description",
    "protection",
    "ciuser",
    "cipassword",
    "sshkeys",
    "ipconfig0",
    "nameserver",
    "searchdomain",
    "startup",
];

pub(super) fn is_known(key: &str) -> bool {
    KNOWN.contains(&key)
}

/// Whether a running guest takes a key only when it restarts, with the default `hotplug` option.
pub(super) fn waits_for_restart(key: &str) -> bool {
    matches!(key, "agent" | "cores" | "memory") || key.starts_with("ide")
}

/// Where a disk may be attached.
pub(super) fn is_slot(key: &str) -> bool {
    let number = |bus: &str| key.strip_prefix(bus).is_some_and(|rest| rest.parse::<u8>().is_ok());
    ["ide", "sata", "scsi", "virtio"].into_iter().any(number)
}

/// Comma-separated `key=value`; the first may be the bare value of a default key.
pub(super) struct Properties<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Properties<'a> {
    pub(super) fn parse(text: &'a str, default: &'a str) -> Self {
        let parts = text.split(',').filter(|part| !part.is_empty());
        Self(parts.map(|part| part.split_once('=').unwrap_or((default, part))).collect())
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find(|(own, _)| *own == key).map(|(_, value)| *value)
    }

    /// All pairs but those of the given keys, as `key=value`.
    pub(super) fn others(&self, keys: &[&str]) -> Vec<String> {
        let others = self.0.iter().filter(|(key, _)| !keys.contains(key));
        others.map(|(key, value)| format!("{key}={value}")).collect()
    }
}

/// A network card, read from its property string.
pub(super) struct Card<'a> {
    pub(super) model: &'a str,
    pub(super) mac: Option<&'a str>,
    pub(super) properties: Properties<'a>,
}

const MODELS: [&str; 3] = ["virtio", "e1000", "vmxnet3"];

impl<'a> Card<'a> {
    pub(super) fn parse(text: &'a str) -> Self {
        let properties = Properties::parse(text, "model");
        let named = MODELS.into_iter().find(|model| properties.get(model).is_some());
        let (model, mac) = match named {
            Some(model) => (model, properties.get(model)),
            None => (properties.get("model").unwrap_or("virtio"), properties.get("macaddr")),
        };
        Self { model, mac, properties }
    }

    /// As the API stores it: with the model and the MAC address first.
    pub(super) fn print(&self, mac: &str) -> String {
        let mut parts = vec![format!("{}={mac}", self.model)];
        parts.extend(self.properties.others(&[self.model, "model", "macaddr"]));
        parts.join(",")
    }
}

/// Reads `sshkeys`, which is percent-encoded: one key a line.
pub(super) fn ssh_keys(text: &str) -> Vec<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = (*first == b'%').then(|| tail.get(..2)).flatten();
        let code = code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &tail[2..] } else { tail };
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}
