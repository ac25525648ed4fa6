//! Property strings: comma-separated `key=value`, of which one default key may stand bare.

/// A property string in the order in which it was read. What is not understood is kept as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Properties(Vec<(String, String)>);

impl Properties {
    /// Reads a property string; a bare first value belongs to `default_key`. Two values of one key, or a
    /// second bare value, are what the API itself refuses: `None`.
    pub(crate) fn parse(text: &str, default_key: &str) -> Option<Self> {
        let mut read = Self::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').unwrap_or((default_key, part));
            if read.get(key).is_some() {
                return None;
            }
            read.0.push((key.to_owned(), value.to_owned()));
        }
        Some(read)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// The first pair whose key fits, such as the model that stands for a network card's MAC.
    pub(crate) fn find(&self, fits: impl Fn(&str) -> bool) -> Option<(&str, &str)> {
        self.0.iter().find(|(key, _)| fits(key)).map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// All pairs but those of the given keys, as `key=value`.
    pub(crate) fn others(&self, keys: &[&str]) -> Vec<String> {
        let others = self.0.iter().filter(|(key, _)| !keys.contains(&key.as_str()));
        others.map(|(key, value)| format!("{key}={value}")).collect()
    }
}

/// A boolean of a property string, which has more spellings than a form's `0` and `1`.
pub(crate) fn boolean(text: &str) -> bool {
    matches!(text.to_ascii_lowercase().as_str(), "1" | "on" | "yes" | "true")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_key_may_stand_bare_and_the_rest_keeps_its_order() {
        let disk = Properties::parse("local-lvm:vm-101-disk-0,iothread=1,size=32G", "file").unwrap();
        assert_eq!(disk.get("file"), Some("local-lvm:vm-101-disk-0"));
        assert_eq!(disk.get("size"), Some("32G"));
        assert_eq!(disk.others(&["file", "size"]), ["iothread=1"]);
        let net = "virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=1";
        let net = Properties::parse(net, "model").unwrap();
        assert_eq!(net.find(|key| key == "virtio"), Some(("virtio", "BC:24:11:00:00:01")));
    }

    #[test]
    fn what_the_api_refuses_is_not_read() {
        assert_eq!(Properties::parse("a=1,a=2", "x"), None);
        assert_eq!(Properties::parse("one,two", "x"), None);
        assert_eq!(Properties::parse("", "x"), Some(Properties::default()));
        assert!(boolean("on") && boolean("1") && !boolean("0") && !boolean("off"));
    }
}
