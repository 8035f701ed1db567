//! What an address is, by its bits (IANA special-purpose registries, RFC 6890).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Only [`AddressClass::Public`] is connected to without having been allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressClass {
    Public,
    Loopback,
    /// RFC 1918, RFC 4193.
    Private,
    LinkLocal,
    /// Cloud providers hand out credentials there: never connected to, whatever was allowed.
    Metadata,
    Unspecified,
    Multicast,
    /// RFC 6598.
    SharedSpace,
    /// RFC 5737, RFC 3849, RFC 9637.
    Documentation,
    /// RFC 2544, RFC 5180.
    Benchmark,
    /// Protocol assignments, retired transition mechanisms, and space that nobody was given.
    Reserved,
    /// Public by its bits, and given to the machine that this runs on.
    ThisMachine,
}

/// Where instances of clouds ask for their credentials, or talk to their host, besides the networks
/// in [`classify_v4`] and [`classify_v6`].
const METADATA_V4: [Ipv4Addr; 5] = [
    // Tencent, Scaleway, Alibaba, Azure, Oracle.
    Ipv4Addr::new(169, 254, 0, 23),
    Ipv4Addr::new(169, 254, 42, 42),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];
const METADATA_V6: [Ipv6Addr; 3] = [
    // Google, Scaleway, OpenStack.
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
];
/// Names that stand for those addresses inside clouds.
const METADATA_NAMES: [&str; 6] = [
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "metadata.tencentyun.com",
    "instance-data",
    "instance-data.ec2.internal",
];

/// Whether a host, in lower case, is a name of cloud metadata.
pub(crate) fn is_metadata_name(host: &str) -> bool {
    METADATA_NAMES.contains(&host)
}

/// Judges the bits, and those of an IPv4 address inside an IPv6 one.
pub fn classify(address: IpAddr) -> AddressClass {
    match address {
        IpAddr::V4(address) => classify_v4(address),
        IpAddr::V6(address) => classify_v6(address),
    }
}

fn classify_v4(address: Ipv4Addr) -> AddressClass {
    if METADATA_V4.contains(&address) {
        return AddressClass::Metadata;
    }
    match address.octets() {
        [0, 0, 0, 0] => AddressClass::Unspecified,
        [127, ..] => AddressClass::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => AddressClass::Private,
        // Amazon's instance and container services.
        [169, 254, 169 | 170, _] => AddressClass::Metadata,
        [169, 254, ..] => AddressClass::LinkLocal,
        [100, 64..=127, ..] => AddressClass::SharedSpace,
        [224..=239, ..] => AddressClass::Multicast,
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => AddressClass::Documentation,
        [198, 18..=19, ..] => AddressClass::Benchmark,
        // "This network", protocol assignments, 6to4 relays, and the last sixteenth.
        [0, ..] | [192, 0, 0, _] | [192, 88, 99, _] | [240..=255, ..] => AddressClass::Reserved,
        _ => AddressClass::Public,
    }
}

fn classify_v6(address: Ipv6Addr) -> AddressClass {
    if METADATA_V6.contains(&address) {
        return AddressClass::Metadata;
    }
    let segments = address.segments();
    let [.., high, low] = segments;
    match segments {
        // Amazon's instance services.
        [0xfd00, 0xec2, ..] => AddressClass::Metadata,
        [0, 0, 0, 0, 0, 0, 0, 0] => AddressClass::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => AddressClass::Loopback,
        // IPv4-mapped (RFC 4291 §2.5.5.2) and NAT64 (RFC 6052).
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => embedded(high, low),
        // IPv4-compatible and IPv4-translated.
        [0, 0, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => retired(high, low),
        [0x64, 0xff9b, 1, ..] => local_nat64(segments),
        // Teredo hides the client's address inverted (RFC 4380).
        [0x2001, 0, ..] => retired(!high, !low),
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => retired(high, low),
        [0xfe80..=0xfebf, ..] => AddressClass::LinkLocal,
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => AddressClass::Private,
        [0xff00..=0xffff, ..] => AddressClass::Multicast,
        // ISATAP interface identifiers (RFC 5214).
        [.., 0 | 0x200, 0x5efe, high, low] => retired(high, low),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => AddressClass::Documentation,
        [0x2001, 0x2, 0, ..] => AddressClass::Benchmark,
        // Protocol assignments.
        [0x2001, 0x1..=0x1ff, ..] => AddressClass::Reserved,
        [0x2000..=0x3fff, ..] => AddressClass::Public,
        _ => AddressClass::Reserved,
    }
}

fn embedded(high: u16, low: u16) -> AddressClass {
    classify_v4(Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low)))
}

/// A transition form that no provider uses any more: an address that is not public stays what it is,
/// and a public one is not connected to either.
fn retired(high: u16, low: u16) -> AddressClass {
    match embedded(high, low) {
        AddressClass::Public => AddressClass::Reserved,
        class => class,
    }
}

/// Local NAT64 (RFC 8215), whose prefix may have any length from 48 bits on: the IPv4 address may
/// stand in four places (RFC 6052 §2.2). Metadata in one of them is metadata.
fn local_nat64(segments: [u16; 8]) -> AddressClass {
    let [_, _, _, third, fourth, fifth, sixth, seventh] = segments;
    // The low byte of one segment and the high byte of the next; bits 64 to 71 are skipped.
    let across = |left: u16, right: u16| (left << 8) | (right >> 8);
    let places = [
        (third, across(fourth, fifth)),
        ((third << 8) | (fourth & 0xff), fifth),
        (across(fourth, fifth), across(fifth, sixth)),
    ];
    if places.iter().any(|(high, low)| embedded(*high, *low) == AddressClass::Metadata) {
        return AddressClass::Metadata;
    }
    retired(sixth, seventh)
}

impl AddressClass {
    /// A word for messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::LinkLocal => "link-local",
            Self::Metadata => "cloud metadata",
            Self::Unspecified => "unspecified",
            Self::Multicast => "multicast",
            Self::SharedSpace => "shared address space",
            Self::Documentation => "for documentation",
            Self::Benchmark => "for benchmarks",
            Self::Reserved => "reserved",
            Self::ThisMachine => "this machine's own",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(text: &str) -> AddressClass {
        classify(text.parse().unwrap())
    }

    /// The edges of every block of the special-purpose registries, and their neighbours outside.
    #[test]
    fn blocks_end_where_their_registries_say() {
        use AddressClass::*;
        for (first, last, wanted) in [
            ("0.0.0.1", "0.255.255.255", Reserved),
            ("10.0.0.0", "10.255.255.255", Private),
            ("100.64.0.0", "100.127.255.255", SharedSpace),
            ("127.0.0.0", "127.255.255.255", Loopback),
            ("169.254.1.0", "169.254.168.255", LinkLocal),
            ("169.254.169.0", "169.254.170.255", Metadata),
            ("172.16.0.0", "172.31.255.255", Private),
            ("192.0.0.0", "192.0.0.191", Reserved),
            ("192.0.2.0", "192.0.2.255", Documentation),
            ("192.88.99.0", "192.88.99.255", Reserved),
            ("192.168.0.0", "192.168.255.255", Private),
            ("198.18.0.0", "198.19.255.255", Benchmark),
            ("198.51.100.0", "198.51.100.255", Documentation),
            ("203.0.113.0", "203.0.113.255", Documentation),
            ("224.0.0.0", "239.255.255.255", Multicast),
            ("240.0.0.0", "255.255.255.255", Reserved),
            ("fc00::", "fcff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Private),
            ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", LinkLocal),
            ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Private),
            ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Multicast),
            ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", Documentation),
            ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", Documentation),
            ("2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff", Benchmark),
            ("100::", "100::ffff:ffff:ffff:ffff", Reserved),
            ("4000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Reserved),
        ] {
            assert_eq!((class(first), class(last)), (wanted, wanted), "{first} {last}");
        }
        for outside in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "191.255.255.255",
            "192.0.1.0",
            "192.0.3.0",
            "192.88.98.255",
            "192.88.100.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.99.255",
            "198.51.101.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "2001:200::",
            "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
            "2001:db9::",
            "2003::",
            "3fff:1000::",
            "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "2000::",
        ] {
            assert_eq!(class(outside), Public, "{outside}");
        }
    }

    #[test]
    fn metadata_is_known_in_every_shell() {
        for text in [
            "169.254.169.254",
            "169.254.170.2",
            "169.254.170.23",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "169.254.0.23",
            "169.254.42.42",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "fd00:42::42",
            "fe80::a9fe:a9fe",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "::ffff:0:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b::a83f:8110",
            "64:ff9b:1::169.254.169.254",
            // Prefixes of 48, 56, 64 and 96 bits (RFC 6052 §2.2).
            "64:ff9b:1:a9fe:a9:fe00::",
            "64:ff9b:1:a9:fe:a9fe::",
            "64:ff9b:1:2:a9:fea9:fe00::",
            "64:ff9b:1:2:3:4:a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "2001:0:1:2:3:4:5601:5601",
            "2600::5efe:169.254.169.254",
        ] {
            assert_eq!(class(text), AddressClass::Metadata, "{text}");
        }
    }

    /// An address inside another one is never better than alone.
    #[test]
    fn shells_never_make_an_address_public() {
        for bits in (0..=u32::MAX).step_by(0x0007_31b3) {
            let v4 = Ipv4Addr::from_bits(bits);
            let alone = classify(IpAddr::V4(v4));
            let (high, low) = ((bits >> 16) as u16, (bits & 0xffff) as u16);
            let same = [
                Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, high, low),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
            ];
            for shell in same {
                assert_eq!(classify(IpAddr::V6(shell)), alone, "{shell}");
            }
            let never = [
                Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
                Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0x2001, 0, 1, 2, 3, 4, !high, !low),
                Ipv6Addr::new(0x2600, 0, 0, 0, 0x200, 0x5efe, high, low),
            ];
            for shell in never {
                let class = classify(IpAddr::V6(shell));
                assert_ne!(class, AddressClass::Public, "{shell}");
                assert!(alone == AddressClass::Public || class == alone || bits < 2, "{shell}");
            }
        }
    }
}
