//! Hostile spellings are refused, honest ones are not.

use outbound::{
    AddressClass, Deadlines, FixedResolver, GuardPolicy, OutboundError, Pool, PoolConfig, Target,
    TargetError, TlsConfig, classify,
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
        format!("[0000:0000:0000:0000:0000:FFFF:{high:04X}:{low:04X}]"),
        format!("[64:ff9b:1::{high:x}:{low:x}]"),
        format!("[64:ff9b:1:{high:x}:{:x}:{:x}::]", low >> 8, (low & 0xff) << 8),
        address.to_string().chars().map(full_width).collect(),
        address.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat(),
    ]
}

fn full_width(c: char) -> char {
    c.to_digit(10).and_then(|digit| char::from_u32(0xff10 + digit)).unwrap_or(c)
}

#[test]
fn hostile_literals_are_refused_in_every_spelling() {
    let mut hosts: Vec<String> =
        HOSTILE_V4.iter().flat_map(|octets| spellings(Ipv4Addr::from(*octets))).collect();
    hosts.extend(HOSTILE_V6.iter().map(|address| format!("[{address}]")));
    assert!(hosts.len() >= 600, "{}", hosts.len());
    let none = GuardPolicy::default();
    for host in &hosts {
        for url in [format!("https://{host}/v1"), format!("https://{host}:8443")] {
            // Judged as the address that it is, not refused by chance.
            let refused = Target::parse(&url, &none);
            assert!(matches!(refused, Err(TargetError::Address(_))), "{url} {refused:?}");
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
        "https://example.com/@tenant/a%20b",
        "https://metadata.example.com",
        "https://example.com:443",
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
        "https://..",
        "https://example.com..",
        "https://a..example.com",
        "https://.example.com",
        "https://127.0.0.1..",
        "https:example.com",
        "https:/example.com",
        "https:////example.com",
        "https:\\\\example.com",
        "https://exam\tple.com",
        "https://example.com/\u{a0}x",
        "https://example.com?",
        "https://example.com#",
        "https://256.1.1.1",
        "https://1.2.3.4.5",
        "https://0x100000000",
        "https://4294967296",
        "https://[fe80::1%25eth0]",
        "https://[127.0.0.1]",
        "https://[::ffff:127.0.0.1",
        "data:text/plain,x",
        "https://metadata.google.internal",
        "https://METADATA.google.internal./computeMetadata",
        "https://metadata/",
        "https://instance-data.ec2.internal",
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
        "http://HR.Internal.:443/",
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
        "http://[::ffff:127.0.0.1]:8080/",
        "https://[::ffff:127.0.0.1]:8080/",
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
        "0.0.0.0:80",
        "[::]:80",
        "224.0.0.1:80",
        "[ff02::1]:80",
        "metadata.google.internal:80",
        "Metadata.Google.Internal.:80",
        "metadata:80",
        "[64:ff9b:1:a9fe:a9:fe00::]:80",
        "[2002:a9fe:a9fe::]:80",
    ] {
        assert!(GuardPolicy::new(&[bad]).is_err(), "{bad}");
    }
}

#[test]
fn a_public_address_that_was_allowed_is_found() {
    for public in ["93.184.216.34:80", "[2606:4700::1111]:443", "[::ffff:8.8.8.8]:80"] {
        let policy = GuardPolicy::new(&["127.0.0.1:80", public]).unwrap();
        assert!(policy.public_address().is_some(), "{public}");
    }
    for private in ["10.0.0.1:80", "hr.internal:80", "[fd12::1]:80", "169.254.1.1:80"] {
        assert_eq!(GuardPolicy::new(&[private]).unwrap().public_address(), None, "{private}");
    }
}

/// What a name was allowed for are the networks of machines; and the port is part of it.
#[tokio::test]
async fn an_allowed_name_may_not_point_anywhere() {
    let mut table = BTreeMap::new();
    let refused = [
        ("0.0.0.0", AddressClass::Unspecified),
        ("::", AddressClass::Unspecified),
        ("169.254.169.254", AddressClass::Metadata),
        ("::ffff:169.254.169.254", AddressClass::Metadata),
        ("fd00:ec2::254", AddressClass::Metadata),
        ("168.63.129.16", AddressClass::Metadata),
        ("224.0.0.1", AddressClass::Multicast),
        ("192.0.2.1", AddressClass::Documentation),
        ("198.18.0.1", AddressClass::Benchmark),
        ("240.0.0.1", AddressClass::Reserved),
    ];
    for (number, (address, _)) in refused.iter().enumerate() {
        table.insert(format!("name{number}.internal"), vec![address.parse().unwrap()]);
    }
    let tls = Arc::new(TlsConfig::new(None).unwrap());
    table.insert("other.internal".to_owned(), vec![IpAddr::from([127, 0, 0, 1])]);
    let pool = Pool::new(PoolConfig::new(Arc::new(FixedResolver(table)), tls));
    for (number, (address, class)) in refused.iter().enumerate() {
        let name = format!("name{number}.internal");
        let policy = GuardPolicy::new(&[format!("{name}:443"), format!("{name}:80")]).unwrap();
        for scheme in ["https", "http"] {
            let target = Target::parse(&format!("{scheme}://{name}"), &policy).unwrap();
            let found = pool.checkout(&target, &policy, &Deadlines::default()).await.map(drop);
            assert_eq!(found, Err(OutboundError::AddressRefused(*class)), "{address}");
        }
    }
    let policy = GuardPolicy::new(&["other.internal:444"]).unwrap();
    let target = Target::parse("https://other.internal", &policy).unwrap();
    let found = pool.checkout(&target, &policy, &Deadlines::default()).await.map(drop);
    assert_eq!(found, Err(OutboundError::AddressRefused(AddressClass::Loopback)));
}

#[test]
fn targets_are_told_in_one_way() {
    let policy = GuardPolicy::new(&["[::1]:80", "127.0.0.1:8080"]).unwrap();
    for (given, base, path) in [
        ("https://API.Example.com:443/V1/", "https://api.example.com/V1", "/V1"),
        ("https://example.com.", "https://example.com", ""),
        ("https://example.com:", "https://example.com", ""),
        ("https://b\u{fc}cher.example/a/../b/./c//", "https://xn--bcher-kva.example/b/c", "/b/c"),
        ("https://example.com/%7euser/%2e%2e/x", "https://example.com/x", "/x"),
        ("https://example.com:8443", "https://example.com:8443", ""),
        ("http://[0:0::1]/x", "http://[::1]/x", "/x"),
        ("http://0x7f.1:8080", "http://127.0.0.1:8080", ""),
    ] {
        let target = Target::parse(given, &policy).unwrap();
        assert_eq!((target.base_url(), target.base_path()), (base, path), "{given}");
        assert_eq!(Target::parse(base, &policy).unwrap(), target, "{given}");
    }
}
