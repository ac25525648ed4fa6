//! What people write: the spec of an `Environment`. Its words are what an editor shows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An environment: what is decided for it as a whole. Stands in `environments/<name>/environment.yaml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvironmentSpec {
    /// What may be destroyed although it holds data: `Kind/name`. Nothing may declare it any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retire: Vec<String>,
    /// What is never destroyed, whatever its kind would allow: `Kind/name`. What holds data is protected without
    /// being listed; list here what else must outlive a slip. It stays when its manifest goes, until it is taken
    /// off this list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protect: Vec<String>,
    /// Renamed resources. What stands in the world under the old name is taken over under the new one, untouched but
    /// for its mark; without an entry a rename is one resource that goes and another that comes. An entry may stay for
    /// good.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moved: Vec<MovedSpec>,
    /// Resources of which only a few may be away at once: the servers of a cluster, two name servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupSpec>,
    /// When the world is compared with the repository although nothing was pushed, and what is done about drift.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "DriftSpec")]
    pub drift: Option<DriftSpec>,
    /// When disruptive changes (a reboot, a restart) may be made. Without it they may be made at any time. A
    /// change that disrupts nothing never waits for a window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "MaintenanceSpec")]
    pub maintenance: Option<MaintenanceSpec>,
}

/// One renamed resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MovedSpec {
    /// The old name: `Kind/name`. Nothing may declare it any more.
    pub from: String,
    /// The new name, of the same kind: `Kind/name`. A manifest must declare it, or another entry move it on.
    pub to: String,
}

/// Alike resources of which only a few may be away at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupSpec {
    /// The group's name, unique within the environment.
    pub name: String,
    /// Its members: `Kind/name`, all of this environment. A resource may be in several groups.
    #[schemars(length(min = 1))]
    pub members: Vec<String>,
    /// How many members may be unavailable at once, for whatever reason, before a change makes one more so. At
    /// least 1, and fewer than there are members.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub max_unavailable: u32,
    /// How many members may fail in one run before the others are left as they are.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub max_failures: u32,
}

fn one() -> u32 {
    1
}

/// When a converged environment is looked at again, and what is done about drift.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DriftSpec {
    /// A cron expression in the site's time zone: minute, hour, day of the month, month, weekday, such as
    /// `*/10 * * * *`, or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`. Where both days are restricted,
    /// either is enough. Without it the service's own interval counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub schedule: Option<String>,
    #[serde(default)]
    pub mode: DriftModeSpec,
}

/// What is done about drift.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DriftModeSpec {
    /// It is put right.
    #[default]
    Correct,
    /// It is told, and left as it is. A new commit is still converged to.
    Report,
}

/// When disruptive changes may be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MaintenanceSpec {
    /// When it opens: a cron expression in the site's time zone, such as `0 3 * * SUN`.
    pub opens: String,
    /// How long it stays open, such as `90m` or `2h`. A change that is under way when it
    /// closes is not broken off.
    pub lasts: String,
}
