//! What the loader reads, refuses and where.

use serde_json::json;

use super::*;

fn read(text: &str) -> (Vec<Document>, Vec<String>) {
    let mut findings = Findings::default();
    let documents = load("a.yaml", text.as_bytes(), &mut Budget::default(), &mut findings);
    (documents, findings.into_sorted().into_iter().map(|found| found.title).collect())
}

fn refused(text: &str) -> String {
    let (documents, titles) = read(text);
    assert!(documents.iter().any(|document| document.broken), "{text}");
    titles.into_iter().next().expect("something is said")
}

#[test]
fn values_and_their_places_are_read() {
    let text = "a: 1\nlist:\n  - x: two\n    ü: 'no'\n";
    let (documents, titles) = read(text);
    assert_eq!(titles, Vec::<String>::new());
    assert_eq!(documents[0].value, json!({ "a": 1, "list": [{ "x": "two", "ü": "no" }] }));
    let node = documents[0].find("/list/0/ü").unwrap();
    assert_eq!((&text[node.value.clone()], &text[node.key.clone().unwrap()], node.line), ("'no'", "ü", 4));
    assert!(!node.plain);
    assert_eq!(&text[documents[0].value_span("/list/0")], "x");
}

#[test]
fn a_broken_document_hides_no_other() {
    let (documents, titles) = read("a: 1\n---\nb: [1\n---\nc: 3\n---\nd: &x 1\ne: *x\n");
    assert_eq!(titles.len(), 2, "{titles:?}");
    let broken: Vec<bool> = documents.iter().map(|document| document.broken).collect();
    assert_eq!(broken, [false, true, false, true]);
    assert_eq!(documents[2].value, json!({ "c": 3 }));
    assert_eq!(documents[3].value, json!({ "d": 1, "e": null }));
}

#[test]
fn what_is_not_allowed_is_refused() {
    assert_eq!(refused("a: 1\nb: 2\na: 3\n"), "`a` is written twice in the same object");
    assert_eq!(refused("a: &x [1]\nb: *x\n"), "aliases are not allowed");
    assert_eq!(refused("b: *nowhere\n"), "aliases are not allowed");
    assert_eq!(refused("a: {}\nb:\n  <<: {c: 1}\n"), "merge keys (`<<`) are not allowed");
    assert_eq!(refused("a: !!python/object:os.system x\n"), "YAML tags are not allowed");
    assert_eq!(refused("? [a]\n: 1\n"), "an object or a list cannot be a key");
    assert!(refused("a: \"x\n").starts_with("the file is not valid YAML: "));
}

#[test]
fn bombs_end_quickly() {
    let laughs: String = std::iter::once("a0: &a0 [x]\n".to_owned())
        .chain((1..10).map(|n| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 9].join(","))))
        .collect();
    assert_eq!(refused(&laughs), "aliases are not allowed");
    assert!(refused(&"[".repeat(100_000)).contains("32 deep"));
    assert!(refused(&"{a: ".repeat(60_000)).contains("32 deep"));
    assert!(refused(&"- ".repeat(100_000)).contains("32 deep"));
    assert!(refused(&"- 1\n".repeat(100_000)).contains("20000"));
    let keys: Vec<String> = (0..30_000).map(|n| format!("k{n}: 1")).collect();
    assert!(refused(&keys.join("\n")).contains("20000"));
    assert!(refused(&"---\n[\n".repeat(20_000)).contains("not valid YAML"));
    assert!(refused(&"--- 1\n".repeat(20_000)).contains("1000 documents"));
    assert!(refused(&format!("? {}\n: 1", "k".repeat(900_000))).contains("longer than"));
}

#[test]
fn the_budget_is_of_the_whole_commit() {
    let mut budget = Budget { nodes: 5 };
    let mut findings = Findings::default();
    load("a.yaml", b"[1, 2, 3]", &mut budget, &mut findings);
    assert_eq!(findings.errors(), 0);
    load("b.yaml", b"[1, 2, 3]", &mut budget, &mut findings);
    assert_eq!(findings.errors(), 1);
}

#[test]
fn bytes_that_are_not_text_are_said_to_be_so() {
    let mut findings = Findings::default();
    let documents = load("a.yaml", b"a: \xff\n", &mut Budget::default(), &mut findings);
    assert!(documents[0].broken);
    assert_eq!(findings.into_sorted()[0].span, Some(3..3));
}
