//! Addresses that a table's source may not have.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The kind of a refused address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// 0.0.0.0/8 and `::`, which reach this machine.
    Unspecified,
    /// 127.0.0.0/8 and `::1`.
    Loopback,
    /// 169.254.0.0/16 and fe80::/10: this machine's link, where clouds have their metadata servers.
    LinkLocal,
    /// Other addresses from which clouds give a machine its credentials.
    Metadata,
}

impl Place {
    /// The kind of `address` if it is refused. Private addresses are allowed, since cluster
    /// services have them.
    pub(crate) fn of(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        }
    }
}

fn of_v4(address: Ipv4Addr) -> Option<Place> {
    match address.octets() {
        [0, ..] => Some(Place::Unspecified),
        [127, ..] => Some(Place::Loopback),
        [169, 254, ..] => Some(Place::LinkLocal),
        // Alibaba Cloud, Azure's host agent, Oracle Cloud.
        [100, 100, 100, 200] | [168, 63, 129, 16] | [192, 0, 0, 192] => Some(Place::Metadata),
        _ => None,
    }
}

fn of_v6(address: Ipv6Addr) -> Option<Place> {
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        of_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some(Place::Unspecified),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some(Place::Loopback),
        [0xfe80..=0xfebf, ..] => Some(Place::LinkLocal),
        // The AWS prefix holds all local services of a machine. The other address is Google Cloud's
        // metadata server.
        [0xfd00, 0x0ec2, ..] | [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254] => Some(Place::Metadata),
        // IPv4 addresses in other forms: compatible, mapped, NAT64, 6to4.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0x0064, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => v4(high, low),
        _ => None,
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "an unspecified address",
            Self::Loopback => "a loopback address",
            Self::LinkLocal => "a link-local address",
            Self::Metadata => "an address of a cloud's metadata",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn this_machine_its_link_and_its_cloud_are_refused() {
        for (address, place) in [
            ("0.0.0.0", Place::Unspecified),
            ("0.1.2.3", Place::Unspecified),
            ("::", Place::Unspecified),
            ("127.0.0.1", Place::Loopback),
            ("127.255.255.254", Place::Loopback),
            ("::1", Place::Loopback),
            ("169.254.169.254", Place::LinkLocal),
            ("169.254.0.0", Place::LinkLocal),
            ("169.254.255.255", Place::LinkLocal),
            ("fe80::1", Place::LinkLocal),
            ("febf:ffff::1", Place::LinkLocal),
            ("100.100.100.200", Place::Metadata),
            ("168.63.129.16", Place::Metadata),
            ("192.0.0.192", Place::Metadata),
            ("fd00:ec2::254", Place::Metadata),
            ("fd20:ce::254", Place::Metadata),
            ("::ffff:127.0.0.1", Place::Loopback),
            ("::ffff:a9fe:a9fe", Place::LinkLocal),
            ("::127.0.0.1", Place::Loopback),
            ("64:ff9b::169.254.169.254", Place::LinkLocal),
            ("2002:7f00:1::", Place::Loopback),
            ("2002:a9fe:a9fe:1::7", Place::LinkLocal),
        ] {
            assert_eq!(Place::of(address.parse().unwrap()), Some(place), "{address}");
        }
    }

    #[test]
    fn private_and_public_addresses_are_not() {
        for address in [
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "100.100.100.201",
            "168.63.129.15",
            "169.253.255.255",
            "169.255.0.0",
            "128.0.0.0",
            "1.0.0.0",
            "198.51.100.1",
            "fd00:10::1",
            "fd00:ec3::1",
            "fec0::1",
            "2001:db8::1",
            "::ffff:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::127.0.0.1",
            "2002:a00:1::",
        ] {
            assert_eq!(Place::of(address.parse().unwrap()), None, "{address}");
        }
    }

    proptest! {
        /// Each form of an IPv4 address gets the same verdict as the address itself.
        #[test]
        fn no_form_of_an_address_gets_around(bits: u32, known in 0_usize..8, rest: u64) {
            let bits = match known {
                0 => 0x7f00_0000 | (bits & 0x00ff_ffff),
                1 => 0xa9fe_0000 | (bits & 0xffff),
                2 => bits & 0x00ff_ffff,
                _ => bits,
            };
            // `::` and `::1` are IPv6 addresses in their own right.
            prop_assume!(bits > 1);
            let address = Ipv4Addr::from_bits(bits);
            let expected = Place::of(address.into());
            let low = u128::from(bits);
            for form in [
                low,
                0xffff_0000_0000 | low,
                (0x0064_ff9b << 96) | low,
                (0x2002 << 112) | (low << 80) | u128::from(rest),
            ] {
                let form = Ipv6Addr::from_bits(form);
                prop_assert_eq!(Place::of(form.into()), expected, "{}", form);
            }
            let local = address.is_loopback() || address.is_link_local();
            prop_assert!(!local || expected.is_some());
        }
    }
}
