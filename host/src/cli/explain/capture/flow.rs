//! One TCP connection of a capture: which side is the client, and what it sent first, in order.
//!
//! Segments may come twice, overlap or come out of order. Of bytes that come twice, the first ones count.

use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Segments that wait for an earlier one, for one connection.
const MAX_WAITING: usize = 1_024;

/// What a client sent first, and what is known about its connection.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli::explain) struct Flow {
    /// Who opened the connection; without a handshake in the capture, the side with the higher port.
    pub(in crate::cli::explain) client: SocketAddr,
    /// Who was connected to.
    pub(in crate::cli::explain) server: SocketAddr,
    /// The client's bytes from the first one on, without gaps.
    pub(in crate::cli::explain) flight: Vec<u8>,
    /// Whether the capture has the handshake, so that the first byte is known to be the first.
    pub(in crate::cli::explain) from_start: bool,
    /// Whether bytes after these were sent and are not in the capture.
    pub(in crate::cli::explain) incomplete: bool,
    /// Whether the client sent nothing after these bytes and said so.
    pub(in crate::cli::explain) half_closed: bool,
    /// How many of these bytes the client had sent when the server first sent some; `None` if it did not.
    pub(in crate::cli::explain) server_spoke_after: Option<usize>,
}

/// One packet of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment<'a> {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) syn: bool,
    /// The number that it acknowledges, if it does.
    pub(super) ack: Option<u32>,
    pub(super) fin: bool,
    pub(super) number: u32,
    pub(super) payload: &'a [u8],
    /// Whether the packet had more payload than was captured.
    pub(super) cut: bool,
}

/// A connection while its packets are read.
#[derive(Debug)]
pub(super) struct Assembly {
    client: SocketAddr,
    server: SocketAddr,
    from_start: bool,
    /// The sequence number of the client's first byte; unknown until the client is seen.
    start: Option<u32>,
    flight: Vec<u8>,
    /// Pieces behind a gap, by their distance from the first byte.
    waiting: BTreeMap<usize, Vec<u8>>,
    waiting_bytes: usize,
    /// Where the client's bytes end.
    end: Option<usize>,
    /// How many bytes the client is known to have sent.
    sent: usize,
    server_spoke_after: Option<usize>,
}

impl Assembly {
    /// Starts with a connection's first packet, which has still to be added.
    pub(super) fn new(segment: &Segment<'_>) -> Assembly {
        let from_client = match (segment.syn, segment.ack) {
            (true, None) => true,
            (true, Some(_)) => false,
            // Servers have the lower port; with equal ports, who speaks first is taken for the client.
            (false, _) => segment.from.port() >= segment.to.port(),
        };
        let (client, server) = if from_client { (segment.from, segment.to) } else { (segment.to, segment.from) };
        let start = match (segment.syn, from_client) {
            (true, true) => Some(segment.number.wrapping_add(1)),
            // An answer to a handshake acknowledges the client's first number plus one, which is its first byte.
            (true, false) => segment.ack,
            (false, _) => None,
        };
        Assembly {
            client,
            server,
            from_start: segment.syn,
            start,
            flight: Vec::new(),
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            end: None,
            sent: 0,
            server_spoke_after: None,
        }
    }

    /// Tells whether a packet between the same addresses starts another connection.
    pub(super) fn is_followed_by(&self, segment: &Segment<'_>) -> bool {
        let opens = segment.syn && segment.ack.is_none();
        let again = segment.from == self.client && self.start == Some(segment.number.wrapping_add(1));
        opens && !again
    }

    /// Returns how many bytes are held.
    pub(super) fn kept_bytes(&self) -> usize {
        self.flight.len() + self.waiting_bytes
    }

    /// Takes a packet into account; no more than `room` bytes are held.
    pub(super) fn add(&mut self, segment: &Segment<'_>, room: usize) {
        if segment.from != self.client {
            if !segment.payload.is_empty() && self.server_spoke_after.is_none() {
                self.server_spoke_after = Some(self.flight.len());
            }
            return;
        }
        // The number of a packet that opens a connection counts the opening, not its first byte.
        let number = if segment.syn { segment.number.wrapping_add(1) } else { segment.number };
        let start = *self.start.get_or_insert(number);
        let Ok(distance) = isize::try_from(number.wrapping_sub(start).cast_signed()) else { return };
        let (offset, payload) = match usize::try_from(distance) {
            Ok(offset) => (offset, segment.payload),
            // A piece that begins before the first byte: only the rest of it counts.
            Err(_) => (0, segment.payload.get(distance.unsigned_abs()..).unwrap_or_default()),
        };
        // A bare acknowledgement may have the number behind the end of the connection, which is no byte.
        if !segment.payload.is_empty() || segment.cut {
            self.sent = self.sent.max(offset + payload.len() + usize::from(segment.cut));
        }
        if segment.fin && distance.saturating_add_unsigned(segment.payload.len()) >= 0 {
            self.end.get_or_insert(offset + payload.len());
        }
        if offset > self.flight.len() {
            self.wait(offset, payload, room);
            return;
        }
        self.append(offset, payload, room);
        while let Some(entry) = self.waiting.first_entry() {
            if *entry.key() > self.flight.len() {
                break;
            }
            let (offset, piece) = entry.remove_entry();
            self.waiting_bytes -= piece.len();
            self.append(offset, &piece, room);
        }
    }

    /// Returns what is known in the end, of a first flight of at most `most` bytes; nothing for a stray packet.
    pub(super) fn finish(self, most: usize) -> Option<Flow> {
        if !self.from_start && self.sent == 0 && self.server_spoke_after.is_none() {
            return None;
        }
        Some(Flow {
            client: self.client,
            server: self.server,
            from_start: self.from_start,
            incomplete: self.sent.max(self.end.unwrap_or(0)).min(most) > self.flight.len(),
            half_closed: self.end == Some(self.flight.len()),
            flight: self.flight,
            server_spoke_after: self.server_spoke_after,
        })
    }

    fn append(&mut self, offset: usize, payload: &[u8], room: usize) {
        let known = self.flight.len().saturating_sub(offset);
        let fresh = payload.get(known..).unwrap_or_default();
        let fits = room.saturating_sub(self.kept_bytes()).min(fresh.len());
        self.flight.extend_from_slice(fresh.get(..fits).unwrap_or_default());
    }

    fn wait(&mut self, offset: usize, payload: &[u8], room: usize) {
        let fits = self.waiting.len() < MAX_WAITING
            && offset.saturating_add(payload.len()) <= room
            && self.kept_bytes() + payload.len() <= room;
        if !payload.is_empty() && fits && !self.waiting.contains_key(&offset) {
            self.waiting_bytes += payload.len();
            self.waiting.insert(offset, payload.to_vec());
        }
    }
}
