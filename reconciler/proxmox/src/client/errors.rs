//! What the API answers when it does not do what was asked, and who must act.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_core::kind::TargetError;

/// A request that brought no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ApiError {
    /// Nobody was reached, so nothing was done.
    #[error("no connection: {0}")]
    Unreachable(String),
    /// The server's certificate is none that the settings trust.
    #[error("its certificate is not trusted: {0}")]
    Untrusted(String),
    /// The connection ended before the whole answer was there; a write may have been done.
    #[error("the connection broke before the answer came: {0}")]
    Broken(String),
    /// As [`ApiError::Broken`], after all the time that the API gives itself.
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the answer cannot be read: {0}")]
    Unreadable(String),
    /// It is well formed, and cannot be all there is.
    #[error("the answer is not whole: {0}")]
    Partial(&'static str),
    /// It answered with a status of 400 or more.
    #[error("{}", .0.text())]
    Refused(Refused),
}

/// An answer with a status of 400 or more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    /// The body's `message`, else the reason phrase: older servers, and all of 595-599, have no other.
    pub(crate) message: String,
    /// What is wrong with which parameter.
    pub(crate) errors: BTreeMap<String, String>,
    pub(crate) retry_after: Option<Duration>,
}

/// Texts of states that pass: somebody else held a lock, or changed the same file first. They come within
/// longer texts and with several statuses, so they are looked for anywhere.
const PASSING: &[&str] = &[
    "can't lock file '",
    "got lock request timeout",
    "cfs-lock '",
    "-locked command timed out",
    "checksum mismatch (file change by other user?)",
    "detected modified configuration",
    "vm is locked (",
    "ct is locked (",
    "no quorum",
    "cluster not ready",
    // The guest moved to another node, or its number was taken meanwhile: the next look tells.
    "configuration file '",
    "config file already exists",
    "already exists on node",
    ".conf.tmp' - file exists",
    // It was seen to run, or not to, a while ago.
    "is running - destroy failed",
    " not running",
    "received interrupt",
    "interrupted by signal",
    "connection timed out",
    "connection refused",
];

/// Texts of a storage that has no room, by the tools below Proxmox: LVM, LVM thin, ZFS, files, Ceph.
const FULL: &[&str] = &[
    "insufficient free space",
    "free space in thin pool",
    "no space left on device",
    "out of space",
    "not enough free space",
    "not enough space",
    "quota exceeded",
];

/// What a person can do about texts that only say what is wrong.
const HINTS: &[(&str, &str)] = &[
    ("uses local storage", "make the guest on the template's node, or keep the template on shared storage"),
    ("to non-shared storage", "make the guest on the template's node, or declare a shared `disk.storage`"),
    ("powerdown failed", "shut it down from inside, or stop it by hand"),
    ("does not allow content type 'images'", "declare a storage that holds disks"),
];

/// Whether what an error text speaks of passes by itself, so that trying again helps.
pub(crate) fn passes(text: &str) -> bool {
    let text = text.to_lowercase();
    PASSING.iter().any(|known| text.contains(known))
}

/// Whether it is that a storage has no room left.
pub(crate) fn is_full(text: &str) -> bool {
    let text = text.to_lowercase();
    FULL.iter().any(|known| text.contains(known))
}

/// The error of a text that the API gave, synchronously or as a task's end.
pub(crate) fn by_text(doing: &str, text: &str) -> TargetError {
    if is_full(text) {
        let way_out = "free space on the storage, or declare a smaller disk or another storage";
        TargetError::rejected(doing, format_args!("the storage is full ({text}): {way_out}"))
    } else if passes(text) {
        TargetError::unavailable(doing, text)
    } else if text.contains("Permission check failed") {
        // Some rights are looked at by the worker alone, whose task then ends with this.
        TargetError::rejected(doing, missing_right(text))
    } else if let Some((_, hint)) = HINTS.iter().find(|(known, _)| text.contains(known)) {
        TargetError::rejected(doing, format_args!("{text}: {hint}"))
    } else {
        TargetError::rejected(doing, text)
    }
}

impl ApiError {
    /// The same as an error of the target. `doing` is a phrase such as `starting vm 101`.
    pub(crate) fn during(&self, doing: &str) -> TargetError {
        match self {
            Self::Refused(refused) => refused.during(doing),
            Self::Untrusted(_) => TargetError::rejected(
                doing,
                format_args!(
                    "{self}; give the cluster's `/etc/pve/pve-root-ca.pem` as `ca`, or the certificate's fingerprint in `fingerprints`"
                ),
            ),
            Self::TooLarge(_) | Self::Unreadable(_) => TargetError::rejected(doing, self),
            Self::Unreachable(_) | Self::Broken(_) | Self::Timeout(_) | Self::Partial(_) => {
                TargetError::unavailable(doing, self)
            }
        }
    }

    /// Whether a read may simply be asked again: the server closes idle connections, and every one after
    /// an error, so that a request may meet a connection that is just being closed.
    pub(crate) fn is_broken(&self) -> bool {
        matches!(self, Self::Broken(_))
    }

    /// What it says about one parameter, if so.
    pub(crate) fn about(&self, parameter: &str) -> Option<&str> {
        match self {
            Self::Refused(refused) => refused.errors.get(parameter).map(String::as_str),
            _ => None,
        }
    }

    /// Whether the node that was to answer did not, so that asking it for more is a waste of half a minute
    /// each.
    pub(crate) fn is_of_a_dark_node(&self) -> bool {
        match self {
            Self::Timeout(_) => true,
            Self::Refused(refused) => matches!(refused.status, 595..=599),
            _ => false,
        }
    }

    /// The status and the text of an answer, for the few places that tell refusals apart.
    pub(crate) fn refused(&self) -> Option<(u16, String)> {
        match self {
            Self::Refused(refused) => Some((refused.status, refused.text())),
            _ => None,
        }
    }
}

impl Refused {
    /// The message and what is wrong with each parameter, on one line.
    fn text(&self) -> String {
        let mut parts = Vec::new();
        let message = one_line(&self.message);
        if !message.is_empty() {
            parts.push(message);
        }
        parts.extend(self.errors.iter().map(|(key, text)| format!("`{key}`: {}", one_line(text))));
        if parts.is_empty() { format!("status {}", self.status) } else { parts.join(" ") }
    }

    fn during(&self, doing: &str) -> TargetError {
        let text = self.text();
        match self.status {
            401 => TargetError::rejected(
                doing,
                format_args!("the token was not accepted ({text}): check `token_id`, the credential, and whether the token expired"),
            ),
            403 => TargetError::rejected(doing, missing_right(&text)),
            // What AnyEvent::HTTP answers for a node that the one we ask cannot ask in turn.
            595 => self.unavailable(doing, format_args!("the node that is asked does not reach the guest's node (595 {text})")),
            596..=599 => self.unavailable(
                doing,
                format_args!("the node that is asked got no answer from the guest's node, or does not trust it ({} {text})", self.status),
            ),
            408 | 425 | 429 | 502..=504 => self.unavailable(doing, text),
            // No reason at all: something broke, nothing was decided.
            500 if self.message.trim().is_empty() || self.message == "Internal Server Error" => self.unavailable(doing, text),
            _ => by_text(doing, &text),
        }
    }

    fn unavailable(&self, doing: &str, why: impl std::fmt::Display) -> TargetError {
        TargetError::Unavailable {
            doing: doing.to_owned(),
            why: why.to_string(),
            retry_after: self.retry_after,
        }
    }
}

/// Names the privilege and the path of `Permission check failed (/vms/100, VM.Config.Disk)`.
fn missing_right(text: &str) -> String {
    let inside = text.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')).map(|(inside, _)| inside);
    match inside.and_then(|inside| inside.split_once(", ")) {
        Some((path, rights)) if path.starts_with('/') => {
            let rights: Vec<String> = rights.split('|').map(|right| format!("`{}`", right.trim())).collect();
            format!(
                "the token lacks {} on `{path}`: grant it to the token and to its user",
                rights.join(" or ")
            )
        }
        _ => format!("the token may not do this ({text})"),
    }
}

/// Errors come with line feeds within and at the end.
pub(crate) fn one_line(text: &str) -> String {
    let text: Vec<&str> = text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty()).collect();
    let text = text.join("; ");
    if text.chars().count() > 500 { text.chars().take(500).chain(['…']).collect() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, message: &str) -> Refused {
        Refused { status, message: message.to_owned(), ..Refused::default() }
    }

    fn during(status: u16, message: &str) -> TargetError {
        ApiError::Refused(refused(status, message)).during("starting vm 101")
    }

    #[test]
    fn a_missing_privilege_is_named_with_its_path() {
        let error = during(403, "Permission check failed (/vms/100, VM.Config.Disk)\n");
        assert_eq!(
            error.to_string(),
            "starting vm 101: the token lacks `VM.Config.Disk` on `/vms/100`: grant it to the token and to its user"
        );
        let error =
            during(403, "Permission check failed (/storage/x, Datastore.Audit|Datastore.AllocateSpace)");
        assert!(error.to_string().contains("`Datastore.Audit` or `Datastore.AllocateSpace` on `/storage/x`"));
        assert!(!during(403, "Permission check failed").is_unavailable());
        let of_a_task =
            by_text("configuring vm 101", "403 Permission check failed (/vms/101, VM.Config.CDROM)");
        assert!(of_a_task.to_string().contains("lacks `VM.Config.CDROM` on `/vms/101`"), "{of_a_task}");
    }

    #[test]
    fn what_passes_by_itself_is_unavailable_wherever_its_text_stands() {
        for text in [
            "can't lock file '/var/lock/qemu-server/lock-101.conf' - got timeout\n",
            "cfs-lock 'storage-x' error: got lock request timeout",
            "clone failed: cfs-lock 'storage-x' error: got lock request timeout",
            "checksum mismatch (file change by other user?)",
            "VM is locked (clone)",
            "cluster not ready - no quorum?",
            "Configuration file 'nodes/n1/qemu-server/100.conf' does not exist",
            "unable to create VM 101 - VM 101 already exists on node 'n1'",
            "unable to open file '/etc/pve/nodes/n1/qemu-server/101.conf.tmp' - File exists",
            "VM 101 is running - destroy failed",
            "VM 101 not running",
        ] {
            assert!(during(500, text).is_unavailable(), "{text}");
        }
        for text in ["storage 'x' does not exist", "only root can set 'args' config"] {
            assert!(!during(500, text).is_unavailable(), "{text}");
        }
        assert!(during(500, "").is_unavailable(), "without a reason nothing was decided");
        assert!(!during(501, "Method 'GET /bogus' not implemented").is_unavailable());
    }

    #[test]
    fn a_full_storage_says_what_to_do() {
        let text = "lvcreate: Insufficient free space: 8192 extents needed, but only 12 available";
        let error = by_text("cloning", text);
        assert!(!error.is_unavailable());
        assert!(
            error
                .to_string()
                .ends_with("free space on the storage, or declare a smaller disk or another storage")
        );
    }

    #[test]
    fn what_only_says_what_is_wrong_gets_a_way_out() {
        let error = by_text("cloning", "can't clone VM to node 'n2' (VM uses local storage)");
        assert!(!error.is_unavailable());
        assert!(error.to_string().contains("make the guest on the template's node"), "{error}");
    }

    #[test]
    fn a_nodes_trouble_with_a_node_is_never_called_our_own() {
        let error = during(596, "error:0A000086:SSL routines::certificate verify failed");
        assert!(error.is_unavailable());
        assert!(error.to_string().contains("the node that is asked"), "{error}");
        let own = ApiError::Untrusted("unknown issuer".to_owned()).during("listing the guests");
        assert!(!own.is_unavailable());
        assert!(own.to_string().contains("`ca`"), "{own}");
    }

    #[test]
    fn all_wrong_parameters_are_told_at_once() {
        let errors = [("cores", "type check ('integer') failed - got 'x'\n"), ("memory", "bad")];
        let refused = Refused {
            errors: errors.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect(),
            ..refused(400, "Parameter verification failed.\n")
        };
        assert_eq!(
            refused.text(),
            "Parameter verification failed. `cores`: type check ('integer') failed - got 'x' `memory`: bad"
        );
    }

    #[test]
    fn what_the_server_asks_us_to_wait_is_kept() {
        let busy = Refused { retry_after: Some(Duration::from_secs(7)), ..refused(503, "Busy") };
        let TargetError::Unavailable { retry_after, .. } = busy.during("x") else { panic!("unavailable") };
        assert_eq!(retry_after, Some(Duration::from_secs(7)));
    }
}
