//! Units: what systemd knows of them, and what becomes of them when they are started.

use holdfast_host::state::Unit;

use super::SLOW;
use super::machine::{Computer, seconds, sha256};
use super::packages::unit_of_package;
use crate::model::Time;

/// Where systemd reads unit files, the first one first.
const FOLDERS: [&str; 3] =
    ["/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system"];

/// A unit that systemd has had to do with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Service {
    pub enabled: bool,
    pub active: Active,
    /// The text that systemd has read. What is not read yet it reads when it is asked.
    loaded: Option<String>,
    /// Of all that it read when it was last started.
    started_with: Option<String>,
}

/// What a unit does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Active {
    #[default]
    Inactive,
    /// Until it says that it is ready.
    Activating {
        until: Time,
    },
    Running {
        since: Time,
    },
    Failed,
    /// It ends, and systemd starts it again and again.
    Dying,
}

impl Service {
    /// Neither failed nor on its way.
    pub(super) fn is_well(&self) -> bool {
        matches!(self.active, Active::Inactive | Active::Running { .. })
    }

    fn is_up(&self) -> bool {
        matches!(self.active, Active::Activating { .. } | Active::Running { .. } | Active::Dying)
    }
}

impl Computer {
    /// The text of a unit as it stands on the disk, with its drop-ins.
    pub(super) fn unit_text(&self, unit: &str) -> Option<String> {
        let generic = match (unit.split_once('@'), unit.rsplit_once('.')) {
            (Some((prefix, _)), Some((_, suffix))) => format!("{prefix}@.{suffix}"),
            _ => unit.to_owned(),
        };
        let paths = FOLDERS.iter().flat_map(|folder| [unit, &generic].map(|name| format!("{folder}/{name}")));
        let own = paths.into_iter().find_map(|path| self.text(&path).map(ToOwned::to_owned));
        let mut text = own.or_else(|| unit_of_package(self, unit))?;
        let folder = format!("{}/{unit}.d/", FOLDERS[0]);
        for path in self
            .paths
            .range(folder.clone()..)
            .map(|(path, _)| path)
            .take_while(|path| path.starts_with(&folder))
        {
            text.push_str(self.text(path).unwrap_or_default());
        }
        Some(text)
    }

    /// Everything that a unit with this text reads when it starts.
    fn reads(&self, text: &str) -> String {
        let words = text.split(|c: char| c.is_whitespace() || matches!(c, '=' | ',' | ':'));
        let paths = words.map(|word| word.trim_start_matches('-')).filter(|word| word.starts_with('/'));
        let mut all = text.to_owned();
        for text in paths.filter_map(|path| self.text(path)) {
            all.push_str(text);
        }
        all
    }

    /// Starts a unit, or starts it anew. What becomes of it is seen by looking.
    pub(super) fn start(&mut self, unit: &str, now: Time) {
        let Some(text) = self.text_in_force(unit) else { return };
        let reads = self.reads(&text);
        let fails = reads.contains("ExecStart=/nowhere") || reads.contains("broken");
        let service = self.units.entry(unit.to_owned()).or_default();
        service.active = match fails {
            true if text.contains("Restart=always") => Active::Dying,
            true => Active::Failed,
            false if text.contains("Type=notify") => Active::Activating { until: now + SLOW },
            false => Active::Running { since: now },
        };
        service.started_with = Some(sha256(&reads));
        service.loaded = Some(text);
    }

    /// What systemd goes by: what it has read, if it holds the unit in memory, else what is on the disk.
    fn text_in_force(&self, unit: &str) -> Option<String> {
        let held = self.units.get(unit).filter(|service| service.is_up() || service.active == Active::Failed);
        held.and_then(|service| service.loaded.clone()).or_else(|| self.unit_text(unit))
    }

    pub fn stop(&mut self, unit: &str) {
        if let Some(service) = self.units.get_mut(unit) {
            service.active = Active::Inactive;
            service.loaded = None;
        }
    }

    pub(super) fn enable(&mut self, unit: &str) {
        self.units.entry(unit.to_owned()).or_default().enabled = true;
    }

    pub fn disable(&mut self, unit: &str) {
        if let Some(service) = self.units.get_mut(unit) {
            service.enabled = false;
        }
    }

    /// systemd reads all unit files again.
    pub(super) fn reload(&mut self) {
        let names: Vec<String> = self.units.keys().cloned().collect();
        for name in names {
            let text = self.unit_text(&name);
            let gone = text.is_none();
            if let Some(service) = self.units.get_mut(&name) {
                if service.loaded.is_some() {
                    service.loaded = text;
                }
                if gone && !service.is_up() {
                    self.units.remove(&name);
                }
            }
        }
    }

    /// The machine goes up or down, if it does. What is enabled starts with it.
    pub(super) fn power(&mut self, up: Option<Time>) {
        if self.booted == up {
            return;
        }
        self.booted = up;
        for service in self.units.values_mut() {
            service.active = Active::Inactive;
            service.loaded = None;
        }
        if let Some(now) = up {
            let enabled: Vec<String> = self
                .units
                .iter()
                .filter(|(_, service)| service.enabled)
                .map(|(name, _)| name.clone())
                .collect();
            for name in enabled {
                self.start(&name, now);
            }
        }
        self.note();
    }

    pub(super) fn advance(&mut self, now: Time) {
        let mut moved = false;
        for service in self.units.values_mut() {
            if let Active::Activating { until } = service.active
                && until <= now
            {
                service.active = Active::Running { since: until };
                moved = true;
            }
        }
        if moved {
            self.note();
        }
    }

    /// A unit in a line: nothing of when, and starting is as good as running.
    pub(super) fn unit_is(&self, unit: &str) -> String {
        let Some(service) = self.units.get(unit) else { return String::new() };
        let active = match service.active {
            Active::Inactive => "inactive",
            Active::Activating { .. } | Active::Running { .. } => "up",
            Active::Failed | Active::Dying => "failed",
        };
        let text = self.unit_text(unit);
        let fresh = text.map(|text| sha256(&self.reads(&text))) == service.started_with;
        let runs = if service.is_up() && !fresh { ", outdated" } else { "" };
        format!("{active}{runs}, {}", if service.enabled { "enabled" } else { "disabled" })
    }

    /// A unit as `systemctl show` tells it.
    pub(super) fn unit(&self, unit: &str) -> Unit {
        let text = self.unit_text(unit);
        let service = self.units.get(unit).cloned().unwrap_or_default();
        let (active, sub) = match service.active {
            Active::Inactive => ("inactive", "dead"),
            Active::Activating { .. } => ("activating", "start"),
            Active::Running { .. } => ("active", "running"),
            Active::Failed => ("failed", "failed"),
            Active::Dying => ("activating", "auto-restart"),
        };
        let file_state = match &text {
            None => "",
            Some(text) if !text.contains("[Install]") => "static",
            Some(_) if service.enabled => "enabled",
            Some(_) => "disabled",
        };
        let load = if text.is_some() || service.loaded.is_some() { "loaded" } else { "not-found" };
        Unit {
            load: load.to_owned(),
            active: active.to_owned(),
            sub: sub.to_owned(),
            file_state: file_state.to_owned(),
            needs_reload: service.loaded.is_some() && service.loaded != text,
            since: match service.active {
                Active::Running { since } => Some(seconds(since)),
                _ => None,
            },
        }
    }
}
