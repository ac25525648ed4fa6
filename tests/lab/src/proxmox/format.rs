//! The named formats of parameter values that Proxmox checks, each with its own words.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

type Checked = Result<(), String>;

fn ensure(fits: bool, why: impl FnOnce() -> String) -> Checked {
    if fits { Ok(()) } else { Err(why()) }
}

/// A host name label: letters, digits and inner hyphens, at most 63.
fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    text.len() <= 63 && text.bytes().all(inner) && edge(text.bytes().next()) && edge(text.bytes().last())
}

pub(super) fn dns_name(text: &str) -> Checked {
    ensure(text.split('.').all(is_label), || "value does not look like a valid DNS name".into())
}

pub(super) fn node(text: &str) -> Checked {
    ensure(is_label(text), || "value does not look like a valid node name".into())
}

/// Storage, pool and configuration ids: a letter, then letters, digits and some signs.
fn is_id(text: &str, signs: &str) -> bool {
    let mut letters = text.chars();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && text.len() > 1
        && letters.all(|letter| letter.is_ascii_alphanumeric() || signs.contains(letter))
}

pub(super) fn storage(text: &str) -> Checked {
    ensure(is_id(text, "-_."), || format!("storage ID '{text}' contains illegal characters"))
}

pub(super) fn config_id(text: &str) -> Checked {
    ensure(is_id(text, "-_"), || format!("invalid configuration ID '{text}'"))
}

/// Lists are split at commas, semicolons and white space.
pub(super) fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ';', ' ', '\t', '\n', '\0']).filter(|item| !item.is_empty())
}

pub(super) fn config_ids(text: &str) -> Checked {
    items(text).try_for_each(config_id)
}

pub(super) fn pool(text: &str) -> Checked {
    let part = |part: &str| {
        let sign = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        !part.is_empty() && part.bytes().all(sign)
    };
    let fits = text.split('/').count() <= 3 && text.split('/').all(part);
    ensure(fits, || format!("pool name '{text}' contains invalid characters"))
}

pub(super) fn role(text: &str) -> Checked {
    let sign = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    ensure(!text.is_empty() && text.bytes().all(sign), || {
        format!("role name '{text}' contains invalid characters")
    })
}

pub(super) fn urlencoded(text: &str) -> Checked {
    let sign = |byte: u8| byte.is_ascii_alphanumeric() || b"-%_.!~*'()".contains(&byte);
    ensure(text.bytes().all(sign), || format!("invalid urlencoded string: {text}"))
}

/// One tag: a letter, digit or underscore, then also `-`, `+` and `.`.
pub(super) fn is_tag(text: &str) -> bool {
    let first = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut bytes = text.bytes();
    bytes.next().is_some_and(first) && bytes.all(|byte| first(byte) || b"-+.".contains(&byte))
}

pub(super) fn tags(text: &str) -> Checked {
    ensure(items(text).all(is_tag), || "invalid characters in tag".into())
}

/// Addresses and host names.
pub(super) fn addresses(text: &str) -> Checked {
    let fits = |item: &str| item.parse::<IpAddr>().is_ok() || item.split('.').all(is_label);
    match items(text).find(|item| !fits(item)) {
        Some(wrong) => Err(format!("value does not look like a valid address: {wrong}")),
        None => Ok(()),
    }
}

fn has_prefix(text: &str, most: u8, address: impl Fn(&str) -> bool) -> bool {
    let Some((host, prefix)) = text.split_once('/') else { return false };
    address(host) && prefix.parse::<u8>().is_ok_and(|prefix| prefix <= most)
}

pub(super) fn ipv4_config(text: &str) -> Checked {
    let fits = text == "dhcp" || has_prefix(text, 32, |host| host.parse::<Ipv4Addr>().is_ok());
    ensure(fits, || "value does not look like a valid ipv4 network configuration".into())
}

pub(super) fn ipv6_config(text: &str) -> Checked {
    let fits =
        matches!(text, "dhcp" | "auto") || has_prefix(text, 128, |host| host.parse::<Ipv6Addr>().is_ok());
    ensure(fits, || "value does not look like a valid ipv6 network configuration".into())
}

pub(super) fn ipv4(text: &str) -> Checked {
    ensure(text.parse::<Ipv4Addr>().is_ok(), || "value does not look like a valid IPv4 address".into())
}

pub(super) fn ipv6(text: &str) -> Checked {
    ensure(text.parse::<Ipv6Addr>().is_ok(), || "value does not look like a valid IPv6 address".into())
}

/// A MAC address of one receiver.
pub(super) fn mac(text: &str) -> Checked {
    let pairs: Vec<_> = text.split(':').collect();
    let is_pair = |pair: &&str| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
    let unicast =
        pairs.first().and_then(|pair| u8::from_str_radix(pair, 16).ok()).is_some_and(|it| it % 2 == 0);
    let fits = pairs.len() == 6 && pairs.iter().all(is_pair) && unicast;
    ensure(fits, || "value does not look like a valid unicast MAC address".into())
}

pub(super) fn disk_size(text: &str) -> Checked {
    ensure(super::size::parse(text).is_some(), || {
        format!("value does not look like a valid disk size: {text}")
    })
}

/// `STORAGE:name`.
pub(super) fn volume_id(text: &str) -> Checked {
    let fits = text.split_once(':').is_some_and(|(left, right)| storage(left).is_ok() && !right.is_empty());
    ensure(fits, || format!("unable to parse volume ID '{text}'"))
}

/// `network,disk,usb`, `0` or `1`.
pub(super) fn hotplug(text: &str) -> Checked {
    let known = ["network", "disk", "cpu", "memory", "usb", "cloudinit"];
    match text.split(',').find(|item| !known.contains(item)) {
        Some(wrong) if text != "0" && text != "1" => Err(format!("unknown hotplug feature '{wrong}'")),
        _ => Ok(()),
    }
}

/// `[[order=]N][,up=N][,down=N]`.
pub(super) fn startup(text: &str) -> Checked {
    let fits = text.split(',').all(|part| {
        let value = ["order=", "up=", "down="].iter().find_map(|key| part.strip_prefix(key)).unwrap_or(part);
        !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit())
    });
    ensure(fits, || "unable to parse startup options".into())
}
