//! The resources that the simulated cluster serves, and the paths under which they stand.

use std::sync::LazyLock;

use super::application;
use super::schema::{Schema, any, object, required};
use super::status::{Answer, Failure};

/// One kind of object, as discovery shows it.
#[derive(Debug)]
pub(super) struct Resource {
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) plural: &'static str,
    pub(super) singular: &'static str,
    pub(super) kind: &'static str,
    pub(super) short: &'static [&'static str],
    pub(super) namespaced: bool,
    /// Whether `…/status` is a resource of its own. An Application has none: who may patch its spec may forge
    /// its status.
    pub(super) status: bool,
    pub(super) verbs: &'static [&'static str],
    /// What stands beside `apiVersion`, `kind` and `metadata`.
    pub(super) schema: Schema,
}

const CUSTOM: &[&str] = &["delete", "get", "list", "patch", "create", "update", "watch"];

pub(super) static TABLE: LazyLock<Vec<Resource>> = LazyLock::new(|| {
    let argo = |plural, singular, kind, short, status, schema| Resource {
        group: "argoproj.io",
        version: "v1alpha1",
        plural,
        singular,
        kind,
        short,
        namespaced: true,
        status,
        verbs: CUSTOM,
        schema,
    };
    let set = required(
        &["spec"],
        object([("spec", required(&["generators", "template"], open())), ("status", any())]),
    );
    let project = required(&["spec"], object([("spec", any()), ("status", any())]));
    vec![
        argo("applications", "application", "Application", &["app", "apps"], false, application::schema()),
        argo("applicationsets", "applicationset", "ApplicationSet", &["appset", "appsets"], true, set),
        argo("appprojects", "appproject", "AppProject", &["appproj", "appprojs"], false, project),
        Resource {
            group: "",
            version: "v1",
            plural: "namespaces",
            singular: "namespace",
            kind: "Namespace",
            short: &["ns"],
            namespaced: false,
            status: true,
            verbs: &["get", "list", "watch"],
            schema: object([("spec", any()), ("status", any())]),
        },
    ]
});

/// The fields of an `ApplicationSet` whose insides are not checked here.
fn open() -> Schema {
    let names = [
        "applyNestedSelectors",
        "generators",
        "goTemplate",
        "goTemplateOptions",
        "ignoreApplicationDifferences",
        "preservedFields",
        "strategy",
        "syncPolicy",
        "template",
        "templatePatch",
    ];
    object(names.map(|name| (name, any())))
}

impl Resource {
    /// `applications.argoproj.io`, or `namespaces` in the core group.
    pub(super) fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    pub(super) fn list_kind(&self) -> String {
        format!("{}List", self.kind)
    }

    pub(super) fn named(plural: &str) -> Option<&'static Self> {
        TABLE.iter().find(|resource| resource.plural == plural)
    }
}

/// What a path names: a collection, an object, or a part of an object.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) resource: &'static Resource,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) subresource: Option<String>,
}

impl Target {
    /// Reads `/api/v1/…` and `/apis/<group>/<version>/…`.
    pub(super) fn parse(path: &str) -> Answer<Self> {
        let parts: Vec<String> = path
            .trim_matches('/')
            .split('/')
            .map(|part| percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned())
            .collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return Err(Failure::no_such_path()),
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, plural, rest @ ..] if !group.is_empty() || !rest.is_empty() => {
                (Some((*namespace).to_owned()), [&[*plural], rest].concat())
            }
            rest => (None, rest.to_vec()),
        };
        let (plural, rest) = rest.split_first().ok_or_else(Failure::no_such_path)?;
        let resource = TABLE
            .iter()
            .find(|known| known.plural == *plural && known.group == group && known.version == version)
            .filter(|known| known.namespaced || namespace.is_none())
            .ok_or_else(Failure::no_such_path)?;
        let (name, subresource) = match rest {
            [] => (None, None),
            [name] => (Some((*name).to_owned()), None),
            [name, sub] => (Some((*name).to_owned()), Some((*sub).to_owned())),
            _ => return Err(Failure::no_such_path()),
        };
        if name.is_some() && resource.namespaced && namespace.is_none() {
            return Err(Failure::no_such_path());
        }
        Ok(Self { resource, namespace, name, subresource })
    }
}
