//! What each step does on a machine, and what it finds there that it will not go on with.

use std::collections::BTreeSet;

use holdfast_host::ledger::{Origin, Part};
use holdfast_host::mode::Mode;
use holdfast_host::names::{Account, PackageName};
use holdfast_host::step::Act;

use super::machine::{Computer, Node, parent, sha256};
use super::script::Ready;
use super::units::Active;
use crate::model::Time;

/// Why a step did not work.
pub(super) enum Fault {
    /// It is not as it was seen.
    Changed(String),
    Passing(String),
    Failed(String),
}

/// Who works on a machine, as one script does.
pub(super) struct Hand<'a> {
    pub(super) computer: &'a mut Computer,
    pub(super) now: Time,
    pub(super) unknown: BTreeSet<String>,
    pub(super) apt_is_locked: bool,
    /// A package came in this very script, so that what it brought is no surprise.
    pub(super) installed: bool,
}

impl Hand<'_> {
    /// Does a step. Tells where a part came from that was to be made.
    pub(super) fn perform(&mut self, ready: &Ready<'_>) -> Result<Origin, Fault> {
        match ready.act {
            Act::InstallPackages { packages } => {
                let names: Vec<&str> = packages.iter().map(PackageName::as_str).collect();
                self.install(&names)?;
            }
            Act::MakeDirectory { directory, entry: _ } => {
                return self.make_directory(
                    directory.path.as_str(),
                    (directory.mode, &directory.owner, &directory.group),
                );
            }
            Act::WriteFile { file, seen, entry: _ } => {
                return self.put(
                    file.path.as_str(),
                    (file.mode, &file.owner, &file.group),
                    seen.as_deref(),
                    ready,
                );
            }
            Act::SetMode { part, mode, owner, group, .. } => self.set_mode(part, (*mode, owner, group))?,
            Act::ReloadSystemd => self.computer.reload(),
            Act::Enable { unit, entry: _ } => {
                self.known(unit.as_str())?;
                // What has no [Install] section is left as it is, with a warning.
                if self.computer.unit_text(unit.as_str()).is_some_and(|text| text.contains("[Install]")) {
                    self.computer.enable(unit.as_str());
                }
            }
            Act::Disable { unit } => {
                self.known(unit.as_str())?;
                self.computer.disable(unit.as_str());
            }
            Act::Stop { unit } => {
                if !self.computer.units.contains_key(unit.as_str()) {
                    self.known(unit.as_str())?;
                }
                self.computer.stop(unit.as_str());
            }
            Act::Start { unit, .. } | Act::Restart { unit, .. } => self.up(unit.as_str())?,
            Act::RemoveFile { path, sha256, entry: _ } => {
                self.as_seen(path.as_str(), Some(sha256))?;
                self.computer.maybe_there.remove(path.as_str());
                self.computer.paths.remove(path.as_str());
            }
            Act::RemoveDirectory { path, entry: _ } => self.remove_directory(path.as_str())?,
            // The ledger is all that it is about.
            Act::Adopt { .. } => {}
            Act::Forget { entries } => {
                for (part, entry) in entries {
                    if let (Part::File(path), Origin::Intended) = (part, entry.origin) {
                        self.computer.maybe_there.remove(path.as_str());
                    }
                }
            }
        }
        Ok(Origin::Created)
    }

    /// What is left behind where the script dies in the middle of a step.
    pub(super) fn dies_in(&mut self, ready: &Ready<'_>) {
        match ready.act {
            Act::InstallPackages { packages } => {
                if let Some(first) = packages.first() {
                    self.computer.packages.insert(first.to_string(), "iF");
                }
            }
            Act::WriteFile { file, .. } if self.is_directory(file.path.parent()) => {
                self.computer.maybe_there.insert(file.path.to_string());
            }
            _ => {}
        }
    }

    /// What the script says beside that a step worked.
    pub(super) fn warning(&self, ready: &Ready<'_>) -> Option<String> {
        let (Act::Start { unit, .. } | Act::Restart { unit, .. }) = ready.act else { return None };
        let active = &self.computer.units.get(unit.as_str())?.active;
        matches!(active, Active::Activating { .. } | Active::Dying)
            .then(|| "it is still activating".to_owned())
    }

    fn install(&mut self, names: &[&str]) -> Result<(), Fault> {
        if self.apt_is_locked {
            return Err(Fault::Passing("E: Could not get lock /var/lib/dpkg/lock-frontend".to_owned()));
        }
        if let Some(name) = names.iter().find(|name| self.unknown.contains(**name)) {
            return Err(Fault::Failed(format!("E: Unable to locate package {name}")));
        }
        self.computer.install(names, self.now);
        self.installed = true;
        Ok(())
    }

    fn is_directory(&self, path: &str) -> bool {
        path == "/" || matches!(self.computer.paths.get(path), Some(Node::Directory { .. }))
    }

    fn make_directory(&mut self, path: &str, access: (Mode, &Account, &Account)) -> Result<Origin, Fault> {
        let origin = match self.computer.paths.get(path) {
            Some(Node::Directory { .. }) if self.installed => Origin::Existed,
            Some(_) => return Err(Fault::Changed("something is there since it was looked at".to_owned())),
            None if !self.is_directory(parent(path)) => {
                return Err(Fault::Failed(format!("`{}` does not exist", parent(path))));
            }
            None => Origin::Created,
        };
        let (mode, owner, group) = (access.0, access.1.to_string(), access.2.to_string());
        let node = Node::Directory { mode, owner, group, modified: self.now };
        self.computer.paths.insert(path.to_owned(), node);
        Ok(origin)
    }

    /// Whether a file still is as it was seen. What a package of this very run brought is no surprise.
    fn as_seen(&self, path: &str, seen: Option<&str>) -> Result<Origin, Fault> {
        match (self.computer.paths.get(path), seen) {
            (None, None) => Ok(Origin::Created),
            (None, Some(_)) => Err(Fault::Changed("it is gone since it was looked at".to_owned())),
            (Some(Node::File { .. }), _) if self.installed => Ok(Origin::Existed),
            (Some(Node::File { sha256, .. }), Some(seen)) if sha256 == seen => Ok(Origin::Existed),
            (Some(Node::File { .. }), _) => {
                Err(Fault::Changed("its content is not what it was when it was looked at".to_owned()))
            }
            (Some(_), _) => Err(Fault::Changed("it is not a regular file any more".to_owned())),
        }
    }

    /// Puts a text at a path, whole or not at all.
    fn put(
        &mut self,
        path: &str,
        access: (Mode, &Account, &Account),
        seen: Option<&str>,
        ready: &Ready<'_>,
    ) -> Result<Origin, Fault> {
        if !self.is_directory(parent(path)) {
            return Err(Fault::Failed(format!("the directory {} does not exist", parent(path))));
        }
        let origin = self.as_seen(path, seen)?;
        self.computer.maybe_there.remove(path);
        let foreign = match self.computer.paths.get(path) {
            Some(Node::File { foreign, .. }) => *foreign,
            _ => None,
        };
        let node = Node::File {
            text: ready.text.clone(),
            sha256: sha256(&ready.text),
            mode: access.0,
            owner: access.1.to_string(),
            group: access.2.to_string(),
            modified: self.now,
            foreign,
            secrets: ready.secrets.clone(),
        };
        self.computer.paths.insert(path.to_owned(), node);
        Ok(origin)
    }

    fn set_mode(&mut self, part: &Part, access: (Mode, &Account, &Account)) -> Result<(), Fault> {
        let path = match part {
            Part::File(path) | Part::Directory(path) => path.as_str(),
            Part::Package(_) | Part::Service(_) => return Ok(()),
        };
        let is_file = matches!(part, Part::File(_));
        match self.computer.paths.get_mut(path) {
            Some(Node::File { mode, owner, group, .. }) if is_file => {
                (*mode, *owner, *group) = (access.0, access.1.to_string(), access.2.to_string());
                Ok(())
            }
            Some(Node::Directory { mode, owner, group, .. }) if !is_file => {
                (*mode, *owner, *group) = (access.0, access.1.to_string(), access.2.to_string());
                Ok(())
            }
            _ => Err(Fault::Changed("it is not what it was when it was looked at".to_owned())),
        }
    }

    fn remove_directory(&mut self, path: &str) -> Result<(), Fault> {
        if self.computer.entries(path) > 0 {
            return Err(Fault::Changed("something is in it since it was looked at".to_owned()));
        }
        self.computer.paths.remove(path);
        Ok(())
    }

    fn known(&self, unit: &str) -> Result<(), Fault> {
        if self.computer.unit_text(unit).is_some() {
            return Ok(());
        }
        Err(Fault::Failed(format!("Unit {unit} does not exist")))
    }

    /// Starts a unit, or starts it anew where it runs already, and stays until it is up.
    fn up(&mut self, unit: &str) -> Result<(), Fault> {
        if !self.computer.units.contains_key(unit) {
            self.known(unit)?;
        }
        self.computer.start(unit, self.now);
        match self.computer.units.get(unit).map(|service| &service.active) {
            Some(Active::Failed | Active::Inactive) | None => {
                Err(Fault::Failed("it is failed: Main process exited".to_owned()))
            }
            Some(Active::Activating { .. } | Active::Running { .. } | Active::Dying) => Ok(()),
        }
    }
}
