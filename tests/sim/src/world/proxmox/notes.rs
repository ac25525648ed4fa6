//! A guest's notes, read and written as the kind says that they look: what people wrote, then lines of ours.

use holdfast_core::mark::Mark;
use holdfast_proxmox::HostKey;
use holdfast_proxmox::virtual_machine::notes::Notes;

const OURS: [&str; 5] =
    ["holdfast: ", "holdfast-host-key: ", "holdfast-password: ", "holdfast-tags: ", "holdfast-seed-due: "];

pub(super) fn read(description: &str) -> (Notes, Vec<Mark>) {
    let (mut notes, mut marks, mut text) = (Notes::default(), Vec::new(), Vec::new());
    for line in description.lines() {
        let after = |prefix: &str| line.strip_prefix(prefix).map(str::trim);
        if let Some(mark) = after(OURS[0]).and_then(Mark::parse) {
            marks.push(mark);
        } else if let Some(key) = after(OURS[1]).and_then(|key| HostKey::new(key).ok()) {
            notes.host_key = Some(key);
        } else if let Some(stamp) = after(OURS[2]) {
            notes.password = Some(stamp.to_owned());
        } else if let Some(tags) = after(OURS[3]) {
            notes.tags = tags.split_whitespace().map(ToOwned::to_owned).collect();
        } else if let Some(due) = after(OURS[4]) {
            notes.seed_due = Some(due.to_owned());
        } else {
            text.push(line);
        }
    }
    text.join("\n").trim_end().clone_into(&mut notes.text);
    (notes, marks)
}

pub(super) fn write(notes: &Notes, mark: &Mark) -> String {
    let mut lines = Vec::new();
    if !notes.text.is_empty() {
        lines.push(format!("{}\n", notes.text));
    }
    lines.push(format!("{}{mark}", OURS[0]));
    lines.extend(notes.host_key.iter().map(|key| format!("{}{key}", OURS[1])));
    lines.extend(notes.password.iter().map(|stamp| format!("{}{stamp}", OURS[2])));
    if !notes.tags.is_empty() {
        let tags: Vec<&str> = notes.tags.iter().map(String::as_str).collect();
        lines.push(format!("{}{}", OURS[3], tags.join(" ")));
    }
    lines.extend(notes.seed_due.iter().map(|due| format!("{}{due}", OURS[4])));
    lines.join("\n")
}

/// The same notes with another text of people's in front.
pub(super) fn with_text(description: &str, text: &str) -> String {
    let ours = description.lines().filter(|line| OURS.iter().any(|prefix| line.starts_with(prefix)));
    [text, ""].into_iter().chain(ours).collect::<Vec<_>>().join("\n")
}
