//! Hostile spellings are refused, honest ones are not.

use outbound::{
    AddressClass, Deadlines, FixedResolver, GuardPolicy, OutboundError, Pool, PoolConfig, Target,
    TlsConfig, classify,
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

const HOSTILE_V4: [[u8; 4]; 24] = [
    [127, 0, 0, 1],
    [127, 1, 2, 3],
    [0, 0, 0, 0],
    [0, 1, 2, 3],
    [10, 0, 0, 1],
    [10, 255, 255, 255],
    [172, 16, 0, 1],
    [172, 31, 255, 254],
    [192, 168, 0, 1],
    [192, 168, 255, 255],
    [169, 254, 169, 254],
    [169, 254, 0, 1],
    [169, 254, 170, 2],
    [100, 64, 0, 1],
    [100, 100, 100, 200],
    [100, 127, 255, 255],
    [192, 0, 0, 192],
    [192, 0, 2, 1],
    [198, 18, 0, 1],
    [198, 51, 100, 7],
    [203, 0, 113, 9],
    [224, 0, 0, 1],
    [240, 0, 0, 1],
    [255, 255, 255, 255],
];

const HOSTILE_V6: [&str; 24] = [
    "::",
    "::1",
    "fe80::1",
    "febf::1",
    "fec0::1",
    "fc00::1",
    "fd12:3456::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "ff02::1",
    "ff0e::1",
    "2001:db8::1",
    "3fff::1",
    "100::1",
    "2001::1",
    "2001:10::1",
    "2001:20::1",
    "5f00::1",
    "4000::1",
    "64:ff9b:1::1",
    "0:0:0:1::1",
    "8000::1",
    "fe00::1",
    "2001:1ff::1",
];

/// Ways to write an IPv4 address that something reads as one.
fn spellings(address: Ipv4Addr) -> Vec<String> {
    let [a, b, c, d] = address.octets();
    let bits = address.to_bits();
    let (high, low) = (bits >> 16, bits & 0xffff);
    let mapped = address.to_ipv6_mapped();
    vec![
        address.to_string(),
        format!("{address}."),
        bits.to_string(),
        format!("0x{bits:x}"),
        format!("0X{bits:X}"),
        format!("0{bits:o}"),
        format!("0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}"),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("{a}.{}", bits & 0x00ff_ffff),
        format!("{a}.{b}.{low}"),
        format!("0x{a:x}.{b}.0{c:o}.{d}"),
        format!("{a}%2e{b}%2e{c}%2e{d}"),
        format!("{a}。{b}。{c}。{d}"),
        format!("[{mapped}]"),
        format!("[::ffff:{high:x}:{low:x}]"),
        format!("[::{high:x}:{low:x}]"),
        format!("[64:ff9b::{high:x}:{low:x}]"),
        format!("[2002:{high:x}:{low:x}::1]"),
        format!("[2001:0:1:2:3:4:{:x}:{:x}]", high ^ 0xffff, low ^ 0xffff),
        format!("[2600::5efe:{high:x}:{low:x}]"),
        format!("[::ffff:0:{high:x}:{low:x}]"),
    ]
}

#[test]
fn hostile_literals_are_refused_in_every_spelling() {
    let mut hosts: Vec<String> =
        HOSTILE_V4.iter().flat_map(|octets| spellings(Ipv4Addr::from(*octets))).collect();
    hosts.extend(HOSTILE_V6.iter().map(|address| format!("[{address}]")));
    assert!(hosts.len() >= 400, "{}", hosts.len());
    let none = GuardPolicy::default();
    for host in &hosts {
        for url in [format!("https://{host}/v1"), format!("https://{host}:8443")] {
            assert!(Target::parse(&url, &none).is_err(), "{url}");
        }
        assert!(Target::parse(&format!("http://{host}/"), &none).is_err(), "{host}");
    }
    // The wire server of one cloud has a public address.
    assert!(Target::parse("https://168.63.129.16/", &none).is_err());
}

#[tokio::test]
async fn hostile_addresses_behind_names_are_refused() {
    let mut addresses: Vec<IpAddr> =
        HOSTILE_V4.iter().map(|octets| IpAddr::V4(Ipv4Addr::from(*octets))).collect();
    addresses.extend(HOSTILE_V6.iter().map(|text| IpAddr::V6(text.parse().unwrap())));
    let table: BTreeMap<String, Vec<IpAddr>> = addresses
        .iter()
        .enumerate()
        .map(|(number, address)| (format!("host{number}.example"), vec![*address]))
        .collect();
    let hosts: Vec<String> = table.keys().cloned().collect();
    let tls = Arc::new(TlsConfig::new(None).unwrap());
    let pool = Pool::new(PoolConfig::new(Arc::new(FixedResolver(table)), tls));
    let none = GuardPolicy::default();
    for host in hosts {
        let target = Target::parse(&format!("https://{host}/"), &none).unwrap();
        let refused = pool.checkout(&target, &none, &Deadlines::default()).await.map(drop);
        assert!(matches!(refused, Err(OutboundError::AddressRefused(_))), "{host}: {refused:?}");
    }
}

#[test]
fn honest_targets_are_not_refused() {
    let none = GuardPolicy::default();
    let mut count = 0;
    for a in (1..=223_u8).filter(|a| !matches!(a, 10 | 127)) {
        for d in [1, 200] {
            let address = Ipv4Addr::new(a, 45, 67, d);
            assert_eq!(classify(IpAddr::V4(address)), AddressClass::Public, "{address}");
            Target::parse(&format!("https://{address}/v1"), &none).unwrap();
            count += 1;
        }
    }
    for text in [
        "2600::1",
        "2a00:1450:4001::1",
        "2606:4700::1111",
        "2001:4860:4860::8888",
        "2400:cb00::1",
        "2c0f::1",
        "64:ff9b::808:808",
        "::ffff:8.8.8.8",
        "2001:200::1",
        "2003::1",
    ] {
        let address: Ipv6Addr = text.parse().unwrap();
        assert_eq!(classify(IpAddr::V6(address)), AddressClass::Public, "{text}");
        count += 1;
    }
    for url in [
        "https://api.example.com",
        "https://api.example.com/v1/",
        "https://API.Example.com:8443/x",
        "https://a-b.example.co.uk/a/b",
        "https://xn--bcher-kva.example/",
        "https://bücher.example/",
        "https://example.com./",
        "https://172.15.0.1",
        "https://172.32.0.1",
        "https://100.63.0.1",
        "https://100.128.0.1",
        "https://169.253.1.1",
        "https://192.167.1.1",
        "https://198.20.0.1",
    ] {
        Target::parse(url, &none).unwrap_or_else(|error| panic!("{url}: {error}"));
        count += 1;
    }
    assert!(count >= 200, "{count}");
}

#[test]
fn urls_that_are_no_targets() {
    let none = GuardPolicy::default();
    for url in [
        "",
        "example.com",
        "//example.com",
        "ftp://example.com",
        "file:///etc/passwd",
        "http://example.com",
        "https://",
        "https:///x",
        "https://user@example.com",
        "https://user:pw@example.com",
        "https://@example.com",
        "https://example.com/?a=b",
        "https://example.com/#a",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://exa mple.com",
        "https://example.com\\@evil.com",
        "https://example.com/\n",
        "javascript:alert(1)",
        "https://[::1",
        "https://exa%00mple.com",
        "https://.",
    ] {
        assert!(Target::parse(url, &none).is_err(), "{url}");
    }
}

#[test]
fn only_what_was_named_is_allowed() {
    let policy =
        GuardPolicy::new(&["127.0.0.1:8080", "[::1]:8080", "hr.internal:443", "0x7f.2:99"])
            .unwrap();
    for good in [
        "http://127.0.0.1:8080/v1",
        "https://127.0.0.1:8080",
        "http://[::1]:8080",
        "https://hr.internal/",
        "http://hr.internal:443/",
        "http://127.0.0.2:99/",
        "http://0177.0.0.1:8080/",
    ] {
        Target::parse(good, &policy).unwrap_or_else(|error| panic!("{good}: {error}"));
    }
    for bad in [
        "http://127.0.0.1/",
        "http://127.0.0.1:8081/",
        "https://127.0.0.2:8080/",
        "http://hr.internal/",
        "http://localhost:8080/",
        "http://[::2]:8080/",
    ] {
        assert!(Target::parse(bad, &policy).is_err(), "{bad}");
    }
    for bad in [
        "",
        "127.0.0.1",
        "127.0.0.1:",
        ":80",
        "127.0.0.1:0",
        "127.0.0.1:x",
        "http://a:80",
        "a/b:80",
        "user@a:80",
        "169.254.169.254:80",
        "[fd00:ec2::254]:80",
        "2852039166:80",
        "[::ffff:a9fe:a9fe]:80",
        "a b:80",
        "127.0.0.1:+80",
    ] {
        assert!(GuardPolicy::new(&[bad]).is_err(), "{bad}");
    }
}
