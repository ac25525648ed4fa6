//! The kinds of all targets, as one table.

use holdfast_core::manifest::Validators;
use holdfast_core::plan::Kinds;

/// Every kind that a manifest may use. A new target is one line.
pub(crate) fn all() -> Kinds {
    [holdfast_proxmox::kinds(), holdfast_host::kinds(), holdfast_vault::kinds(), holdfast_argocd::kinds()]
        .into_iter()
        .flatten()
        .map(|kind| (kind.name.clone(), kind))
        .collect()
}

/// The schemas of all kinds, compiled once a process.
pub(crate) fn validators() -> Validators {
    Validators::new(&all())
}

#[cfg(test)]
mod tests {
    use holdfast_core::manifest::schema_files;

    /// The generated schemas are checked in; this says when they are stale.
    #[test]
    fn the_schemas_that_are_checked_in_are_current() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schema");
        let wanted = schema_files(&super::all());
        let mut stale = Vec::new();
        for (name, text) in &wanted {
            if std::fs::read_to_string(folder.join(name)).ok().as_ref() != Some(text) {
                stale.push(name.clone());
            }
        }
        for entry in std::fs::read_dir(&folder).unwrap() {
            let name = entry.unwrap().file_name().to_string_lossy().into_owned();
            if name != ".gitkeep" && !wanted.contains_key(&name) {
                stale.push(name);
            }
        }
        assert!(
            stale.is_empty(),
            "stale: {}; run `cargo run --bin holdfast -- schema --write schema`",
            stale.join(", ")
        );
    }
}
