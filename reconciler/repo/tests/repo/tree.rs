//! What is read of a commit, and what is not.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use holdfast_core::ident::CommitId;
use holdfast_core::kind::TargetError;
use holdfast_core::manifest::Tree;
use holdfast_core::manifest::tree::{MAX_FILE, MAX_FILES};

use crate::support::Upstream;

async fn read(upstream: &Upstream, commit: &CommitId) -> Result<Tree, TargetError> {
    let mirror = upstream.mirror();
    assert_eq!(mirror.fetch().await, Ok(Some(commit.clone())));
    mirror.tree(commit).await
}

#[tokio::test]
async fn only_what_can_matter_is_read() {
    let upstream = Upstream::new();
    let files = [
        ("holdfast.yaml", "site"),
        ("environments/core/a.yaml", "a"),
        ("environments/core/deep/b.yaml", "b"),
        ("modules/m.yaml", "m"),
        ("policies/p.hcl", "p"),
        ("files/motd", "hello"),
    ];
    upstream.commit(&[("README.md", "no"), ("scripts/x.sh", "no"), (".github/workflows/w.yaml", "no")]);
    let head = upstream.commit(&files);
    let tree = read(&upstream, &head).await.unwrap();
    let expected: BTreeMap<String, Vec<u8>> =
        files.iter().map(|(path, content)| ((*path).to_owned(), content.as_bytes().to_vec())).collect();
    assert_eq!(tree, Tree { files: expected, refused: BTreeMap::new() });
}

#[tokio::test]
async fn links_submodules_and_large_files_are_noted_and_not_read() {
    let upstream = Upstream::new();
    let inner = upstream.commit(&[("environments/core/a.yaml", "a")]);
    std::os::unix::fs::symlink("/etc/passwd", upstream.file("environments/core/link.yaml")).unwrap();
    std::os::unix::fs::symlink("/etc", upstream.file("modules")).unwrap();
    std::fs::write(upstream.file("environments/core/big.yaml"), vec![b'x'; MAX_FILE + 1]).unwrap();
    std::fs::write(upstream.file("environments/core/full.yaml"), vec![b'x'; MAX_FILE]).unwrap();
    upstream.git(&["add", "-A"]);
    let module = format!("160000,{inner},environments/core/module");
    upstream.git(&["update-index", "--add", "--cacheinfo", &module]);
    upstream.git(&["commit", "-q", "-m", "odd things"]);
    let tree = read(&upstream, &upstream.head()).await.unwrap();
    let read: Vec<&str> = tree.files.keys().map(String::as_str).collect();
    assert_eq!(read, ["environments/core/a.yaml", "environments/core/full.yaml"]);
    let refused: Vec<(&str, &str)> =
        tree.refused.iter().map(|(path, why)| (path.as_str(), why.as_str())).collect();
    assert_eq!(
        refused,
        [
            ("environments/core/big.yaml", "it is larger than 1 MiB"),
            ("environments/core/link.yaml", "it is a symbolic link, and links are not followed"),
            ("environments/core/module", "it is a submodule, and submodules are not read"),
            ("modules", "it is a symbolic link, and links are not followed"),
        ]
    );
}

/// A raw tree: entries of mode, name and object id.
fn raw_tree(entries: &[(&str, &[u8], &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (mode, name, id) in entries {
        bytes.extend_from_slice(mode.as_bytes());
        bytes.push(b' ');
        bytes.extend_from_slice(name);
        bytes.push(0);
        for pair in id.as_bytes().chunks(2) {
            bytes.push(u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap());
        }
    }
    bytes
}

#[tokio::test]
async fn names_that_no_file_can_have_are_not_read() {
    let upstream = Upstream::new();
    let blob = upstream.object("blob", b"x");
    let files = upstream.object(
        "tree",
        &raw_tree(&[
            ("100644", b"..", &blob),
            ("100644", b".git", &blob),
            ("100644", b"a/../../b", &blob),
            ("100644", b"fine", &blob),
            ("100644", b"\xff\xfe", &blob),
        ]),
    );
    let root = upstream.object("tree", &raw_tree(&[("40000", b"files", &files)]));
    let commit = upstream.commit_tree(&root);
    let tree = read(&upstream, &commit).await.unwrap();
    assert_eq!(tree.files.keys().collect::<Vec<_>>(), ["files/fine"]);
    assert_eq!(tree.refused.len(), 4, "{:?}", tree.refused);
    assert_eq!(tree.refused["files/.."], "its name is no name of a file");
    assert_eq!(tree.refused["files/\u{fffd}\u{fffd}"], "its name is not UTF-8");
}

#[tokio::test]
async fn a_name_that_stands_twice_refuses_the_commit() {
    let upstream = Upstream::new();
    let (one, two) = (upstream.object("blob", b"1"), upstream.object("blob", b"2"));
    let files = upstream.object("tree", &raw_tree(&[("100644", b"a", &one), ("100644", b"a", &two)]));
    let root = upstream.object("tree", &raw_tree(&[("40000", b"files", &files)]));
    let commit = upstream.commit_tree(&root);
    let error = read(&upstream, &commit).await.unwrap_err();
    assert!(!error.is_unavailable());
    assert!(error.to_string().contains("`files/a` stands twice in the commit"), "{error}");
}

#[tokio::test]
async fn a_tree_that_repeats_itself_without_end_is_refused() {
    let upstream = Upstream::new();
    let blob = upstream.object("blob", b"x");
    let mut tree = upstream.object("tree", &raw_tree(&[("100644", b"x", &blob)]));
    for _ in 0..20 {
        let entries: [(&str, &[u8], &str); 4] =
            [("40000", b"a", &tree), ("40000", b"b", &tree), ("40000", b"c", &tree), ("40000", b"d", &tree)];
        tree = upstream.object("tree", &raw_tree(&entries));
    }
    let root = upstream.object("tree", &raw_tree(&[("40000", b"environments", &tree)]));
    let commit = upstream.commit_tree(&root);
    let error = read(&upstream, &commit).await.unwrap_err();
    assert!(!error.is_unavailable());
    assert!(error.to_string().contains("the commit is too large"), "{error}");
}

#[tokio::test]
async fn a_commit_over_the_budget_is_refused_as_a_whole() {
    let upstream = Upstream::new();
    for n in 0..9 {
        std::fs::create_dir_all(upstream.file("files")).unwrap();
        std::fs::write(upstream.file(&format!("files/{n}")), vec![n; MAX_FILE]).unwrap();
    }
    let head = upstream.commit_all();
    let error = read(&upstream, &head).await.unwrap_err();
    assert_eq!(
        error,
        TargetError::rejected(
            format!("reading commit {}", head.short()),
            "the commit is too large: at most 8 MiB are read below `environments/`, `files/`, `modules/`, \
             `policies/`; move what is not a manifest elsewhere"
        )
    );
}

#[tokio::test]
async fn too_many_files_are_refused() {
    let upstream = Upstream::new();
    let blob = upstream.object("blob", b"x");
    let mut listing = String::new();
    for n in 0..=MAX_FILES {
        writeln!(listing, "100644 blob {blob}\tenvironments/core/{n}.yaml").unwrap();
    }
    let path = upstream.folder.path().join("listing");
    std::fs::write(&path, listing).unwrap();
    let mut git = crate::support::command("git");
    git.arg("--git-dir").arg(upstream.bare()).args(["update-index", "--add", "--index-info"]);
    crate::support::run(git.stdin(std::fs::File::open(path).unwrap()));
    let tree = upstream.git(&["write-tree"]);
    let commit = upstream.commit_tree(&tree);
    let error = read(&upstream, &commit).await.unwrap_err();
    assert!(error.to_string().contains("at most 5000 files are read"), "{error}");
}
