//! `holdfast validate`: a folder, checked as if it were a commit, without any connection.

use std::path::Path;

use holdfast_core::manifest::{self, Manifest, Tree, render};
use holdfast_core::report::count;

use super::{Verdict, print};
use crate::{directory, kinds};

pub(super) fn validate(folder: &Path) -> anyhow::Result<Verdict> {
    let tree = directory::read(folder)?;
    match manifest::read(&tree, &kinds::all(), &kinds::validators()) {
        Ok(manifest) => {
            print_warnings(&manifest, &tree)?;
            let environments = &manifest.site.environments;
            let resources: usize = environments
                .iter()
                .map(|(_, desired)| desired.resources.values().filter(|resource| !resource.borrowed).count())
                .sum();
            let environments = count(environments.len(), "environment");
            print(&format!("valid: {} in {environments}\n", count(resources, "resource")))?;
            Ok(Verdict::Good)
        }
        Err(problems) => {
            print(&problems.render(&tree))?;
            Ok(Verdict::Bad)
        }
    }
}

/// What somebody should know although nothing is wrong.
pub(super) fn print_warnings(manifest: &Manifest, tree: &Tree) -> anyhow::Result<()> {
    if manifest.warnings.is_empty() {
        Ok(())
    } else {
        print(&format!("{}\n", render(&manifest.warnings, tree)))
    }
}
