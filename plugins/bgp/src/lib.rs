//! The classifier for BGP-4: the message that opens a session (RFC 4271, sections 4.1 and 4.2).
//!
//! Sixteen bytes of ff, the message's length, type OPEN, version 4, the autonomous system, a hold time, the router's
//! identifier and the length of the optional parameters. A NOTIFICATION can come first too, from a speaker that refuses
//! before it has introduced itself (section 8.2.1.5), and the other messages from one that goes on with a session. The 16
//! bytes alone fix 128 bits, so an OPEN whose values the other side will refuse is recognised as well.
//!
//! An autonomous system number of more than two bytes is in a capability (RFC 6793), so the parameters are read only
//! where the two bytes say that it is.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

/// The header, which is all of a KEEPALIVE. Messages have up to 65535 bytes (RFC 8654).
const HEADER_BYTES: u16 = 16 + 2 + 1;

/// An UPDATE that announces nothing, and a ROUTE-REFRESH (RFC 2918).
const UPDATE_BYTES: u16 = HEADER_BYTES + 4;

/// An OPEN without parameters.
const OPEN_BYTES: u16 = HEADER_BYTES + 10;

/// A NOTIFICATION without data.
const NOTIFICATION_BYTES: u16 = HEADER_BYTES + 2;

/// Stands for a number that does not fit into two bytes (RFC 6793, section 9).
const AS_TRANS: u16 = 23456;

/// The parameters' type of capabilities (RFC 5492), and the capability with the number (RFC 6793).
const CAPABILITIES: u8 = 2;
const FOUR_BYTE_AS: u8 = 65;

/// How much of the parameters is searched for the number: speakers send about a hundred bytes. If it is not there, the
/// fact is [`AS_TRANS`].
const SEARCHED_BYTES: usize = 1024;

/// The most bytes looked at.
const MAX_BYTES: usize = OPEN_BYTES as usize + SEARCHED_BYTES;

/// Recognises BGP speakers; it has nothing to configure.
pub struct Bgp;

impl Classifier for Bgp {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Bgp)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        c.tag(&[0xff; 16])?;
        let len = c.u16_be_in(HEADER_BYTES..=u16::MAX)?;
        // 128 is ROUTE-REFRESH as Cisco had it before the RFC.
        let kind = c.u8_where(|kind| match kind {
            1 => len >= OPEN_BYTES,
            2 | 5 | 128 => len >= UPDATE_BYTES,
            3 => len >= NOTIFICATION_BYTES,
            4 => len == HEADER_BYTES,
            _ => false,
        })?;
        match kind {
            1 => open(&mut c, len - OPEN_BYTES, facts)?,
            3 => {
                c.u8_in(1..=8)?; // the errors of RFC 4271, 7313 and 9687
            }
            _ => {}
        }
        Ok(Match)
    }
}

fn open(c: &mut Cursor<'_>, parameters: u16, facts: &mut Facts) -> Result<(), Stop> {
    c.tag(b"\x04")?;
    let mut number = c.u16_be()?.into();
    c.skip(2)?; // hold time
    let router = c.u32_be()?;
    let len = c.u8()?;
    if number == u32::from(AS_TRANS) {
        let list = c.take(usize::from(parameters).min(SEARCHED_BYTES))?;
        // 255 says that a longer length follows behind it (RFC 9072).
        let long = len == 255 && list.starts_with(&[255]);
        number = number_in_parameters(list, long).unwrap_or(number);
    }
    facts.add_number("as", number);
    facts.add("router_id", dotted(router, &mut [0; 15]));
    Ok(())
}

/// The number in a list of parameters, each a kind, a length of one byte or, where it is `long`, two, and a value.
/// What is not well formed is the peer's to refuse.
fn number_in_parameters(mut list: &[u8], long: bool) -> Option<u32> {
    if long {
        list = list.get(3..)?; // 255 again, and the length that the message's gives already
    }
    loop {
        let (kind, len, rest) = match list {
            [kind, high, low, rest @ ..] if long => (kind, u16::from_be_bytes([*high, *low]).into(), rest),
            [kind, len, rest @ ..] if !long => (kind, usize::from(*len), rest),
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(len)?;
        if *kind == CAPABILITIES
            && let Some(number) = number_in_capabilities(value)
        {
            return Some(number);
        }
        list = rest;
    }
}

/// The number in a list of capabilities, each a code, a length and a value.
fn number_in_capabilities(mut list: &[u8]) -> Option<u32> {
    while let [code, len, rest @ ..] = list {
        let (value, rest) = rest.split_at_checked((*len).into())?;
        if *code == FOUR_BYTE_AS {
            return value.try_into().ok().map(u32::from_be_bytes);
        }
        list = rest;
    }
    None
}

/// Writes an identifier as the IPv4 address it mostly is.
fn dotted(router: u32, into: &mut [u8; 15]) -> &[u8] {
    let mut len = 0;
    for byte in router.to_be_bytes() {
        let dot = (len > 0).then_some(b'.');
        let digits = [byte / 100, byte / 10 % 10, byte % 10].map(|digit| b'0' + digit);
        let leading_zeros = usize::from(byte < 100) + usize::from(byte < 10);
        for character in dot.into_iter().chain(digits.into_iter().skip(leading_zeros)) {
            if let Some(place) = into.get_mut(len) {
                *place = character;
                len += 1;
            }
        }
    }
    into.get(..len).unwrap_or_default()
}

portsplit_plugin_sdk::export! {
    classifier: Bgp,
    name: "bgp",
    description: "BGP-4 speakers, by their OPEN message, or another one in its place.",
    protocols: ["bgp"],
    max_bytes: MAX_BYTES,
    facts: {
        "as": "the speaker's autonomous system, as a decimal number of up to 32 bits; only with OPEN",
        "router_id": "the speaker's BGP identifier, as `192.0.2.1`; only with OPEN",
    },
    cannot_see: [
        "speakers that wait for the other side's OPEN before they send theirs",
        "BGP over TLS, and whether the number and the identifier are true",
    ],
    examples: [
        Example::bytes(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\x1d\x01\x04\xfd\xe8\0\xb4\xc0\0\x02\x01\0")
            .matches(29).fact("as", "65000").fact("router_id", "192.0.2.1"),
        Example::bytes(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\x15\x03\x06\x05").matches(20),
        Example::bytes(b"\xff\xff\xff\xff\xff\xff\xff\xff").undecided(),
        Example::bytes(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\x1d\x06").rejects(19),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
