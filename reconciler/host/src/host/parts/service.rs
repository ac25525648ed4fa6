//! Services: enabled and running, and restarted when what they read changed since they were last started.

use holdfast_core::kind::Refusal;
use holdfast_core::text::hex;
use sha2::{Digest as _, Sha256};

use crate::host::ledger::{Entry, Part};
use crate::host::names::{AbsolutePath, UnitName};
use crate::host::plan::Draft;
use crate::host::spec::{File, HostSpec, Service};
use crate::host::state::{HostState, Unit};
use crate::host::step::{Act, Inputs};

/// Where systemd reads unit files (systemd.unit(5)), without a slash at the end.
const UNIT_FOLDERS: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// Whether a path is one that systemd reads unit files from.
pub(crate) fn is_unit_path(path: &AbsolutePath) -> bool {
    UNIT_FOLDERS.iter().any(|folder| {
        path.as_str().strip_prefix(folder).is_some_and(|rest| rest.starts_with('/') && rest.len() > 1)
    })
}

/// Whether a file is a unit's own: the file that defines it, or one of its drop-ins.
pub(crate) fn is_unit_file(path: &AbsolutePath, unit: &UnitName) -> bool {
    let own = [unit.as_str().to_owned(), unit.file_name()];
    let named = |name: &str| UNIT_FOLDERS.contains(&path.parent()) && own.iter().any(|own| own == name);
    let dropped_in = || {
        let (folder, name) = path.parent().rsplit_once('/').unwrap_or_default();
        UNIT_FOLDERS.contains(&folder)
            && name.strip_suffix(".d").is_some_and(|name| own.iter().any(|own| own == name))
            && path.name().strip_suffix(".conf").is_some()
    };
    named(path.name()) || dropped_in()
}

pub(crate) fn plan(want: &HostSpec, seen: &HostState, draft: &mut Draft) {
    draft.reload |= draft.files.iter().chain(&draft.removed_files).any(|act| match act {
        Act::WriteFile { file, .. } => is_unit_path(&file.path),
        Act::RemoveFile { path, .. } => is_unit_path(path),
        _ => false,
    });
    for service in &want.services {
        match seen.services.get(&service.name) {
            None => draft.unseen.push(format!("`{}`", service.name)),
            Some(unit) => OneService::new(service, unit, want, seen, draft).plan(draft),
        }
    }
}

struct OneService<'a> {
    service: &'a Service,
    unit: &'a Unit,
    entry: Option<&'a Entry>,
    inputs: Inputs,
    /// The first of its inputs that this plan writes.
    written: Option<AbsolutePath>,
    /// The first of its inputs that is newer than its start.
    newer: Option<AbsolutePath>,
    /// Whether the manifest brings its unit file.
    has_file: bool,
    /// Whether there is no such unit yet, and something in this plan may bring it.
    is_coming: bool,
}

impl<'a> OneService<'a> {
    fn new(
        service: &'a Service,
        unit: &'a Unit,
        want: &HostSpec,
        seen: &'a HostState,
        draft: &Draft,
    ) -> Self {
        let name = &service.name;
        let files = files_of(service, want);
        let writes = |file: &&&File| {
            draft
                .files
                .iter()
                .any(|act| matches!(act, Act::WriteFile { file: written, .. } if written.path == file.path))
        };
        let is_newer = |file: &&&File| {
            let node = seen.paths.get(&file.path).and_then(Option::as_ref);
            node.zip(unit.since).is_some_and(|(node, since)| node.modified > since)
        };
        let path = |file: &&File| file.path.clone();
        let has_file = files
            .iter()
            .any(|file| is_unit_file(&file.path, name) && UNIT_FOLDERS.contains(&file.path.parent()));
        Self {
            service,
            unit,
            entry: seen.ledger.get(&Part::Service(name.clone())),
            written: files.iter().find(writes).map(path),
            newer: files.iter().find(is_newer).map(path),
            inputs: inputs(&files),
            has_file,
            is_coming: unit.load == "not-found" && (has_file || !draft.packages.is_empty()),
        }
    }

    fn plan(&self, draft: &mut Draft) {
        if let Some(refusal) = self.refusal() {
            draft.refusals.push(refusal);
            return;
        }
        // A run that died between a unit's file and the reload heals here.
        draft.reload |= self.unit.needs_reload || (self.is_coming && self.has_file);
        let up = self.up(draft);
        draft.services.extend(self.at_boot(up.is_some()));
        draft.services.extend(up);
    }

    fn refusal(&self) -> Option<Refusal> {
        let name = &self.service.name;
        let Service { enabled, running, name: _, restart_on: _ } = self.service;
        let masked = self.unit.load == "masked" || self.unit.file_state.starts_with("masked");
        if masked && (*enabled || *running) {
            return Some(Refusal::new(
                format!("`{name}` is masked on the host"),
                format!(
                    "run `systemctl unmask {name}` there, or write `enabled: false` and `running: false`"
                ),
            ));
        }
        if self.unit.load == "not-found" && !self.is_coming && (*enabled || *running) {
            return Some(Refusal::new(
                format!("there is no unit `{name}`, and nothing in the manifest brings it"),
                "add its package under `packages`, or its unit file under `files`",
            ));
        }
        if *enabled && self.unit.file_state == "static" && self.written.is_none() {
            return Some(Refusal::new(
                format!("`{name}` cannot be enabled, since its unit file has no [Install] section"),
                "write `enabled: false`: it is started by what needs it, or by `running: true`",
            ));
        }
        None
    }

    /// Whether it starts at boot is changed before it is started now.
    fn at_boot(&self, goes_up: bool) -> Option<Act> {
        let unit = self.service.name.clone();
        let is = self.unit.file_state.as_str();
        if !self.service.enabled {
            return matches!(is, "enabled" | "enabled-runtime" | "linked" | "linked-runtime")
                .then_some(Act::Disable { unit });
        }
        if matches!(is, "enabled" | "alias" | "indirect" | "generated" | "transient") && !self.is_coming {
            return None;
        }
        let entry =
            (self.entry.is_none() && !goes_up).then(|| Entry::service(Some(self.inputs.digest.clone())));
        Some(Act::Enable { unit, entry })
    }

    fn up(&self, draft: &mut Draft) -> Option<Act> {
        let unit = self.service.name.clone();
        let is_active = self.unit.is_active();
        if !self.service.running {
            let stop = is_active || self.unit.active == "activating";
            return stop.then_some(Act::Stop { unit });
        }
        let inputs = self.inputs.clone();
        let restart = |why: String| Some(Act::Restart { unit: unit.clone(), inputs: inputs.clone(), why });
        match (self.unit.active.as_str(), self.owed()) {
            _ if self.is_coming => Some(Act::Start { unit, inputs }),
            (_, Some(why)) if is_active || self.unit.active == "activating" => restart(why),
            _ if is_active => None,
            ("activating", None) if self.unit.keeps_dying() => {
                draft.waits.push(format!("`{unit}` to stay up: systemd restarts it again and again"));
                None
            }
            ("activating" | "deactivating", _) => {
                draft.waits.push(format!("`{unit}`, which is {}", self.unit.active));
                None
            }
            _ => Some(Act::Start { unit, inputs }),
        }
    }

    /// Why it must be restarted, if so. Derived from the host alone, so that no crash can lose it.
    fn owed(&self) -> Option<String> {
        if let Some(path) = &self.written {
            return Some(format!("{path} changes"));
        }
        match self.entry {
            Some(Entry { started_with: None, .. }) => Some("it is owed since an earlier run".to_owned()),
            Some(Entry { started_with: Some(digest), .. }) if *digest != self.inputs.digest => {
                Some("its files changed since it was started".to_owned())
            }
            Some(_) => None,
            // Nothing is known of its last start but its time.
            None => self.newer.as_ref().map(|path| format!("{path} is newer than its start")),
        }
    }
}

/// What the ledger shall say of a service that runs as wanted.
pub(crate) fn standing(service: &Service, want: &HostSpec) -> Entry {
    Entry::service(Some(inputs(&files_of(service, want)).digest))
}

/// The files that a unit reads.
fn files_of<'a>(service: &Service, want: &'a HostSpec) -> Vec<&'a File> {
    let reads =
        |file: &&File| service.restart_on.contains(&file.path) || is_unit_file(&file.path, &service.name);
    want.files.iter().filter(reads).collect()
}

/// What a unit reads: the paths and texts of its files, in a stable order.
fn inputs(files: &[&File]) -> Inputs {
    let mut lines: Vec<String> =
        files.iter().map(|file| format!("{}\0{}\n", file.path, file.content.digest())).collect();
    lines.sort();
    let mut secrets: Vec<_> = files.iter().flat_map(|file| file.content.secrets()).collect();
    secrets.sort();
    secrets.dedup();
    Inputs { digest: hex(&Sha256::digest(lines.concat())), secrets }
}
