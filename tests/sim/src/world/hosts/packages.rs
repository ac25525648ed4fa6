//! Packages: there or not, and the units that some bring along.

use super::machine::Computer;
use crate::model::Time;

/// Packages that bring a unit, which is enabled and started with them.
const DAEMONS: [(&str, &str); 5] = [
    ("chrony", "chrony.service"),
    ("haproxy", "haproxy.service"),
    ("nginx", "nginx.service"),
    ("openssh-server", "ssh.service"),
    ("prometheus-node-exporter", "prometheus-node-exporter.service"),
];

/// The text of a unit that a package brings.
pub(super) fn unit_of_package(computer: &Computer, unit: &str) -> Option<String> {
    let brings = DAEMONS.iter().find(|(package, own)| *own == unit && computer.is_installed(package))?;
    Some(format!("[Service]\nExecStart=/usr/sbin/{}\n[Install]\nWantedBy=multi-user.target\n", brings.0))
}

impl Computer {
    pub fn is_installed(&self, package: &str) -> bool {
        self.packages.get(package).is_some_and(|status| status.as_bytes().get(1) == Some(&b'i'))
    }

    /// All at once. What was left half configured is configured first.
    pub(super) fn install(&mut self, names: &[&str], now: Time) {
        let half: Vec<String> = self
            .packages
            .iter()
            .filter(|(_, status)| **status == "iF")
            .map(|(name, _)| name.clone())
            .collect();
        for name in half.iter().map(String::as_str).chain(names.iter().copied()) {
            self.packages.insert(name.to_owned(), "ii");
            if let Some((_, unit)) = DAEMONS.iter().find(|(package, _)| *package == name) {
                self.enable(unit);
                self.start(unit, now);
            }
        }
    }

    /// Somebody removes a package, and with it the unit that it brought.
    pub fn remove_package(&mut self, name: &str) {
        self.packages.remove(name);
        if let Some((_, unit)) = DAEMONS.iter().find(|(package, _)| *package == name) {
            self.units.remove(*unit);
        }
    }
}
