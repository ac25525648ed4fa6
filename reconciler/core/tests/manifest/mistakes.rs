//! Typical mistakes, and word for word what is said about them: `src/manifest/mistakes/*.yaml` beside `*.txt`.
//!
//! A case is a small repository: `#@ file: <path>` begins a file, `#@ bytes: <path>` one in hexadecimal,
//! `#@ refused: <path>: <why>` is an entry that was not read. Where no `holdfast.yaml` is given there is one
//! with the environment `core`, except after `#@ bare`. `UPDATE=1 cargo test -p holdfast-core mistakes`
//! writes the texts anew.

use std::path::{Path, PathBuf};

use holdfast_core::manifest::{Tree, render};

use crate::kinds::{SITE, read_tree};

fn parse(case: &str) -> Tree {
    let mut tree = Tree::default();
    let mut bare = false;
    let mut sections: Vec<(String, bool, String)> = Vec::new();
    for line in case.lines() {
        if let Some(path) = line.strip_prefix("#@ file: ") {
            sections.push((path.to_owned(), false, String::new()));
        } else if let Some(path) = line.strip_prefix("#@ bytes: ") {
            sections.push((path.to_owned(), true, String::new()));
        } else if let Some(entry) = line.strip_prefix("#@ refused: ") {
            let (path, why) = entry.split_once(": ").expect("`<path>: <why>`");
            tree.refused.insert(path.to_owned(), why.to_owned());
        } else if line == "#@ bare" {
            bare = true;
        } else if let Some((_, _, text)) = sections.last_mut() {
            text.push_str(line);
            text.push('\n');
        }
    }
    for (path, hexadecimal, text) in sections {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let value = |digit: u8| char::from(digit).to_digit(16).expect("only digits are left");
        let byte = |pair: &[u8]| u8::try_from(pair.iter().fold(0, |sum, digit| sum * 16 + value(*digit)));
        let bytes = if hexadecimal {
            digits.chunks(2).map(byte).collect::<Result<_, _>>().expect("two digits are a byte")
        } else {
            text.into_bytes()
        };
        tree.files.insert(path, bytes);
    }
    if !bare {
        let site = format!("{SITE}spec: {{ environments: [core] }}\n");
        tree.files.entry("holdfast.yaml".to_owned()).or_insert_with(|| site.into_bytes());
    }
    tree
}

fn said(tree: &Tree) -> String {
    match read_tree(tree) {
        Ok(manifest) => format!("no problem\n\n{}", render(&manifest.warnings, tree)),
        Err(problems) => format!("{}\n\n{}", problems.headline(), problems.render(tree)),
    }
}

#[test]
fn mistakes_are_told_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/manifest/mistakes");
    let mut cases: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    cases.sort();
    assert!(cases.len() >= 20, "only {} cases", cases.len());
    let update = std::env::var_os("UPDATE").is_some();
    let mut different = Vec::new();
    for case in cases {
        let said = said(&parse(&std::fs::read_to_string(&case).unwrap()));
        let golden = case.with_extension("txt");
        if update {
            std::fs::write(&golden, &said).unwrap();
        } else if std::fs::read_to_string(&golden).unwrap_or_default() != said {
            different.push(format!("{}\n\n{said}", golden.display()));
        }
    }
    assert!(different.is_empty(), "these say something else now\n\n{}", different.join("\n\n"));
}
