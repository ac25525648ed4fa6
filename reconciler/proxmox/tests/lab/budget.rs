//! What looks cost, as the cluster counts it.

use std::time::Duration;

use holdfast_core::desired::Farewell;
use holdfast_core::kind::{Owner, Scope, Seen};
use holdfast_core::plan::{Action, decide};
use serde_json::{Value, json};

use crate::manifests::{small, whole, with};
use crate::world::{Lab, NAME, Rest};

fn spec(vmid: u32) -> Value {
    let address = format!("10.78.0.{}/24", vmid - 90);
    with(
        vmid,
        &json!({
            "disk": { "slot": "scsi0", "size": "10GiB" }, "network": { "bridge": "vmbr0", "vlan": 20 },
            "cloudInit": { "user": "ops", "address": address, "gateway": "10.78.0.1" },
            "agent": true, "tags": ["kubernetes"], "description": format!("number {vmid}"),
        }),
    )
}

#[tokio::test]
async fn forty_guests_cost_forty_three_reads_and_no_write() {
    let lab = Lab::start().await;
    let names: Vec<String> = (1..=40).map(|number| format!("n{number:02}")).collect();
    let wanted: Vec<(&str, Value)> = names.iter().map(String::as_str).zip((101..).map(spec)).collect();
    let all = wanted.iter().map(|(name, spec)| lab.converge(name, spec));
    for (_, rest) in futures_util::future::join_all(all).await {
        assert_eq!(rest, Rest::Settled);
    }
    assert_eq!(lab.guests(), (101..141).collect::<Vec<_>>());
    let failed: Vec<_> =
        lab.pve.world().tasks.into_iter().filter(|task| task.exit.as_deref() != Some("OK")).collect();
    assert_eq!(failed, [], "none was in another's way");
    lab.pve.pass_time(Duration::from_hours(1));
    lab.wire.reset();
    let look = lab.look(Scope::All, &wanted).await;
    assert_eq!((look.incomplete, look.notices), (None, Vec::<String>::new()));
    let requests = lab.wire.requests();
    assert_eq!(requests.len(), 43, "{requests:#?}");
    assert_eq!(lab.wire.writes(), []);
    for (name, seen) in &look.seen {
        let spec = wanted.iter().find(|(of, _)| *of == name.as_str()).map(|(_, spec)| spec);
        assert!(matches!(seen, Seen::Present { owner: Owner::Ours(_), .. }));
        assert_eq!(
            decide(&lab.kind.info(), &lab.id(name.as_str()), spec, seen, Farewell::AsKind),
            Action::Keep,
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_look_before_anything_is_there_costs_no_more() {
    let lab = Lab::start().await;
    let look = lab.look(Scope::All, &[("a", small(101)), ("b", small(102)), ("c", small(103))]).await;
    assert!(look.seen.values().all(|seen| *seen == Seen::Absent), "{look:?}");
    assert_eq!(lab.wire.requests().len(), 6);
}

#[tokio::test]
async fn a_look_at_one_costs_five_requests_and_three_where_it_is_not_there() {
    let lab = Lab::start().await;
    lab.converge(NAME, &whole()).await;
    lab.wire.reset();
    assert_eq!(lab.next(NAME, &whole()).await, Action::Keep);
    assert_eq!(lab.wire.requests().len(), 6, "one more for minutes after a start");
    lab.pve.pass_time(Duration::from_hours(1));
    lab.wire.reset();
    assert_eq!(lab.next(NAME, &whole()).await, Action::Keep);
    assert_eq!(lab.wire.requests().len(), 5);
    lab.wire.reset();
    assert!(matches!(lab.next("new", &small(102)).await, Action::Create(_)));
    assert_eq!(lab.wire.requests().len(), 3);
}
