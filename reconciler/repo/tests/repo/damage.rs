//! A mirror that breaks is replaced, and forgets nothing that was kept.

use std::path::Path;

use crate::support::{Upstream, core};

fn packs(mirror: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(mirror.join("objects/pack")).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pack"))
        .collect()
}

#[tokio::test]
async fn a_mirror_whose_objects_are_gone_is_cloned_anew() {
    let upstream = Upstream::new();
    let head = upstream.commit(&[("holdfast.yaml", "a")]);
    let mirror = upstream.mirror();
    mirror.fetch().await.unwrap();
    mirror.keep(&core(), &head).await.unwrap();
    for pack in packs(&upstream.mirrored()) {
        std::fs::remove_file(&pack).unwrap();
        std::fs::remove_file(pack.with_extension("idx")).unwrap();
    }
    assert!(mirror.tree(&head).await.unwrap_err().is_unavailable());
    assert_eq!(mirror.fetch().await, Ok(Some(head.clone())));
    assert_eq!(mirror.tree(&head).await.unwrap().files["holdfast.yaml"], b"a");
    assert_eq!(mirror.kept(&core()).await, Ok(Some(head)));
}

#[tokio::test]
async fn a_mirror_with_broken_bytes_is_cloned_anew() {
    let upstream = Upstream::new();
    let text = "a text that is long enough to be found in a pack ".repeat(50);
    let head = upstream.commit(&[("holdfast.yaml", &text)]);
    let mirror = upstream.mirror();
    mirror.fetch().await.unwrap();
    mirror.keep(&core(), &head).await.unwrap();
    for pack in packs(&upstream.mirrored()) {
        let mut bytes = std::fs::read(&pack).unwrap();
        let end = bytes.len() - 20;
        bytes[12..end].fill(0xa5);
        std::fs::remove_file(&pack).unwrap();
        std::fs::write(&pack, bytes).unwrap();
    }
    let error = mirror.tree(&head).await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    assert_eq!(mirror.fetch().await, Ok(Some(head.clone())));
    assert_eq!(mirror.tree(&head).await.unwrap().files["holdfast.yaml"], text.as_bytes());
    assert_eq!(mirror.kept(&core()).await, Ok(Some(head)));
}

#[tokio::test]
async fn a_mirror_that_cannot_be_opened_or_locked_is_cloned_anew() {
    for damage in ["HEAD", "refs/heads/main.lock"] {
        let upstream = Upstream::new();
        let first = upstream.commit(&[("holdfast.yaml", "a")]);
        let mirror = upstream.mirror();
        mirror.fetch().await.unwrap();
        mirror.keep(&core(), &first).await.unwrap();
        // A crash leaves half a file, or a lock that nobody will ever release.
        std::fs::write(upstream.mirrored().join(damage), "\0").unwrap();
        let second = upstream.commit(&[("holdfast.yaml", "b")]);
        assert_eq!(mirror.fetch().await, Ok(Some(second)), "{damage}");
        assert_eq!(mirror.kept(&core()).await, Ok(Some(first)), "{damage}");
    }
}

#[tokio::test]
async fn a_kept_commit_outlives_a_clone_even_when_no_branch_has_it() {
    let upstream = Upstream::new();
    let first = upstream.commit(&[("holdfast.yaml", "a")]);
    let second = upstream.commit(&[("environments/core/x.yaml", "x"), ("holdfast.yaml", "b")]);
    let mirror = upstream.mirror();
    mirror.fetch().await.unwrap();
    mirror.keep(&core(), &second).await.unwrap();
    upstream.git(&["reset", "-q", "--hard", first.as_str()]);
    mirror.fetch().await.unwrap();
    std::fs::write(upstream.mirrored().join("refs/heads/main.lock"), "").unwrap();
    let third = upstream.commit(&[("holdfast.yaml", "c")]);
    assert_eq!(mirror.fetch().await, Ok(Some(third)));
    assert_eq!(mirror.kept(&core()).await, Ok(Some(second.clone())));
    assert_eq!(mirror.tree(&second).await.unwrap().files["environments/core/x.yaml"], b"x");
    assert_eq!(mirror.descends(&first, &second).await, Ok(true));
}

#[tokio::test]
async fn many_packs_are_joined_by_a_fresh_clone() {
    let upstream = Upstream::new();
    let first = upstream.commit(&[("holdfast.yaml", "a")]);
    let mirror = upstream.mirror();
    mirror.fetch().await.unwrap();
    mirror.keep(&core(), &first).await.unwrap();
    let [pack] = packs(&upstream.mirrored()).try_into().unwrap();
    for n in 0..101 {
        let name = format!("pack-{n:040x}.pack");
        std::fs::copy(&pack, pack.with_file_name(&name)).unwrap();
        let index = pack.with_extension("idx");
        std::fs::copy(&index, index.with_file_name(name.replace(".pack", ".idx"))).unwrap();
    }
    assert_eq!(mirror.fetch().await, Ok(Some(first.clone())));
    assert_eq!(packs(&upstream.mirrored()).len(), 1);
    assert_eq!(mirror.kept(&core()).await, Ok(Some(first)));
}

#[tokio::test]
async fn a_crash_between_the_two_renames_of_a_swap_is_mended() {
    let upstream = Upstream::new();
    let head = upstream.commit(&[("holdfast.yaml", "a")]);
    let mirror = upstream.mirror();
    mirror.fetch().await.unwrap();
    mirror.keep(&core(), &head).await.unwrap();
    std::fs::rename(upstream.mirrored(), upstream.mirrored().with_file_name("mirror.old")).unwrap();
    std::fs::create_dir(upstream.mirrored().with_file_name("mirror.next")).unwrap();
    let again = upstream.mirror();
    assert_eq!(again.kept(&core()).await, Ok(Some(head)));
}

/// Copies an object into the mirror: git itself would not send these.
fn place(upstream: &Upstream, object: &str) {
    let path = |repository: &Path| repository.join("objects").join(&object[..2]).join(&object[2..]);
    let to = path(&upstream.mirrored());
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    std::fs::copy(path(&upstream.bare()), to).unwrap();
}

#[tokio::test]
async fn a_malformed_commit_is_refused_at_once() {
    let upstream = Upstream::new();
    let good = upstream.commit(&[("holdfast.yaml", "a")]);
    let mirror = upstream.mirror();
    mirror.fetch().await.unwrap();
    let garbage = upstream.object("commit", b"no commit at all");
    let bad_tree = upstream.object("tree", b"100644 no end");
    let text =
        format!("tree {bad_tree}\nauthor t <t@localhost> 0 +0000\ncommitter t <t@localhost> 0 +0000\n\nx\n");
    let with_bad_tree = upstream.object("commit", text.as_bytes());
    for object in [&garbage, &bad_tree, &with_bad_tree] {
        place(&upstream, object);
    }
    for commit in [garbage, with_bad_tree] {
        let commit = holdfast_core::ident::CommitId::new(commit).unwrap();
        let error = mirror.tree(&commit).await.unwrap_err();
        assert!(!error.is_unavailable(), "{error}");
        assert!(error.to_string().contains("malformed in the commit itself"), "{error}");
    }
    assert_eq!(mirror.tree(&good).await.unwrap().files.len(), 1, "others are still read");
}

#[tokio::test]
async fn a_commit_that_is_poison_even_in_a_fresh_clone_is_refused() {
    let upstream = Upstream::new();
    let good = upstream.commit(&[("holdfast.yaml", "a")]);
    let mirror = upstream.mirror();
    mirror.fetch().await.unwrap();
    // The mirror gets a commit whose tree nobody has.
    let text = format!(
        "tree {}\nauthor t <t@localhost> 0 +0000\ncommitter t <t@localhost> 0 +0000\n\npoison\n",
        "1".repeat(40)
    );
    let poison = upstream.object("commit", text.as_bytes());
    let place = |poison: &str| place(&upstream, poison);
    place(&poison);
    let commit = holdfast_core::ident::CommitId::new(poison.clone()).unwrap();
    assert!(mirror.tree(&commit).await.unwrap_err().is_unavailable());
    assert_eq!(mirror.fetch().await, Ok(Some(good.clone())));
    place(&poison);
    let error = mirror.tree(&commit).await.unwrap_err();
    assert!(!error.is_unavailable(), "{error}");
    assert!(error.to_string().contains("a fresh clone cannot be read either"), "{error}");
    assert_eq!(mirror.tree(&good).await.unwrap().files.len(), 1, "others are still read");
}
