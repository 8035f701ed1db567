//! Only addresses of the public internet are public, whatever shell they come in; and a URL that is
//! taken leads where another reader of URLs sees it lead.

use crate::input::text;
use ipnet::IpNet;
use outbound::{AddressClass, GuardPolicy, Target, classify};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::LazyLock,
};
use url::Url;

/// Of the IANA registries for special purposes, what is not globally reachable, and the addresses of
/// clouds' metadata.
const NOT_PUBLIC: [&str; 33] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/3",
    "4000::/2",
    "8000::/2",
    "c000::/3",
    "e000::/4",
    "f000::/5",
    "f800::/6",
    "fc00::/7",
    "fe00::/9",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
    "100::/64",
];

/// Names that clouds give to them.
const METADATA: [&str; 3] = ["metadata", "metadata.google.internal", "instance-data.ec2.internal"];

static NETWORKS: LazyLock<Vec<IpNet>> =
    LazyLock::new(|| NOT_PUBLIC.iter().map(|text| text.parse().expect("a network")).collect());

fn is_public(address: IpAddr) -> bool {
    let is_listed = |address: IpAddr| NETWORKS.iter().any(|network| network.contains(&address));
    let IpAddr::V6(v6) = address else { return !is_listed(address) };
    let octets = v6.octets();
    let [.., a, b, c, d] = octets;
    let is_shell = octets.starts_with(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF])
        || octets.starts_with(&[0, 0x64, 0xFF, 0x9B, 0, 0, 0, 0, 0, 0, 0, 0]);
    if is_shell {
        return is_public(IpAddr::V4(Ipv4Addr::new(a, b, c, d)));
    }
    let is_isatap = matches!(octets[8..12], [0 | 2, 0, 0x5E, 0xFE]);
    !is_isatap && !is_listed(address)
}

pub(crate) fn holds(data: &[u8]) -> bool {
    if let Some(octets) = data.first_chunk::<4>() {
        judge(IpAddr::V4(Ipv4Addr::from(*octets)));
    }
    if let Some(octets) = data.first_chunk::<16>() {
        judge(IpAddr::V6(Ipv6Addr::from(*octets)));
    }
    let Some(text) = text(data) else { return false };
    if let Ok(address) = text.parse() {
        judge(address);
    }
    let policy = GuardPolicy::default();
    let Ok(target) = Target::parse(text, &policy) else { return text.parse::<IpAddr>().is_ok() };
    let again = Target::parse(target.base_url(), &policy);
    assert_eq!(again.as_ref(), Ok(&target), "it is another when written anew");
    let url = Url::parse(text).expect("another reader takes it too");
    let (host, port, address) = outbound::fuzzing::parts(&target);
    assert_eq!((url.scheme(), url.port_or_known_default()), ("https", Some(port)));
    assert!(url.username().is_empty() && url.password().is_none());
    assert!(url.query().is_none() && url.fragment().is_none());
    let theirs = url.host_str().expect("a host").trim_end_matches('.');
    assert_eq!(theirs.trim_start_matches('[').trim_end_matches(']'), host);
    if let Some(address) = address {
        assert!(is_public(address), "{address}");
    } else {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        assert!(host.bytes().all(is_name), "{host}");
        // What a resolver of C's would read as a number.
        let last = host.rsplit('.').next().unwrap_or_default();
        let digits = last.strip_prefix("0x").or(last.strip_prefix("0X"));
        let is_hex = digits.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert!(!is_hex && !last.bytes().all(|byte| byte.is_ascii_digit()), "{host}");
        assert!(!METADATA.contains(&host), "{host}");
    }
    true
}

fn judge(address: IpAddr) {
    let is_taken = classify(address) == AddressClass::Public;
    assert_eq!(is_taken, is_public(address), "{address}");
}
