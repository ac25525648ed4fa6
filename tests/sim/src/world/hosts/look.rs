//! Looking: what the manifest and the ledger name, on every machine that is wanted.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::ident::Name;
use holdfast_core::kind::{Look, Owner, Seen, TargetError};
use holdfast_core::mark::{Mark, Realm};
use holdfast_host::ledger::Part;
use holdfast_host::names::AbsolutePath;
use holdfast_host::spec::Connection;
use holdfast_host::state::{Node as SeenNode, NodeType, Package};
use holdfast_host::{HostSpec, HostState};

use super::Hosts;
use super::machine::{Computer, Node, seconds};

pub(super) fn look(world: &Hosts, realm: &Realm, wanted: &BTreeMap<Name, HostSpec>) -> Look<HostState> {
    let mut look = Look { seen: BTreeMap::new(), incomplete: None, failed: None, notices: Vec::new() };
    for (name, spec) in wanted {
        let seen = match reach(world, "looking at the host", &spec.connection) {
            Err(error) => Seen::Unknown(error),
            Ok(computer) => {
                let mark = computer.ledger.as_ref().and_then(|ledger| Mark::parse(&ledger.mark));
                let owner = realm.owner(mark.as_ref(), &computer.machine_id);
                if let (Owner::Copied, Some(mark)) = (&owner, &mark) {
                    look.notices
                        .push(format!("`Host/{name}` carries the ledger of another machine (`{mark}`)"));
                }
                Seen::Present { state: state(computer, spec), owner }
            }
        };
        look.seen.insert(name.clone(), seen);
    }
    look
}

/// The machine behind an address, if it answers and is the one whose key is pinned.
pub(super) fn reach<'a>(
    world: &'a Hosts,
    doing: &str,
    connection: &Connection,
) -> Result<&'a Computer, TargetError> {
    let (Some(address), Some(pinned)) = (connection.address.value(), connection.host_key.value()) else {
        let why = "what its manifest refers to is not known yet";
        return Err(TargetError::unavailable(doing, why));
    };
    let (Some(offered), Some(computer)) = (world.offers(address), world.computer(address)) else {
        return Err(TargetError::unavailable(
            doing,
            format!("connecting to {address} took longer than 10 s"),
        ));
    };
    let key = |text: &str| text.split_whitespace().take(2).map(ToOwned::to_owned).collect::<Vec<_>>();
    if key(pinned) != key(offered) {
        return Err(TargetError::rejected(doing, format!("the host key of {address} changed")));
    }
    Ok(computer)
}

fn state(computer: &Computer, spec: &HostSpec) -> HostState {
    let mut files: BTreeSet<AbsolutePath> = spec.files.iter().map(|file| file.path.clone()).collect();
    let mut directories: BTreeSet<AbsolutePath> =
        spec.directories.iter().map(|directory| directory.path.clone()).collect();
    let mut units: BTreeSet<_> = spec.services.iter().map(|service| service.name.clone()).collect();
    let declared = directories.clone();
    // A ledger tells what is to be looked at, whosever it is.
    for (part, _) in computer.ledger.iter().flat_map(|ledger| &ledger.lines) {
        match part {
            Part::File(path) => drop(files.insert(path.clone())),
            Part::Directory(path) => drop(directories.insert(path.clone())),
            Part::Service(unit) => drop(units.insert(unit.clone())),
            Part::Package(_) => {}
        }
    }
    let paths = files.iter().chain(&directories).map(|path| {
        let counts = directories.contains(path) && !declared.contains(path);
        (path.clone(), computer.paths.get(path.as_str()).map(|node| seen(computer, path, node, counts)))
    });
    let package =
        |status: &&'static str| Package { status: (*status).to_owned(), version: "1.0-1".to_owned() };
    let own = computer
        .ledger
        .as_ref()
        .filter(|ledger| Mark::parse(&ledger.mark).is_some_and(|mark| mark.object == computer.machine_id));
    HostState {
        machine_id: computer.machine_id.clone(),
        hostname: "host".to_owned(),
        ledger_sha256: computer.ledger.as_ref().map(|ledger| ledger.sha256.clone()),
        ledger: own.map(|ledger| ledger.lines.iter().cloned().collect()).unwrap_or_default(),
        paths: paths.collect(),
        packages: spec
            .packages
            .iter()
            .map(|name| (name.clone(), computer.packages.get(name.as_str()).map(package)))
            .collect(),
        services: units.into_iter().map(|name| (name.clone(), computer.unit(name.as_str()))).collect(),
    }
}

fn seen(computer: &Computer, path: &AbsolutePath, node: &Node, counts: bool) -> SeenNode {
    let blank = SeenNode {
        kind: NodeType::Symlink,
        mode: holdfast_host::mode::Mode::from_bits(0o777),
        owner: "root".to_owned(),
        uid: 0,
        group: "root".to_owned(),
        gid: 0,
        size: 0,
        modified: 0,
        sha256: None,
        entries: None,
    };
    let number = |name: &str| u32::from(name != "root") * 1000;
    match node {
        Node::Link => blank,
        Node::File { text, sha256, mode, owner, group, modified, .. } => SeenNode {
            kind: NodeType::File,
            mode: *mode,
            uid: number(owner),
            owner: owner.clone(),
            gid: number(group),
            group: group.clone(),
            size: u64::try_from(text.len()).unwrap_or(u64::MAX),
            modified: seconds(*modified),
            sha256: Some(sha256.clone()),
            ..blank
        },
        Node::Directory { mode, owner, group, modified } => SeenNode {
            kind: NodeType::Directory,
            mode: *mode,
            uid: number(owner),
            owner: owner.clone(),
            gid: number(group),
            group: group.clone(),
            modified: seconds(*modified),
            entries: counts.then(|| u64::try_from(computer.entries(path.as_str())).unwrap_or(u64::MAX)),
            ..blank
        },
    }
}
