//! Captures written byte by byte.

use std::net::{IpAddr, SocketAddr};

pub(super) const FIN: u8 = 1;
pub(super) const SYN: u8 = 2;
pub(super) const ACK: u8 = 16;

pub(super) const CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 50_000);
pub(super) const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2)), 443);

/// A TCP packet; one that acknowledges always acknowledges the number 1000.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) number: u32,
    pub(super) flags: u8,
    pub(super) payload: &'a [u8],
}

impl Packet<'_> {
    /// The packet with its IP header; checksums are zero.
    pub(super) fn ip(&self) -> Vec<u8> {
        let mut tcp = Vec::new();
        tcp.extend(self.from.port().to_be_bytes());
        tcp.extend(self.to.port().to_be_bytes());
        tcp.extend(self.number.to_be_bytes());
        tcp.extend(1_000_u32.to_be_bytes());
        tcp.extend([0x50, self.flags, 0xff, 0xff, 0, 0, 0, 0]);
        tcp.extend(self.payload);
        let mut packet = Vec::new();
        match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                packet.extend([0x45, 0]);
                packet.extend(u16::try_from(tcp.len() + 20).unwrap().to_be_bytes());
                packet.extend([0, 0, 0, 0, 64, 6, 0, 0]);
                packet.extend(from.octets());
                packet.extend(to.octets());
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                packet.extend([0x60, 0, 0, 0]);
                packet.extend(u16::try_from(tcp.len()).unwrap().to_be_bytes());
                packet.extend([6, 64]);
                packet.extend(from.octets());
                packet.extend(to.octets());
            }
            mixed => panic!("two kinds of addresses: {mixed:?}"),
        }
        packet.extend(tcp);
        packet
    }
}

fn ether_type(ip: &[u8]) -> [u8; 2] {
    if ip[0] >> 4 == 6 { [0x86, 0xdd] } else { [8, 0] }
}

/// An Ethernet frame, padded to the least length that Ethernet has.
pub(super) fn ethernet(ip: &[u8]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend(ether_type(ip));
    frame.extend(ip);
    frame.resize(frame.len().max(60), 0);
    frame
}

pub(super) fn loopback(ip: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0], ip].concat()
}

pub(super) fn linux_cooked(ip: &[u8]) -> Vec<u8> {
    [&[0; 14], &ether_type(ip)[..], ip].concat()
}

pub(super) fn linux_cooked_2(ip: &[u8]) -> Vec<u8> {
    [&ether_type(ip)[..], &[0; 18], ip].concat()
}

/// A little-endian pcap file.
pub(super) fn pcap(link: u32, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    file.extend(262_144_u32.to_le_bytes());
    file.extend(link.to_le_bytes());
    for frame in frames {
        let length = u32::try_from(frame.len()).unwrap().to_le_bytes();
        file.extend([0; 8]);
        file.extend(length);
        file.extend(length);
        file.extend(frame);
    }
    file
}

/// A pcapng file with one section and one interface.
pub(super) fn pcapng(link: u16, frames: &[Vec<u8>], big_endian: bool) -> Vec<u8> {
    let u16_bytes = |number: u16| if big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
    let u32_bytes = |number: u32| if big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
    let block = |kind: u32, body: &[u8]| {
        let length = u32_bytes(u32::try_from(body.len() + 12).unwrap());
        [&u32_bytes(kind)[..], &length, body, &length].concat()
    };
    let section = [&u32_bytes(0x1a2b_3c4d)[..], &u16_bytes(1), &u16_bytes(0), &[0xff; 8]].concat();
    let interface = [&u16_bytes(link)[..], &[0; 2], &u32_bytes(262_144)].concat();
    let mut file = block(0x0a0d_0d0a, &section);
    file.extend(block(1, &interface));
    for frame in frames {
        let length = u32_bytes(u32::try_from(frame.len()).unwrap());
        let mut body = [&[0; 12][..], &length, &length, frame].concat();
        body.resize(body.len().next_multiple_of(4), 0);
        file.extend(block(6, &body));
    }
    file
}
