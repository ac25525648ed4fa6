//! Three small kinds: a machine with every sort of field, a policy with a text, and an App of somebody else's API.

use std::collections::BTreeMap;
use std::fmt;

use holdfast_core::any_kind::KindInfo;
use holdfast_core::ident::{KindName, Name};
use holdfast_core::kind::{Change, Fence, Health, Kind, Look, Next, Risk, Scope, StepResult};
use holdfast_core::manifest::{Manifest, Problems, Tree, Validators, read};
use holdfast_core::plan::Kinds;
use holdfast_core::reference::{OrRef, Outputs};
use holdfast_core::secret::{SecretRef, Secrets};
use holdfast_core::text::Text;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct MachineSpec {
    /// How many cores it has.
    #[schemars(range(min = 1, max = 64))]
    pub(crate) cores: u32,
    pub(crate) memory: Size,
    pub(crate) node: String,
    pub(crate) disk: Option<Disk>,
    pub(crate) password: Option<SecretRef>,
    pub(crate) address: Option<OrRef<String>>,
    pub(crate) uplink: Option<Uplink>,
    #[serde(default)]
    pub(crate) on_boot: bool,
    pub(crate) version: Option<String>,
    #[serde(default)]
    pub(crate) tags: Vec<String>,
    #[serde(default)]
    pub(crate) files: Vec<File>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Disk {
    bus: Bus,
    size: Size,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Bus {
    /// The usual one.
    Scsi,
    Virtio,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Uplink {
    Bridge { name: String },
    Vlan { tag: u16, over: String },
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    /// An absolute path.
    #[schemars(regex(pattern = "^/"))]
    path: String,
    pub(crate) content: Text,
    mode: Option<String>,
}

/// An amount of memory, which only its type can check.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub(crate) struct Size(String);

impl TryFrom<String> for Size {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.strip_suffix("GiB").or_else(|| text.strip_suffix("MiB"));
        match digits.map(str::parse::<u32>) {
            Some(Ok(_)) => Ok(Self(text)),
            _ => Err(format!("`{text}` is no size such as `4GiB`")),
        }
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        size.0
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicySpec {
    text: Text,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct AppSpec {
    metadata: serde_json::Value,
    spec: AppOwnSpec,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
struct AppOwnSpec {
    project: String,
    #[serde(default)]
    source: serde_json::Value,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct NoStep;

impl fmt::Display for NoStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing")
    }
}

impl holdfast_core::kind::Step for NoStep {
    fn risk(&self) -> Risk {
        Risk::Quiet
    }
    fn secrets(&self) -> Vec<SecretRef> {
        Vec::new()
    }
    fn changes(&self) -> Vec<Change> {
        Vec::new()
    }
}

macro_rules! kind {
    ($type:ident, $name:literal, $api:expr, $spec:ty, $outputs:expr) => {
        pub(crate) struct $type;

        impl Kind for $type {
            const NAME: KindName = KindName::fixed($name);
            const API_VERSION: &'static str = $api;
            const OUTPUTS: &'static [&'static str] = $outputs;
            const TARGET: &'static str = "machines";
            type Spec = $spec;
            type State = ();
            type Step = NoStep;

            fn plan(_: &Name, _: Option<&$spec>, _: Option<&()>) -> Next<NoStep> {
                Next::Settled
            }
            fn health((): &()) -> Health {
                Health::Healthy
            }
            fn outputs((): &()) -> Outputs {
                Outputs::new()
            }
            fn protected((): &()) -> bool {
                true
            }
            async fn observe(&self, _: Scope, _: &BTreeMap<Name, $spec>) -> Look<()> {
                Look { seen: BTreeMap::new(), incomplete: None, failed: None, notices: Vec::new() }
            }
            async fn apply(&self, _: &Name, _: &[NoStep], _: &Secrets, _: &dyn Fence) -> Vec<StepResult> {
                Vec::new()
            }
        }
    };
}

kind!(Machine, "Machine", "holdfast/v1", MachineSpec, &["address", "hostKey"]);
kind!(Policy, "Policy", "holdfast/v1", PolicySpec, &[]);
kind!(App, "App", "apps.example/v1", AppSpec, &[]);

pub(crate) fn kinds() -> Kinds {
    [KindInfo::of::<Machine>(), KindInfo::of::<Policy>(), KindInfo::of::<App>()]
        .into_iter()
        .map(|kind| (kind.name.clone(), kind))
        .collect()
}

/// Compiled once, as a service does it.
pub(crate) fn validators() -> &'static Validators {
    static VALIDATORS: std::sync::OnceLock<Validators> = std::sync::OnceLock::new();
    VALIDATORS.get_or_init(|| Validators::new(&kinds()))
}

pub(crate) fn read_tree(tree: &Tree) -> Result<Manifest, Problems> {
    read(tree, &kinds(), validators())
}

pub(crate) const SITE: &str = "apiVersion: holdfast/v1\nkind: Site\nmetadata: { name: home }\n";

/// A repository with the environments `core` and, where it has files, `web`.
pub(crate) fn tree(files: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::default();
    for (path, text) in files {
        tree.files.insert((*path).to_owned(), text.as_bytes().to_vec());
    }
    let web = files.iter().any(|(path, _)| path.starts_with("environments/web/"));
    let environments = if web { "[core, web]" } else { "[core]" };
    let site = format!("{SITE}spec: {{ environments: {environments} }}\n");
    tree.files.entry("holdfast.yaml".to_owned()).or_insert_with(|| site.into_bytes());
    tree
}

/// A whole machine, with more fields of the spec and of the metadata as lines.
pub(crate) fn machine(name: &str, metadata: &str, spec: &str) -> String {
    format!(
        "apiVersion: holdfast/v1\nkind: Machine\nmetadata:\n  name: {name}\n{metadata}spec:\n  cores: 2\n  memory: 4GiB\n  node: pve1\n{spec}"
    )
}
