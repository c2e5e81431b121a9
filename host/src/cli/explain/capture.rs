//! What clients sent first, from a capture file: pcap or pcapng into TCP connections.
//!
//! This file reads blocks and packets; `flow` puts the packets of one connection in order. A file that is damaged is an
//! error that names the packet. Memory is bounded whatever the file holds: see the limits below.

mod flow;

use std::collections::HashMap;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, anyhow, bail};
use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, TransportSlice};
use pcap_parser::traits::PcapNGPacketBlock;
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader};

pub(super) use self::flow::Flow;
use self::flow::{Assembly, Segment};

/// Connections that are kept; packets of later ones are counted and left out. A person reads this list.
const MAX_FLOWS: usize = 10_000;

/// Bytes of first flights that are kept in all; past it, connections stay incomplete.
const MAX_KEPT_BYTES: usize = 64 << 20;

/// The largest block of a file. A packet has 256 KiB at most; a block of names or keys may have more.
const MAX_BLOCK_BYTES: usize = 16 << 20;

/// What is read at once.
const READ_BYTES: usize = 256 << 10;

/// Interfaces of one section of a pcapng file.
const MAX_INTERFACES: usize = 4_096;

/// The TCP connections of a capture, in the order of their first packets.
#[derive(Debug, Default)]
pub(super) struct Capture {
    pub(super) flows: Vec<Flow>,
    pub(super) left_out: LeftOut,
}

/// What a capture has and is not looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// Packets of connections past the limit of 10,000.
    pub(super) past_limit: usize,
    /// Packets that are not TCP, or fragments, or of an unknown kind of network.
    pub(super) without_tcp: usize,
}

impl Capture {
    /// Reads a capture and keeps at most `most` bytes of what each client sent first.
    ///
    /// # Errors
    /// The file cannot be read, is not a capture, or is damaged; none of its packets is of a known kind of network.
    pub(super) fn read(file: impl Read + Send, most: usize) -> Result<Capture> {
        let mut reader = create_reader(READ_BYTES, file).map_err(|error| describe(&error, 0))?;
        let mut builder = Builder::new(most);
        let mut room = READ_BYTES;
        loop {
            let refill = match reader.next() {
                Ok((length, block)) => {
                    builder.block(&block)?;
                    reader.consume(length);
                    continue;
                }
                Err(PcapError::Eof) => break,
                Err(PcapError::Incomplete(_)) => Refill::Same,
                Err(PcapError::BufferTooSmall) => Refill::Larger,
                Err(error) => return Err(describe(&error, builder.packets)),
            };
            if let Refill::Larger = refill {
                if room >= MAX_BLOCK_BYTES {
                    bail!("damaged: a block after packet {} has more than {MAX_BLOCK_BYTES} bytes", builder.packets);
                }
                room *= 2;
                reader.grow(room);
            }
            reader.refill().map_err(|error| describe(&error, builder.packets))?;
        }
        builder.finish()
    }
}

enum Refill {
    Same,
    Larger,
}

fn describe<I: std::fmt::Debug>(error: &PcapError<I>, packets: usize) -> anyhow::Error {
    match error {
        PcapError::HeaderNotRecognized => anyhow!("it is neither pcap nor pcapng"),
        PcapError::Eof => anyhow!("it is empty"),
        PcapError::ReadError => anyhow!("reading failed after packet {packets}"),
        PcapError::UnexpectedEof | PcapError::Incomplete(_) => {
            anyhow!("it is cut short after packet {packets}")
        }
        _ => anyhow!("damaged after packet {packets}"),
    }
}

/// Collects connections while a file is read.
struct Builder {
    most: usize,
    /// Kinds of network, by interface of the section that is read.
    links: Vec<Linktype>,
    /// The latest connection between two addresses, the lower one first.
    latest: HashMap<(SocketAddr, SocketAddr), usize>,
    assemblies: Vec<Assembly>,
    kept_bytes: usize,
    packets: usize,
    unknown_link: Option<Linktype>,
    left_out: LeftOut,
}

impl Builder {
    fn new(most: usize) -> Builder {
        Builder {
            most,
            links: Vec::new(),
            latest: HashMap::new(),
            assemblies: Vec::new(),
            kept_bytes: 0,
            packets: 0,
            unknown_link: None,
            left_out: LeftOut::default(),
        }
    }

    fn block(&mut self, block: &PcapBlockOwned<'_>) -> Result<()> {
        match block {
            PcapBlockOwned::LegacyHeader(header) => self.links = vec![header.network],
            PcapBlockOwned::Legacy(packet) => self.packet(0, packet.data)?,
            PcapBlockOwned::NG(Block::SectionHeader(_)) => self.links.clear(),
            PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                if self.links.len() >= MAX_INTERFACES {
                    bail!("it has more than {MAX_INTERFACES} interfaces");
                }
                self.links.push(interface.linktype);
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => self.packet(packet.if_id, packet.packet_data())?,
            PcapBlockOwned::NG(Block::SimplePacket(packet)) => self.packet(0, packet.packet_data())?,
            PcapBlockOwned::NG(_) => {}
        }
        Ok(())
    }

    fn packet(&mut self, interface: u32, bytes: &[u8]) -> Result<()> {
        self.packets += 1;
        let link = usize::try_from(interface).ok().and_then(|interface| self.links.get(interface)).copied();
        let Some(link) = link else {
            bail!("damaged: packet {} is of an interface that is not described", self.packets);
        };
        match segment(link, bytes) {
            Sliced::Tcp(segment) => self.segment(&segment),
            Sliced::Other => self.left_out.without_tcp += 1,
            Sliced::UnknownLink => {
                self.left_out.without_tcp += 1;
                self.unknown_link = Some(link);
            }
        }
        Ok(())
    }

    fn segment(&mut self, segment: &Segment<'_>) {
        let (from, to) = (segment.from, segment.to);
        let key = if from <= to { (from, to) } else { (to, from) };
        let known = self.latest.get(&key).copied().filter(|at| {
            // A new handshake between the same two addresses is a new connection.
            self.assemblies.get(*at).is_some_and(|assembly| !assembly.is_followed_by(segment))
        });
        let at = match known {
            Some(at) => at,
            None if self.assemblies.len() < MAX_FLOWS => {
                self.assemblies.push(Assembly::new(segment));
                self.latest.insert(key, self.assemblies.len() - 1);
                self.assemblies.len() - 1
            }
            None => {
                self.latest.remove(&key);
                self.left_out.past_limit += 1;
                return;
            }
        };
        let Some(assembly) = self.assemblies.get_mut(at) else { return };
        let room = self.most.min(MAX_KEPT_BYTES.saturating_sub(self.kept_bytes) + assembly.kept_bytes());
        let before = assembly.kept_bytes();
        assembly.add(segment, room);
        self.kept_bytes = (self.kept_bytes + assembly.kept_bytes()).saturating_sub(before);
    }

    fn finish(self) -> Result<Capture> {
        if let (Some(Linktype(link)), true) = (self.unknown_link, self.left_out.without_tcp == self.packets) {
            bail!("its kind of network, {link}, is not one of Ethernet, IP, Linux cooked or loopback");
        }
        let most = self.most;
        let flows = self.assemblies.into_iter().filter_map(|assembly| assembly.finish(most)).collect();
        Ok(Capture { flows, left_out: self.left_out })
    }
}

/// What a packet holds.
enum Sliced<'a> {
    Tcp(Segment<'a>),
    Other,
    UnknownLink,
}

/// Takes a packet apart; the number of the kind of network is that of the tcpdump.org list of link types.
fn segment(link: Linktype, bytes: &[u8]) -> Sliced<'_> {
    let behind = |header: usize| bytes.get(header..).unwrap_or_default();
    let ether_type = |at: usize| match bytes.get(at..at + 2) {
        Some(&[high, low]) => Some(EtherType(u16::from_be_bytes([high, low]))),
        _ => None,
    };
    let packet = match link.0 {
        1 => LaxSlicedPacket::from_ethernet(bytes).ok(),
        // BSD and OpenBSD loopback: four bytes of address family.
        0 | 108 => LaxSlicedPacket::from_ip(behind(4)).ok(),
        // IP without anything before it; 12 and 14 are what some systems write into files instead of 101.
        12 | 14 | 101 | 228 | 229 => LaxSlicedPacket::from_ip(bytes).ok(),
        // Linux cooked capture, versions 1 and 2.
        113 => ether_type(14).map(|kind| LaxSlicedPacket::from_ether_type(kind, behind(16))),
        276 => ether_type(0).map(|kind| LaxSlicedPacket::from_ether_type(kind, behind(20))),
        _ => return Sliced::UnknownLink,
    };
    packet.and_then(|packet| tcp(&packet)).map_or(Sliced::Other, Sliced::Tcp)
}

fn tcp<'a>(packet: &LaxSlicedPacket<'a>) -> Option<Segment<'a>> {
    let (from, to): (IpAddr, IpAddr) = match packet.net.as_ref()? {
        LaxNetSlice::Ipv4(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        LaxNetSlice::Ipv6(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        LaxNetSlice::Arp(_) => return None,
    };
    let Some(TransportSlice::Tcp(tcp)) = &packet.transport else { return None };
    let cut = packet.net.as_ref()?.ip_payload_ref().is_some_and(|payload| payload.incomplete);
    Some(Segment {
        from: SocketAddr::new(from, tcp.source_port()),
        to: SocketAddr::new(to, tcp.destination_port()),
        syn: tcp.syn(),
        ack: tcp.ack().then(|| tcp.acknowledgment_number()),
        fin: tcp.fin(),
        number: tcp.sequence_number(),
        payload: tcp.payload(),
        cut,
    })
}

#[cfg(test)]
mod tests;
