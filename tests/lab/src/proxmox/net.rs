//! Network devices, `netN`: read, given a MAC, printed as Proxmox prints them.

use super::props::{Prop, Props, Shape};
use std::fmt::Write as _;

/// Models that may stand for `model=`, with the MAC as their value.
const MODELS: &[&str] = &[
    "e1000",
    "e1000-82540em",
    "e1000-82544gc",
    "e1000-82545em",
    "e1000e",
    "i82551",
    "i82557b",
    "i82559er",
    "ne2k_isa",
    "ne2k_pci",
    "pcnet",
    "rtl8139",
    "virtio",
    "vmxnet3",
];

const SHAPE: Shape = Shape {
    default: Some("model"),
    required: &["model"],
    needs: &[],
    alias: &[],
    keys: &[
        ("model", Prop::OneOf(MODELS)),
        ("macaddr", Prop::Format(super::format::mac)),
        ("bridge", Prop::Format(bridge)),
        ("queues", Prop::Int(0, 64)),
        ("rate", Prop::Number),
        ("tag", Prop::Int(1, 4094)),
        ("trunks", Prop::Text),
        ("firewall", Prop::Bool),
        ("link_down", Prop::Bool),
        ("mtu", Prop::Int(1, 65520)),
    ],
};

fn bridge(text: &str) -> Result<(), String> {
    let sign = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let fits = text.len() <= 15 && !text.is_empty() && text.bytes().all(sign);
    if fits { Ok(()) } else { Err(format!("invalid bridge ID '{text}'")) }
}

/// Reads a network device that stands under `key`.
pub(super) fn parse(key: &str, text: &str) -> Result<Props, String> {
    let spelled: Vec<_> = text
        .split(',')
        .map(|part| match part.split_once('=') {
            Some((model, mac)) if MODELS.contains(&model) => format!("model={model},macaddr={mac}"),
            _ => part.to_owned(),
        })
        .collect();
    SHAPE.parse(key, &spelled.join(","))
}

/// `virtio=BC:24:11:00:00:01,bridge=vmbr0,tag=20`: the model with its MAC, the rest by name.
pub(super) fn print(net: &Props) -> String {
    let model = net.get("model").map_or("virtio", String::as_str);
    let mut text = match net.get("macaddr") {
        Some(mac) => format!("{model}={}", mac.to_ascii_uppercase()),
        None => model.to_owned(),
    };
    for (key, value) in net.iter().filter(|(key, _)| !matches!(key.as_str(), "model" | "macaddr")) {
        let _ = write!(text, ",{key}={value}");
    }
    text
}

pub(super) fn check(key: &str, text: &str) -> Result<(), String> {
    parse(key, text).map(drop)
}
