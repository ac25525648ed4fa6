//! Rules about the code itself. Each says what it protects, and names every place that breaks it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use holdfast_tidy::{Source, dependencies, root, sources};

fn all() -> Vec<Source> {
    ["reconciler", "tests"].into_iter().flat_map(sources).collect()
}

fn assert_none(rule: &str, found: &[String]) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

#[test]
fn the_top_level_is_the_house() {
    let house = [
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "deploy",
        "example-repo",
        "reconciler",
        "rustfmt.toml",
        "schema",
        "target",
        "tests",
    ];
    let found: Vec<String> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && !house.contains(&name.as_str()))
        .collect();
    assert_none("nothing joins the top level", &found);
}

#[test]
fn the_core_is_pure() {
    // What does I/O, keeps time or runs tasks cannot be reached, because it is no dependency.
    let impure = [
        "tokio",
        "tokio-util",
        "reqwest",
        "gix",
        "kube",
        "russh",
        "sqlx",
        "notify",
        "tracing",
        "rand",
        "jiff",
        "futures-util",
    ];
    let dependencies = dependencies("reconciler/core");
    let found: Vec<String> =
        dependencies.into_iter().filter(|name| impure.contains(&name.as_str())).collect();
    assert_none("holdfast-core depends on nothing impure", &found);
    // `cron` brings chrono with its clock, so what reads that is named too.
    let words = [
        "std::fs",
        "std::net",
        "std::process",
        "std::env",
        "std::thread",
        "SystemTime",
        "Instant",
        "Utc::now",
        "Local::now",
        ".upcoming",
    ];
    let mut found = Vec::new();
    for source in sources("reconciler/core/src") {
        for (line, text) in source.code() {
            if words.iter().any(|word| text.contains(word)) {
                found.push(format!("{}:{line}: {}", source.path, text.trim()));
            }
        }
    }
    assert_none("holdfast-core does no I/O and knows no clock", &found);
}

#[test]
fn imports_run_downward_only() {
    let core = ["holdfast-core"].as_slice();
    let everything = [
        "holdfast-core",
        "holdfast-engine",
        "holdfast-proxmox",
        "holdfast-host",
        "holdfast-vault",
        "holdfast-argocd",
        "holdfast-repo",
        "holdfast-forge",
    ]
    .as_slice();
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("core", [].as_slice()),
        ("engine", core),
        ("proxmox", core),
        ("host", core),
        ("vault", core),
        ("argocd", core),
        ("repo", core),
        ("forge", core),
        ("service", everything),
    ]);
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join("reconciler")).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_dir() {
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let Some(allowed) = allowed.get(name.as_str()) else {
            found.push(format!("reconciler/{name} is no crate of the house"));
            continue;
        };
        for dependency in dependencies(&format!("reconciler/{name}")) {
            if dependency.starts_with("holdfast") && !allowed.contains(&dependency.as_str()) {
                found.push(format!("reconciler/{name} imports {dependency}"));
            }
        }
    }
    assert_none("service -> {engine, repo, forge, targets} -> core", &found);
    let lab = dependencies("tests/lab");
    let clients: Vec<String> = lab.into_iter().filter(|name| everything.contains(&name.as_str())).collect();
    assert_none("the simulators share no code with the clients", &clients);
}

#[test]
fn core_and_engine_name_no_target() {
    let words =
        ["proxmox", "virtualmachine", "argocd", "applicationset", "openbao", "gitea", "github", "k3s"];
    let mut found = Vec::new();
    for source in ["reconciler/core/src", "reconciler/engine/src"].into_iter().flat_map(sources) {
        for (line, text) in source.code() {
            let lower = text.to_lowercase();
            // An example in a message for people is no dependence.
            let example =
                lower.contains("such as `virtualmachine`") || lower.contains("\"virtualmachine\", findings");
            if words.iter().any(|word| lower.contains(word)) && !example && !source.path.contains("tests") {
                found.push(format!("{}:{line}: {}", source.path, text.trim()));
            }
        }
    }
    assert_none("core and engine know no target and no kind", &found);
}

#[test]
fn every_file_says_what_it_is() {
    let found: Vec<String> = all()
        .into_iter()
        .filter(|source| !source.text.trim_start().starts_with("//! "))
        .map(|source| source.path)
        .collect();
    assert_none("each file opens with one `//!` sentence", &found);
}

/// Files that may be longer than the rule, with the reason.
const LONG_FILES: &[(&str, &str)] = &[];

#[test]
fn files_stay_short() {
    let limit = 400;
    let excused: BTreeSet<&str> = LONG_FILES.iter().map(|(path, _)| *path).collect();
    let lengths: BTreeMap<String, usize> =
        all().into_iter().map(|source| (source.path.clone(), source.text.lines().count())).collect();
    let mut found: Vec<String> = lengths
        .iter()
        .filter(|(path, lines)| **lines > limit && !excused.contains(path.as_str()))
        .map(|(path, lines)| format!("{path}: {lines} lines"))
        .collect();
    found.extend(
        excused
            .iter()
            .filter(|path| lengths.get(**path).is_none_or(|lines| *lines <= limit))
            .map(|path| format!("{path} needs no excuse")),
    );
    assert_none("files are rarely over 330 lines, and never over 400", &found);
}

#[test]
fn functions_stay_short() {
    // Clippy counts; this makes sure that it is told to.
    for config in ["reconciler/clippy.toml", "tests/clippy.toml"] {
        let text = fs::read_to_string(root().join(config)).unwrap();
        assert!(text.contains("too-many-lines-threshold = 70"), "{config} allows longer functions");
    }
    let lint = ["clippy::too_many", "_lines"].concat();
    let found: Vec<String> =
        all().into_iter().filter(|source| source.text.contains(&lint)).map(|source| source.path).collect();
    assert_none("no function is excused from the limit of 70 lines", &found);
}

#[test]
fn nothing_is_left_for_later() {
    let words =
        ["todo!(", "unimplemented!(", "FIXME", "#[allow(", "#![allow(", "thread::sleep", "danger_accept"];
    let mut found = Vec::new();
    for source in all() {
        if source.path.starts_with("tests/tidy") {
            continue;
        }
        for (line, text) in source.code() {
            if words.iter().any(|word| text.contains(word)) && !source.path.contains("tests.rs") {
                found.push(format!("{}:{line}: {}", source.path, text.trim()));
            }
        }
    }
    assert_none("no stub, no blanket excuse, no blocking sleep", &found);
}

#[test]
fn every_kind_has_cases() {
    let mut found = Vec::new();
    for source in sources("reconciler") {
        if let Some(folder) = source.path.strip_suffix("/spec.rs")
            && !root().join(folder).join("cases").is_dir()
        {
            found.push(folder.to_owned());
        }
    }
    assert_none("a kind's folder holds cases/", &found);
}

/// The crates that are built, each with its versions, as `cargo tree` prints them.
fn built() -> BTreeMap<String, BTreeSet<String>> {
    let output = std::process::Command::new(env!("CARGO"))
        .args(["tree", "--workspace", "--edges", "normal", "--prefix", "none", "--locked", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let mut words = line.split_whitespace();
        if let (Some(name), Some(version)) = (words.next(), words.next()) {
            versions.entry(name.to_owned()).or_default().insert(version.to_owned());
        }
    }
    versions
}

#[test]
fn there_is_one_tls_and_no_openssl() {
    let built = built();
    let banned = ["openssl", "openssl-sys", "native-tls", "libgit2-sys", "curl-sys", "ring", "serde_yml"];
    let found: Vec<String> =
        banned.iter().filter(|name| built.contains_key(**name)).map(ToString::to_string).collect();
    assert_none("rustls with aws-lc is the only TLS", &found);
}

/// Crates that are built in several versions, and who keeps the older one.
const DUPLICATES: &[(&str, &str)] = &[
    ("base64", "sqlx-core keeps 0.22"),
    ("block-buffer", "part of the old sha2 of sqlx-core"),
    ("cpufeatures", "part of the old sha2 of sqlx-core"),
    ("crypto-common", "part of the old sha2 of sqlx-core"),
    ("digest", "part of the old sha2 of sqlx-core"),
    ("foldhash", "part of the old hashbrown of petgraph"),
    ("generic-array", "part of the old sha2 of sqlx-core"),
    ("getrandom", "ahash of jsonschema keeps 0.3"),
    ("hashbrown", "dashmap of gix, petgraph and clru of gix keep older ones"),
    ("num-bigint", "fraction of jsonschema keeps 0.4"),
    ("phf", "cron keeps 0.11"),
    ("phf_shared", "part of the old phf of cron"),
    ("rand", "part of the old phf of cron, at build time only"),
    ("rand_core", "part of the old phf of cron, at build time only"),
    ("sha2", "sqlx-core keeps 0.10"),
    ("syn", "derive macros, at build time only"),
    ("synstructure", "derive macros, at build time only"),
    ("thiserror", "rustify of vaultrs keeps 1"),
    ("thiserror-impl", "rustify of vaultrs keeps 1"),
    ("tower-http", "reqwest keeps 0.6"),
    ("winnow", "cron keeps 0.7"),
];

#[test]
fn duplicates_are_few_and_explained() {
    let explained: BTreeSet<&str> = DUPLICATES.iter().map(|(name, _)| *name).collect();
    let built = built();
    let twice = |name: &str| built.get(name).is_some_and(|versions| versions.len() > 1);
    let mut found: Vec<String> = built
        .iter()
        .filter(|(name, versions)| versions.len() > 1 && !explained.contains(name.as_str()))
        .map(|(name, versions)| format!("{name}: {versions:?}"))
        .collect();
    found.extend(
        explained.iter().filter(|name| !twice(name)).map(|name| format!("{name} is no duplicate any more")),
    );
    assert_none("every crate in two versions is explained here", &found);
}
