//! `holdfast validate`: a folder, checked as if it were a commit, without any connection.

use std::path::Path;

use holdfast_core::manifest;
use holdfast_core::report::count;

use super::{Verdict, print};
use crate::{directory, kinds};

pub(super) fn validate(folder: &Path) -> anyhow::Result<Verdict> {
    let tree = directory::read(folder)?;
    match manifest::read(&tree, &kinds::all(), &kinds::validators()) {
        Ok(manifest) => {
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
