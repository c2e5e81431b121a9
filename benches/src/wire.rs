//! What clients and backends say to each other: first flights of three protocols, answers, and a stream of bytes that
//! either end can check at any place.
//!
//! Both ends are children of the same program, so they agree by sharing this file. Nothing here does I/O.

/// The protocol that a connection seems to speak, by which a proxy picks the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Ssh,
    Http,
    Tls,
}

impl Protocol {
    pub(crate) const ALL: [Protocol; 3] = [Protocol::Ssh, Protocol::Http, Protocol::Tls];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Protocol::Ssh => "ssh",
            Protocol::Http => "http",
            Protocol::Tls => "tls",
        }
    }

    /// Returns the protocol of the connection with this number: one after the other.
    pub(crate) fn of(number: usize) -> Protocol {
        match number % 3 {
            0 => Protocol::Ssh,
            1 => Protocol::Http,
            _ => Protocol::Tls,
        }
    }

    /// Returns what a client sends first, which names in one byte what it wants.
    pub(crate) fn first_flight(self, want: Want) -> Vec<u8> {
        let letter = want.letter();
        match self {
            Protocol::Ssh => [b"SSH-2.0-bench_", &[letter][..], b"\r\n"].concat(),
            Protocol::Http => {
                [b"GET /", &[letter][..], b" HTTP/1.1\r\nHost: bench.invalid\r\nAccept: */*\r\n\r\n"].concat()
            }
            Protocol::Tls => client_hello(letter),
        }
    }

    /// Returns what the connection is asked for, once `flight` has the whole first flight and is of this protocol.
    pub(crate) fn wanted(self, flight: &[u8]) -> Flight {
        let (at, length) = match self {
            Protocol::Ssh => (14, self.first_flight(Want::Answer).len()),
            Protocol::Http => (5, self.first_flight(Want::Answer).len()),
            Protocol::Tls => (HELLO_LETTER_AT, self.first_flight(Want::Answer).len()),
        };
        if flight.len() < length {
            return Flight::Incomplete;
        }
        let want = flight.get(at).and_then(|letter| Want::ALL.into_iter().find(|want| want.letter() == *letter));
        match want {
            Some(want) if flight.starts_with(&self.first_flight(want)) => Flight::Wants { want, length },
            _ => Flight::Foreign,
        }
    }

    /// Returns what a backend of this protocol answers to a first flight; the protocol's name is in it, so that a client
    /// notices a connection that went to the wrong service.
    pub(crate) fn answer(self) -> [u8; ANSWER_BYTES] {
        let mut answer = [b'.'; ANSWER_BYTES];
        for (to, from) in answer.iter_mut().zip(self.name().bytes()) {
            *to = from;
        }
        answer
    }
}

/// The length of an answer.
pub(crate) const ANSWER_BYTES: usize = 128;

/// What a client wants of a backend after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// The answer alone.
    Answer,
    /// Every later byte back.
    Echo,
    /// The stream, for as long as the client reads.
    Source,
    /// To send the stream, acknowledged after every [`ACK_EVERY`] bytes.
    Sink,
}

impl Want {
    const ALL: [Want; 4] = [Want::Answer, Want::Echo, Want::Source, Want::Sink];

    fn letter(self) -> u8 {
        match self {
            Want::Answer => b'a',
            Want::Echo => b'e',
            Want::Source => b's',
            Want::Sink => b'k',
        }
    }
}

/// What a backend knows from the bytes it has so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flight {
    Incomplete,
    /// Not what this protocol's client sends: damaged, or relayed to the wrong service.
    Foreign,
    Wants {
        want: Want,
        /// Where the first flight ends.
        length: usize,
    },
}

/// How many bytes of a stream are acknowledged by one byte.
pub(crate) const ACK_EVERY: u64 = 1 << 20;

/// The byte that acknowledges.
pub(crate) const ACK: u8 = b'+';

/// A prime, so that no buffer size of a proxy divides it and bytes in the wrong place never look right.
const PERIOD: usize = 65_521;

/// The most that [`Pattern::at`] returns at once.
pub(crate) const PATTERN_BYTES: usize = 256 << 10;

/// A stream of bytes that repeats itself after a prime number of them.
#[derive(Debug)]
pub(crate) struct Pattern {
    bytes: Vec<u8>,
}

impl Pattern {
    pub(crate) fn new() -> Pattern {
        let mut state: u32 = 0x9e37_79b9;
        let mut next = || {
            // xorshift, which is plenty to make positions distinguishable.
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_le_bytes()[0]
        };
        let mut bytes: Vec<u8> = (0..PERIOD).map(|_| next()).collect();
        let period = bytes.clone();
        while bytes.len() < PERIOD + PATTERN_BYTES {
            bytes.extend_from_slice(&period);
        }
        Pattern { bytes }
    }

    /// Returns the `length` bytes of the stream from `position` on, at most [`PATTERN_BYTES`].
    pub(crate) fn at(&self, position: u64, length: usize) -> &[u8] {
        let start = usize::try_from(position % PERIOD as u64).unwrap_or(0);
        self.bytes.get(start..start + length.min(PATTERN_BYTES)).unwrap_or_default()
    }
}

/// Where the letter is in a ClientHello: the first byte of its random value.
const HELLO_LETTER_AT: usize = 11;

/// Builds a TLS 1.3 ClientHello as RFC 8446 section 4.1.2 has it, with a server name, that no server would finish.
fn client_hello(letter: u8) -> Vec<u8> {
    let host = b"bench.invalid";
    let name_entry = [&[0][..], &with_length16(host)].concat();
    let mut extensions = Vec::new();
    for (kind, body) in [
        (0u16, with_length16(&name_entry)),
        (43, vec![2, 3, 4]),
        (10, with_length16(&[0, 29])),
        (13, with_length16(&[4, 3, 8, 4])),
    ] {
        extensions.extend(kind.to_be_bytes());
        extensions.extend(with_length16(&body));
    }
    let mut body = vec![3, 3];
    body.extend([letter; 32]);
    body.push(0);
    body.extend(with_length16(&[0x13, 1, 0x13, 2]));
    body.extend([1, 0]);
    body.extend(with_length16(&extensions));
    let mut handshake = vec![1, 0];
    handshake.extend(with_length16(&body));
    [&[22, 3, 1][..], &with_length16(&handshake)].concat()
}

fn with_length16(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes()[..], bytes].concat()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn a_first_flight_says_what_is_wanted_once_it_is_complete() {
        for protocol in Protocol::ALL {
            for want in Want::ALL {
                let flight = protocol.first_flight(want);
                for length in 0..flight.len() {
                    assert_eq!(protocol.wanted(&flight[..length]), Flight::Incomplete);
                }
                let whole = Flight::Wants { want, length: flight.len() };
                assert_eq!(protocol.wanted(&flight), whole);
                assert_eq!(protocol.wanted(&[&flight[..], b"more"].concat()), whole);
            }
        }
    }

    #[test]
    fn a_flight_of_another_protocol_is_foreign() {
        let long = |protocol: Protocol| [protocol.first_flight(Want::Echo), vec![0; 200]].concat();
        for one in Protocol::ALL {
            for other in Protocol::ALL {
                assert_eq!(one.wanted(&long(other)) == Flight::Foreign, one != other);
            }
        }
    }

    #[test]
    fn the_hello_states_its_own_lengths() {
        let hello = client_hello(b'a');
        assert_eq!(usize::from(u16::from_be_bytes([hello[3], hello[4]])), hello.len() - 5);
        assert_eq!(usize::from(u16::from_be_bytes([hello[7], hello[8]])), hello.len() - 9);
        assert_eq!(hello[HELLO_LETTER_AT], b'a');
    }

    #[test]
    fn the_pattern_continues_across_its_period() {
        let pattern = Pattern::new();
        let position = PERIOD as u64 * 3 - 5;
        assert_eq!(pattern.at(position, 10)[5..], *pattern.at(0, 5));
        assert_eq!(pattern.at(7, PATTERN_BYTES).len(), PATTERN_BYTES);
    }
}
