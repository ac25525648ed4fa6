//! A guest's notes: what people wrote, and below it the lines that Holdfast keeps there.

use std::collections::BTreeSet;

use holdfast_core::mark::Mark;
use serde::{Deserialize, Serialize};

use crate::names::HostKey;

const MARK: &str = "holdfast: ";
const HOST_KEY: &str = "holdfast-host-key: ";
const PASSWORD: &str = "holdfast-password: ";
const TAGS: &str = "holdfast-tags: ";
const SEED_DUE: &str = "holdfast-seed-due: ";

/// The notes without the mark, which only `apply` can write.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Notes {
    /// What people wrote, without white space at its end.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// The SSH host key that is trusted for this guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_key: Option<HostKey>,
    /// The stamp of the cloud-init password that was set, since the password itself never reads back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The tags that a manifest declared, so that one that it drops can be told from one of somebody else.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<String>,
    /// Cloud-init settings were written that the drive's image is not known to hold: which write that was. It goes once
    /// the image was made anew, so that a crash between the two is seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed_due: Option<String>,
}

impl Notes {
    /// Reads notes, and the marks in them: several where somebody copied them together. Lines that only
    /// look like ours are what people wrote.
    pub(crate) fn parse(description: &str) -> (Self, Vec<Mark>) {
        let mut notes = Self::default();
        let mut marks = Vec::new();
        let mut written = Vec::new();
        // Line feeds alone end a line when it is written again, so no return may be left before one.
        for line in description.lines().map(|line| line.trim_end_matches('\r')) {
            if let Some(mark) = line.strip_prefix(MARK).and_then(Mark::parse) {
                marks.push(mark);
            } else if let Some(key) =
                line.strip_prefix(HOST_KEY).and_then(|key| HostKey::new(key.trim()).ok())
            {
                notes.host_key = Some(key);
            } else if let Some(stamp) = line.strip_prefix(PASSWORD) {
                notes.password = Some(stamp.trim().to_owned());
            } else if let Some(tags) = line.strip_prefix(TAGS) {
                notes.tags = tags.split_whitespace().map(ToOwned::to_owned).collect();
            } else if let Some(due) = line.strip_prefix(SEED_DUE) {
                notes.seed_due = Some(due.trim().to_owned());
            } else {
                written.push(line);
            }
        }
        written.join("\n").trim_end().clone_into(&mut notes.text);
        (notes, marks)
    }

    /// What is left of the notes on a guest without a mark of ours: lines that were copied together with a
    /// mark say nothing about this guest, with or without it.
    pub(crate) fn without_ours(self) -> Self {
        Self { text: self.text, ..Self::default() }
    }

    /// The description to write: what people wrote, an empty line, and ours with the mark first.
    pub(crate) fn render(&self, mark: &Mark) -> String {
        let mut lines = Vec::new();
        if !self.text.is_empty() {
            lines.extend([self.text.clone(), String::new()]);
        }
        lines.push(format!("{MARK}{mark}"));
        lines.extend(self.host_key.iter().map(|key| format!("{HOST_KEY}{key}")));
        lines.extend(self.password.iter().map(|stamp| format!("{PASSWORD}{stamp}")));
        if !self.tags.is_empty() {
            let tags: Vec<&str> = self.tags.iter().map(String::as_str).collect();
            lines.push(format!("{TAGS}{}", tags.join(" ")));
        }
        lines.extend(self.seed_due.iter().map(|due| format!("{SEED_DUE}{due}")));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEp1c3RBbkV4YW1wbGVLZXlOb3RBUmVhbE9uZUF0QWxs";

    fn mark() -> Mark {
        Mark::parse("home/core/VirtualMachine/kube01@101/4c4c").unwrap()
    }

    #[test]
    fn notes_read_back_as_written_and_trimmed_on_the_right() {
        let notes = Notes {
            text: "first\n\nk3s server".to_owned(),
            host_key: Some(HostKey::new(KEY).unwrap()),
            password: Some("00ff".to_owned()),
            tags: BTreeSet::from(["a".to_owned(), "b".to_owned()]),
            seed_due: Some("aa11".to_owned()),
        };
        let text = notes.render(&mark());
        assert_eq!(
            text,
            format!(
                "first\n\nk3s server\n\nholdfast: home/core/VirtualMachine/kube01@101/4c4c\nholdfast-host-key: {KEY}\nholdfast-password: 00ff\nholdfast-tags: a b\nholdfast-seed-due: aa11"
            )
        );
        assert_eq!(Notes::parse(&format!("{text}\n")), (notes, vec![mark()]));
        let bare = Notes::default().render(&mark());
        assert_eq!(bare, "holdfast: home/core/VirtualMachine/kube01@101/4c4c");
        assert_eq!(Notes::parse(&bare), (Notes::default(), vec![mark()]));
    }

    #[test]
    fn what_people_write_below_our_lines_is_theirs() {
        let (notes, marks) =
            Notes::parse("one\n\nholdfast: home/core/VirtualMachine/kube01@101/4c4c\ntwo  \n");
        assert_eq!(notes.text, "one\n\ntwo");
        assert_eq!(marks, [mark()]);
        let (notes, _) = Notes::parse("one\r\r\ntwo\r\n");
        assert_eq!(notes.text, "one\ntwo", "what is written again reads the same");
        let (notes, marks) = Notes::parse("holdfast: is great\nholdfast-host-key: nonsense");
        assert_eq!(notes.text, "holdfast: is great\nholdfast-host-key: nonsense");
        assert_eq!(marks, []);
    }
}
