//! Configs, right and wrong, with every mistake told at once.

use holdfast_core::scrub::Scrubber;

use super::*;

fn credentials() -> (tempfile::TempDir, Credentials) {
    let folder = tempfile::tempdir().unwrap();
    for name in ["git-token", "forge-token", "pve-token", "vault-secret-id", "kube-token", "ssh-key"] {
        std::fs::write(folder.path().join(name), format!("{name}-value\n")).unwrap();
    }
    let credentials = Credentials::new(Some(folder.path()), Scrubber::default());
    (folder, credentials)
}

fn mistakes(text: &str) -> String {
    let (folder, credentials) = credentials();
    match parse(text, None, &credentials) {
        Ok(_) => "none".to_owned(),
        Err(mistakes) => mistakes
            .join("\n")
            .replace(&folder.path().to_string_lossy().into_owned(), "$CREDENTIALS_DIRECTORY"),
    }
}

#[test]
fn the_documented_config_is_read() {
    let (_folder, credentials) = credentials();
    let text = include_str!("../../../../deploy/holdfast.toml");
    let config = parse(text, None, &credentials).unwrap_or_else(|mistakes| panic!("{}", mistakes.join("\n")));
    assert_eq!(config.site.as_str(), "home");
    assert_eq!(config.limits.poll, Duration::from_mins(1));
    assert!(
        config.proxmox.is_some() && config.vault.is_some() && config.argocd.is_some() && config.ssh.is_some()
    );
}

#[test]
fn every_mistake_is_told_at_once() {
    insta::assert_snapshot!(mistakes(
        "site = \"My Home\"\nstat = \"/x\"\n[repository]\nurl = 7\npoll = \"60\"\n[proxmox]\nurl = \"https://pve:8006\"\n\
         credential = \"pve-tokn\"\n[forge]\nkind = \"bitbucket\"\n"
    ), @r#"
    `site` is `My Home`, which must consist of `a-z`, `0-9` and `-`, and start and end with a letter or digit
    `state` is missing; write a folder, for example `state = "/var/lib/holdfast"`
    `stat` is unknown; known here are `argocd`, `forge`, `limits`, `proxmox`, `repository`, `site`, `ssh`, `stamp_key_credential`, `state`, `vault`
    `repository.url` is a whole number, but a text is needed; put it in quotes
    `repository.poll` is `60`, but a length of time is needed, such as `60s`, `10m` or `1h`
    `forge.kind` is `bitbucket`; known are `gitea`, `forgejo` and `github`
    `forge.url` is missing; write for example `url = "https://git.lan"`
    `forge.repository` is missing; write for example `repository = "me/infra"`
    `forge.credential` is missing; write for example `credential = "forge-token"`
    `proxmox.token_id` is missing; write for example `token_id = "holdfast@pve!main"`
    `proxmox.credential` names `pve-tokn`, but $CREDENTIALS_DIRECTORY/pve-tokn cannot be read: No such file or directory (os error 2)
    "#);
}

#[test]
fn a_text_that_is_no_toml_says_where() {
    let text = mistakes("site = \"home\"\n[repository\n");
    assert!(text.contains("line 2"), "{text}");
}

#[test]
fn the_place_needs_no_credential() {
    let text = include_str!("../../../../deploy/holdfast.toml");
    let place = parse_place(text, Some(Path::new("/elsewhere"))).unwrap();
    assert_eq!(place, Place { state: PathBuf::from("/var/lib/holdfast"), has_forge: true });
    let place = parse_place("site = \"home\"\n", Some(Path::new("/elsewhere"))).unwrap();
    assert_eq!(place, Place { state: PathBuf::from("/elsewhere"), has_forge: false });
    assert_eq!(parse_place("", None), Err(NO_STATE.to_owned()));
}

#[test]
fn every_credential_is_learnt_when_it_is_read() {
    let (folder, _) = credentials();
    std::fs::write(
        folder.path().join("ssh-key"),
        "-----BEGIN X-----\nbGluZSBvbmU=\nbGluZSB0d28=\n-----END X-----\n",
    )
    .unwrap();
    let scrubber = Scrubber::default();
    let credentials = Credentials::new(Some(folder.path()), scrubber.clone());
    let text = include_str!("../../../../deploy/holdfast.toml");
    assert!(parse(text, None, &credentials).is_ok());
    let told = "forge-token-value pve-token-value vault-secret-id-value kube-token-value git-token-value bGluZSB0d28=";
    assert_eq!(scrubber.clean(told), ["[redacted]"; 6].join(" "));
}
