//! `holdfast validate`: a folder, checked as if it were a commit, without any connection.

use std::path::Path;

use holdfast_core::manifest::{self, Manifest, Tree, render};
use holdfast_core::report::count;
use holdfast_core::scrub::Scrubber;

use super::{Verdict, print};
use crate::{directory, kinds};

pub(super) fn validate(folder: &Path, scrubber: &Scrubber) -> anyhow::Result<Verdict> {
    let tree = directory::read(folder)?;
    match manifest::read(&tree, &kinds::all(), &kinds::validators()) {
        Ok(manifest) => {
            print_warnings(&manifest, &tree, scrubber)?;
            let environments = &manifest.site.environments;
            let resources: usize = environments
                .iter()
                .map(|(_, desired)| desired.resources.values().filter(|resource| !resource.borrowed).count())
                .sum();
            let environments = count(environments.len(), "environment");
            print(scrubber, &format!("valid: {} in {environments}\n", count(resources, "resource")))?;
            Ok(Verdict::Good)
        }
        Err(problems) => {
            print(scrubber, &problems.render(&tree))?;
            Ok(Verdict::Bad)
        }
    }
}

/// What somebody should know although nothing is wrong.
pub(super) fn print_warnings(manifest: &Manifest, tree: &Tree, scrubber: &Scrubber) -> anyhow::Result<()> {
    if manifest.warnings.is_empty() {
        Ok(())
    } else {
        print(scrubber, &format!("{}\n", render(&manifest.warnings, tree)))
    }
}
