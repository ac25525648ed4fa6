//! Commits that are wrong: each is told with its place, changes nothing, and harms no later commit.

use holdfast_lab::home::{Home, Options};

use super::hosts::prints;
use super::small;
use super::support::{Life, one_final_status};

/// A mistake, what its status says, and what the log adds as the way out.
struct Mistake {
    make: fn(&Home),
    status: &'static str,
    help: &'static str,
}

fn write(home: &Home, path: &str, text: impl AsRef<[u8]>) {
    home.repository.write(path, text).expect("a file is written");
}

fn edit(home: &Home, path: &str, from: &str, to: &str) {
    home.repository.edit(path, from, to).expect("a file is edited");
}

const MISTAKES: &[Mistake] = &[
    Mistake {
        make: |home| edit(home, small::CORE, "tags: [core]", "tags: [core"),
        status: "the file is not valid YAML: illegal placement of `:` indicator (environments/core/guests.yaml:23)",
        help: "or a `[` or `{` above is not closed",
    },
    Mistake {
        make: |home| edit(home, small::CORE, "cores: 2", "cores: two"),
        status: "`cores` is a string, but a whole number is needed (environments/core/guests.yaml:8)",
        help: "write a number, for example `cores: 2`",
    },
    Mistake {
        make: |home| edit(home, small::POLICY, "kind: VaultPolicy", "kind: VaultPolice"),
        status: "there is no kind `VaultPolice` (environments/core/policy.yaml:2)",
        help: "did you mean `VaultPolicy`?",
    },
    Mistake {
        make: |home| {
            edit(home, small::CORE, "{ name: proxy }", "{ name: proxy, dependsOn: [VirtualMachine/backup] }");
            edit(
                home,
                small::CORE,
                "{ name: backup }",
                "{ name: backup, dependsOn: [VirtualMachine/proxy] }",
            );
        },
        status: "a cycle of needs: `VirtualMachine/backup` -> `VirtualMachine/proxy` -> `VirtualMachine/backup` (environments/core/guests.yaml:27)",
        help: "remove one of these needs",
    },
    Mistake {
        make: |home| edit(home, small::APPLICATION, "core/Host/proxy", "core/Host/proxies"),
        status: "no manifest declares `core/Host/proxies` (environments/kubernetes/media.yaml:6)",
        help: "declare it in `environments/core/`, or leave it out",
    },
    Mistake {
        make: |home| edit(home, small::CORE, "vmid: 112", "vmid: 112\n  vmid: 113"),
        status: "`vmid` is written twice in the same object (environments/core/guests.yaml:30)",
        help: "keep one of them",
    },
    Mistake {
        make: |home| {
            let link = home.repository.work().join("environments/core/more.yaml");
            std::os::unix::fs::symlink("guests.yaml", link).expect("a link is made");
        },
        status: "`environments/core/more.yaml` cannot be read: it is a symbolic link, and links are not followed (environments/core/more.yaml)",
        help: "put a plain file of less than 1 MiB in its place",
    },
    Mistake {
        make: |home| write(home, "environments/core/huge.yaml", vec![b'#'; 2 << 20]),
        status: "`environments/core/huge.yaml` cannot be read: it is larger than 1 MiB (environments/core/huge.yaml)",
        help: "put a plain file of less than 1 MiB in its place",
    },
    Mistake {
        make: |home| {
            for n in 0..10 {
                write(home, &format!("files/{n}.txt"), vec![b'x'; 1 << 20]);
            }
        },
        status: "the commit is too large: at most 8 MiB are read below `environments/`, `files/`",
        help: "move what is not a manifest elsewhere",
    },
    Mistake {
        make: |home| edit(home, "holdfast.yaml", "name: home", "name: office"),
        status: "the repository is of site `office`, but site `home` is served (holdfast.yaml:3)",
        help: "let the service of `office` watch this repository",
    },
    Mistake {
        make: |home| home.repository.remove("holdfast.yaml").expect("it is removed"),
        status: "there is no `holdfast.yaml` at the root of the repository",
        help: "write a `holdfast.yaml` at the root of the repository",
    },
    Mistake {
        make: |home| edit(home, "holdfast.yaml", "[core, kubernetes]", "[core]"),
        status: "the folder `environments/kubernetes/` is not listed (holdfast.yaml:5)",
        help: "or remove the folder",
    },
    Mistake {
        make: |home| {
            write(
                home,
                "environments/core/environment.yaml",
                "apiVersion: holdfast/v1\nkind: Environment\nmetadata: { name: core }\nspec:\n  retire: [VirtualMachine/proxy]\n",
            );
        },
        status: "`VirtualMachine/proxy` is retired and declared (environments/core/environment.yaml:5)",
        help: "take it off `retire:` to keep it",
    },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mistake_is_told_with_its_place_and_changes_nothing() {
    let (mut life, good) = Life::begin(&Options::default(), small::write).await;
    life.all_green(&good, &small::ENVIRONMENTS).await;
    let (before, world) = (prints(&life.home), life.home.proxmox.world());
    life.home.reset();
    for mistake in MISTAKES {
        life.home.repository.restore(&good).expect("git restores");
        (mistake.make)(&life.home);
        let bad = life.push("a mistake");
        let post = life.red(&bad, "validate", &[mistake.status]).await;
        assert_eq!(post.state, "failure");
        assert!(post.description.chars().count() <= 140, "{}", post.description);
        life.logged(&["the commit is invalid", &bad[..7], mistake.help]).await;
        one_final_status(&life.home, &bad);
        assert_eq!(life.home.status(&bad, "core"), None, "an invalid commit reaches no environment");
    }
    life.home.repository.restore(&good).expect("git restores");
    let last = life.push("as it was");
    life.all_green(&last, &small::ENVIRONMENTS).await;
    assert_eq!(life.home.writes(), Vec::<String>::new());
    assert_eq!(prints(&life.home), before, "something was written on a host");
    assert_eq!(life.home.proxmox.world().history, world.history);
}
