//! Whose a guest is, by the marks in its notes, and which host key is its own: pure judgements of a look.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::ident::Name;
use holdfast_core::kind::Owner;
use holdfast_core::mark::{Mark, Realm};

use super::spec::Spec;
use super::state::{AgentAnswer, State};
use crate::names::{HostKey, Vmid};

/// The key that every sshd of the last ten years has, and the only kind that is pinned.
pub(super) const HOST_KEY_FILE: &str = "/etc/ssh/ssh_host_ed25519_key.pub";

/// Whose a guest is. Of several marks the one that names this very guest counts; a mark that was written with
/// the clone names the number alone, which no copy shares.
pub(super) fn whose(realm: &Realm, marks: &[Mark], vmid: Vmid, uuid: Option<&str>) -> (Owner, Option<Mark>) {
    let objects = [State::object(vmid, uuid), State::new_object(vmid)];
    let own = marks.iter().find(|mark| objects.contains(&mark.object));
    let mark = own.or(marks.first());
    let object = own.map_or(objects[0].as_str(), |mark| mark.object.as_str());
    (realm.owner(mark, object), mark.cloned())
}

pub(super) fn copied(vmid: Vmid) -> String {
    format!(
        "vm {vmid} carries a mark that was copied from another guest: remove the line `holdfast: …` from its notes"
    )
}

pub(super) fn host_key(content: &str) -> AgentAnswer {
    let words: Vec<&str> = content.split_whitespace().take(2).collect();
    match HostKey::new(words.join(" ")) {
        Ok(key) => AgentAnswer::Key(key),
        Err(_) => AgentAnswer::Silent(format!("`{HOST_KEY_FILE}` holds no ed25519 key")),
    }
}

/// Numbers that several names declare.
pub(super) fn declared_twice(wanted: &BTreeMap<Name, Spec>) -> BTreeMap<Vmid, String> {
    let mut names: BTreeMap<Vmid, BTreeSet<&Name>> = BTreeMap::new();
    for (name, spec) in wanted {
        names.entry(spec.vmid).or_default().insert(name);
    }
    let several = names.into_iter().filter(|(_, names)| names.len() > 1);
    several
        .map(|(vmid, names)| {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            (vmid, names.join(" and "))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use holdfast_core::ident::{EnvironmentName, SiteName};

    use super::*;

    fn realm() -> Realm {
        Realm { site: SiteName::new("home").unwrap(), environment: EnvironmentName::new("core").unwrap() }
    }

    fn owner(marks: &[&str], vmid: u32, uuid: Option<&str>) -> Owner {
        let marks: Vec<Mark> = marks.iter().map(|mark| Mark::parse(mark).unwrap()).collect();
        whose(&realm(), &marks, Vmid::new(vmid).unwrap(), uuid).0
    }

    #[test]
    fn a_mark_counts_on_the_very_guest_that_it_names() {
        let mark = "home/core/VirtualMachine/a@101/u1";
        assert!(matches!(owner(&[mark], 101, Some("u1")), Owner::Ours(_)));
        assert_eq!(owner(&[mark], 102, Some("u2")), Owner::Copied, "a clone");
        assert_eq!(owner(&[mark], 101, Some("u2")), Owner::Copied, "another guest with the same number");
        assert_eq!(owner(&[], 101, Some("u1")), Owner::Nobody);
        assert_eq!(
            owner(&["home/kubernetes/VirtualMachine/a@101/u1"], 101, Some("u1")),
            Owner::Other("home/kubernetes/VirtualMachine/a".to_owned())
        );
    }

    #[test]
    fn a_half_made_guest_is_ours_and_a_clone_of_it_is_not() {
        let mark = "home/core/VirtualMachine/a@101/new";
        assert!(matches!(owner(&[mark], 101, Some("u1")), Owner::Ours(_)));
        assert_eq!(owner(&[mark], 102, Some("u2")), Owner::Copied);
        let both = ["home/core/VirtualMachine/b@9000/u0", mark];
        assert!(matches!(owner(&both, 101, Some("u1")), Owner::Ours(id) if id.name.as_str() == "a"));
    }

    #[test]
    fn only_an_ed25519_key_is_pinned() {
        let line =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEp1c3RBbkV4YW1wbGVLZXlOb3RBUmVhbE9uZUF0QWxs root@kube01\n";
        assert!(matches!(host_key(line), AgentAnswer::Key(key) if !key.as_str().contains("root@")));
        assert!(matches!(host_key(""), AgentAnswer::Silent(_)));
        assert!(matches!(host_key("ssh-rsa AAAA x"), AgentAnswer::Silent(_)));
    }
}
