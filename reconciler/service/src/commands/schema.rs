//! `holdfast schema`: the JSON Schemas of all kinds.

use std::path::Path;

use anyhow::Context as _;
use holdfast_core::manifest::schema_files;
use holdfast_core::scrub::Scrubber;

use super::{Verdict, print};
use crate::kinds;

pub(super) fn schema(folder: Option<&Path>, scrubber: &Scrubber) -> anyhow::Result<Verdict> {
    for (name, text) in schema_files(&kinds::all()) {
        match folder {
            Some(folder) => {
                let path = folder.join(&name);
                std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
            }
            None => print(scrubber, &text)?,
        }
    }
    Ok(Verdict::Good)
}
