//! The page of guarantees names tests, and each of them exists.

use std::collections::BTreeSet;
use std::fs;

use holdfast_tidy::{root, sources};

#[test]
fn every_guarantee_names_tests_that_exist() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (_, section) = page.split_once("\n## What it guarantees\n").expect("the page has the section");
    let section = section.split("\n## ").next().unwrap_or(section);
    let functions: BTreeSet<String> = ["reconciler", "tests"]
        .into_iter()
        .flat_map(sources)
        .flat_map(|source| {
            let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let names = source.text.split("fn ").skip(1);
            // Tests that a table makes: `name: "what it runs",`.
            let made = source.text.lines().filter(|line| line.contains(": \"") && line.ends_with("\","));
            names.map(word).chain(made.map(|line| word(line.trim_start()))).collect::<Vec<String>>()
        })
        .collect();
    let lines: Vec<&str> = section.lines().collect();
    let is_header = |at: usize| lines.get(at + 1).is_some_and(|next| next.starts_with("|---"));
    let rows = (0..lines.len())
        .filter(|at| !is_header(*at))
        .map(|at| lines[at])
        .filter(|line| line.starts_with("| "));
    let mut count = 0;
    let mut missing = Vec::new();
    for row in rows {
        let shown_by = row.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        let named: Vec<&str> = shown_by.split('`').skip(1).step_by(2).collect();
        if named.is_empty() {
            missing.push(format!("no test: {row}"));
        }
        count += named.len();
        missing.extend(named.into_iter().filter(|name| !functions.contains(*name)).map(str::to_owned));
    }
    assert!(count > 20, "{count} tests are named");
    assert!(missing.is_empty(), "tests that are named and not there:\n  {}", missing.join("\n  "));
}
