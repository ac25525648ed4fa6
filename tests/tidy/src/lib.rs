//! Reading the project's own files, for the rules in `tests/`.

use std::fs;
use std::path::{Path, PathBuf};

/// One Rust file of the project.
pub struct Source {
    /// From the project's root.
    pub path: String,
    pub text: String,
}

impl Source {
    /// The lines that are code: no comments, and nothing after the file's test module begins.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(at, line)| (at + 1, line));
        lines
            .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

/// The project's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every Rust file below a folder of the project.
///
/// # Panics
/// Where the project cannot be read.
pub fn sources(folder: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the project can be read") {
            let path = entry.expect("an entry can be read").path();
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "target") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source is UTF-8");
                let path =
                    path.strip_prefix(root()).expect("it lies in the project").to_string_lossy().into_owned();
                sources.push(Source { path, text });
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!sources.is_empty(), "{folder} holds no source");
    sources
}

/// The names of a crate's dependencies, without those of its tests.
///
/// # Panics
/// Where the manifest cannot be read.
pub fn dependencies(folder: &str) -> Vec<String> {
    let path = root().join(folder).join("Cargo.toml");
    let manifest: toml::Table =
        fs::read_to_string(path).expect("the manifest can be read").parse().expect("the manifest is TOML");
    let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table);
    dependencies.map(|table| table.keys().cloned().collect()).unwrap_or_default()
}
