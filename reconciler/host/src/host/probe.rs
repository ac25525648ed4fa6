//! The script that looks at a whole host in one go.

use std::fmt::Write as _;

use super::names::{AbsolutePath, PackageName, UnitName};
use super::script::{quote, words, wrap};
use super::spec::HostSpec;

/// Numbers from here on name lines of the ledger, smaller ones what the query names.
pub(super) const LEDGER_BASE: usize = 100_000;

/// What a look asks about. The answer tells paths and units by their number in here: directories first, then
/// files; units by themselves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Query {
    pub directories: Vec<AbsolutePath>,
    pub files: Vec<AbsolutePath>,
    pub packages: Vec<PackageName>,
    pub units: Vec<UnitName>,
}

impl Query {
    /// What a host's manifest names. What only its ledger names, the script finds there.
    pub(super) fn of(spec: &HostSpec) -> Self {
        Self {
            directories: spec.directories.iter().map(|directory| directory.path.clone()).collect(),
            files: spec.files.iter().map(|file| file.path.clone()).collect(),
            packages: spec.packages.clone(),
            units: spec.services.iter().map(|service| service.name.clone()).collect(),
        }
    }

    /// The path with a number.
    pub(super) fn path(&self, number: usize) -> Option<&AbsolutePath> {
        self.directories.iter().chain(&self.files).nth(number)
    }

    /// The script. It only reads, and ends with the number of paths that it answered for.
    pub(super) fn script(&self) -> String {
        let paths = |paths: &[AbsolutePath]| words(paths.iter().map(AbsolutePath::as_str));
        let (mut units, mut numbers, mut known) = (String::new(), String::new(), String::new());
        for (number, unit) in self.units.iter().enumerate() {
            let _ = write!(units, " {unit}");
            let _ = write!(numbers, " {number}");
            let _ = writeln!(known, "service {unit}");
        }
        let mut body = format!(
            "known='' count=0 entries=''\nstart\nledger\npaths directory 0 {}\npaths file {} {}\n\
             units={} unit_numbers={}\nknown=\"$known\"{}\nothers {LEDGER_BASE}\n",
            paths(&self.directories),
            self.directories.len(),
            paths(&self.files),
            quote(&units),
            quote(&numbers),
            quote(&known),
        );
        if !self.packages.is_empty() {
            let _ = writeln!(body, "packages {}", words(self.packages.iter().map(PackageName::as_str)));
        }
        body.push_str("services\nprintf 'end %s\\n' \"$count\"\n");
        wrap(include_str!("shell/look.sh"), &body)
    }
}
