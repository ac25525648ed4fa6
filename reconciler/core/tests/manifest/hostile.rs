//! Bytes from anyone: whatever they are, reading ends with an answer and rendering ends with a text.

use holdfast_core::manifest::Tree;
use proptest::prelude::*;

use crate::kinds::{machine, read_tree, tree};

/// Reads and renders. What is said is bounded, and safe to show.
fn survives(tree: &Tree) {
    if let Err(problems) = read_tree(tree) {
        let text = problems.render(tree);
        assert!(problems.headline().chars().count() <= 140, "{}", problems.headline());
        assert!(!problems.headline().chars().any(char::is_control));
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        assert!(text.len() < 2_000_000);
    }
}

fn valid() -> String {
    let files = "  files:\n    - path: /etc/a\n      content: { template: files/t, vars: { a: 1 } }\n    - { path: /etc/b, content: { file: files/f } }\n";
    let policy = "---\napiVersion: holdfast/v1\nkind: Policy\nmetadata: { name: p, dependsOn: [Machine/a] }\nspec: { text: { vault: kv/a, key: k } }\n";
    let app = "---\napiVersion: apps.example/v1\nkind: App\nmetadata: { name: x, annotations: { holdfast/depends-on: Policy/p } }\nspec: { project: default }\n";
    let environment = "---\napiVersion: holdfast/v1\nkind: Environment\nmetadata: { name: core }\nspec: { retire: [Machine/old] }\n";
    format!("{}{policy}{app}{environment}", machine("a", "  dependsOn: []\n", files))
}

fn repository(manifest: &[u8], template: &[u8], site: Option<&[u8]>) -> Tree {
    let mut tree = tree(&[]);
    tree.files.insert("environments/core/environment.yaml".to_owned(), manifest.to_vec());
    tree.files.insert("files/t".to_owned(), template.to_vec());
    tree.files.insert("files/f".to_owned(), b"text".to_vec());
    if let Some(site) = site {
        tree.files.insert("holdfast.yaml".to_owned(), site.to_vec());
    }
    tree
}

const TEMPLATE: &[u8] = b"a = {{ a }}\n{% if a %}\nsecret = {{ vault('kv/x', 'y') }}\n{% endif %}\n";

#[test]
fn what_is_mutated_below_is_valid() {
    if let Err(problems) = read_tree(&repository(valid().as_bytes(), TEMPLATE, None)) {
        panic!("{problems}");
    }
}

/// Bytes that are often trouble in YAML.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("{".to_owned()),
        Just("}".to_owned()),
        Just("[".to_owned()),
        Just("]".to_owned()),
        Just(": ".to_owned()),
        Just("- ".to_owned()),
        Just("\n".to_owned()),
        Just("\n---\n".to_owned()),
        Just("&a ".to_owned()),
        Just("*a".to_owned()),
        Just("!!str ".to_owned()),
        Just("? ".to_owned()),
        Just("|\n".to_owned()),
        Just(">-\n ".to_owned()),
        Just("\t".to_owned()),
        Just("\"".to_owned()),
        Just("'".to_owned()),
        Just("<<: ".to_owned()),
        Just("%YAML 1.2\n".to_owned()),
        Just("\u{feff}".to_owned()),
        Just("\u{202e}".to_owned()),
        Just("\u{0}".to_owned()),
        Just("\r\n".to_owned()),
        Just("ü".to_owned()),
        "[a-zA-Z0-9 ]{0,5}",
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        survives(&repository(&bytes, &bytes, None));
        survives(&repository(valid().as_bytes(), TEMPLATE, Some(&bytes)));
    }

    #[test]
    fn any_pieces_of_yaml(bytes in pieces()) {
        survives(&repository(&bytes, &bytes, Some(&bytes)));
    }

    #[test]
    fn a_valid_repository_with_a_part_changed(
        at in any::<proptest::sample::Index>(),
        length in 0_usize..12,
        change in pieces(),
        in_template in any::<bool>(),
    ) {
        let mut manifest = valid().into_bytes();
        let mut template = TEMPLATE.to_vec();
        let changed = if in_template { &mut template } else { &mut manifest };
        let start = at.index(changed.len());
        let end = (start + length).min(changed.len());
        changed.splice(start..end, change);
        survives(&repository(&manifest, &template, None));
    }

    #[test]
    fn any_text_as_a_name(name in "\\PC{0,80}") {
        let quoted = serde_json::to_string(&name).unwrap();
        let manifest = format!(
            "apiVersion: holdfast/v1\nkind: Machine\nmetadata:\n  name: {quoted}\n  dependsOn: [{quoted}, Machine/{quoted}]\nspec: {{ {quoted}: {quoted} }}\n"
        );
        survives(&repository(manifest.as_bytes(), TEMPLATE, None));
    }
}

#[test]
fn much_of_everything_is_bounded() {
    let unknown: Vec<String> = (0..9_000).map(|n| format!("  k{n}: 1\n")).collect();
    survives(&repository(machine("a", "", &unknown.concat()).as_bytes(), TEMPLATE, None));
    let many: Vec<String> = (0..6_000).map(|n| format!("Machine/x{n}")).collect();
    let needs = format!("  dependsOn: [{}]\n", many.join(", "));
    survives(&repository(machine("a", &needs, "").as_bytes(), TEMPLATE, None));
    for template in [
        "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}",
        "{% set ns = namespace(x='x') %}{% for a in range(64) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
        "{{ 'x' * 1000000000 }}",
    ] {
        let tree = repository(valid().as_bytes(), template.as_bytes(), None);
        let problems = read_tree(&tree).expect_err(template);
        assert_eq!(problems.count(), 1, "{}", problems.render(&tree));
    }
    for growing in [
        "{{ [[1]] * 100000000 }}",
        "{% set x = [1] %}{% set x = x + x %}{{ x }}",
        "{% for x in [[1], [2]] %}{{ x * 9 }}{% endfor %}",
        "{% set x = 'a' %}{% set x = [x, x] %}{% set x = [x, x] %}{{ x }}",
        "{% set loop = [1] %}{% set y = [loop.first, 1] %}{% set z = {1: y} %}{{ z }}",
        "{{ [1] | chain([2]) }}",
        "{% set x = namespace(a=1) %}",
        "{{ a | default([1]) * 3 }}",
        "{{ 'x' | int([1]) * 3 }}",
    ] {
        let tree = repository(valid().as_bytes(), growing.as_bytes(), None);
        let problems = read_tree(&tree).expect_err(growing);
        assert_eq!(problems.count(), 1, "{}", problems.render(&tree));
    }
    let deep = "{{ ".to_owned() + &"(".repeat(5_000) + &")".repeat(5_000) + " }}";
    survives(&repository(valid().as_bytes(), deep.as_bytes(), None));
}

#[test]
fn long_chains_in_templates_are_survived() {
    for (first, more, last) in [
        ("{{ a", " + a", " }}"),
        ("{{ a", " ~ a", " }}"),
        ("{{ a", ".b", " }}"),
        ("{{ a", "|upper", " }}"),
        ("{{ a", "[0]", " }}"),
        ("{{ a", " and a", " }}"),
        ("{{ a", " if a else a", " }}"),
        ("{{ ", "not ", "a }}"),
        ("{{ ", "-", "a }}"),
        ("{{ a", "(1)", " }}"),
        ("{{ a", " ** a", " }}"),
        ("{{ a", " is defined", " }}"),
        ("{% if a %}", "{% elif a %}", "{% endif %}"),
        ("", "{% if a %}", ""),
        ("", "{% set a = [a, a] %}", ""),
        ("{{ ", "[", "}}"),
    ] {
        let template = format!("{first}{}{last}", more.repeat(100_000));
        survives(&repository(valid().as_bytes(), template.as_bytes(), None));
    }
}

#[test]
fn one_large_file_used_often_is_refused() {
    let uses: Vec<String> =
        (0..40).map(|n| format!("    - {{ path: /f{n}, content: {{ file: files/big }} }}\n")).collect();
    let mut tree =
        tree(&[("environments/core/a.yaml", &machine("a", "", &format!("  files:\n{}", uses.concat())))]);
    tree.files.insert("files/big".to_owned(), vec![b'x'; 1 << 20]);
    assert_eq!(read_tree(&tree).unwrap_err().count(), 8);
}
