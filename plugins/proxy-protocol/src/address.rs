//! Writes the addresses and ports of version 2 as version 1 would have sent them: IPv4 with dots, IPv6 as RFC 5952 has
//! it. Not with the standard library's formatting, which is larger than the rest of the module.

use portsplit_plugin_sdk::prelude::*;

/// The longest address as text: IPv6 that ends in IPv4.
pub(crate) const MAX_TEXT_BYTES: usize = "0000:0000:0000:0000:0000:ffff:255.255.255.255".len();

/// Adds an address of 4 or 16 bytes as a fact.
pub(crate) fn add(name: &str, address: &[u8], facts: &mut Facts) {
    let mut text = Text::<MAX_TEXT_BYTES>::new();
    match (address.as_chunks::<2>().0, address.split_at_checked(12)) {
        (_, Some((b"\0\0\0\0\0\0\0\0\0\0\xff\xff", last))) => {
            text.push("::ffff:");
            push_dotted(&mut text, last);
        }
        (groups, Some(_)) => push_groups(&mut text, groups),
        _ => push_dotted(&mut text, address),
    }
    facts.add(name, text.as_str());
}

/// Adds a port as a fact.
pub(crate) fn add_port(name: &str, port: u16, facts: &mut Facts) {
    let mut text = Text::<5>::new();
    push_number(&mut text, port, 10);
    facts.add(name, text.as_str());
}

fn push_dotted<const N: usize>(text: &mut Text<N>, bytes: &[u8]) {
    for (index, byte) in bytes.iter().enumerate() {
        if index > 0 {
            text.push(".");
        }
        push_number(text, (*byte).into(), 10);
    }
}

/// Eight groups, of which the longest run of two or more zeros, and of equals the first, becomes `::`.
fn push_groups<const N: usize>(text: &mut Text<N>, groups: &[[u8; 2]]) {
    let zeros_from = |start: usize| groups.iter().skip(start).take_while(|group| **group == [0, 0]).count();
    let (mut gap, mut gap_len) = (groups.len(), 1);
    for start in 0..groups.len() {
        if zeros_from(start) > gap_len {
            (gap, gap_len) = (start, zeros_from(start));
        }
    }
    for (index, group) in groups.iter().enumerate() {
        if index == gap {
            text.push("::");
        }
        if (gap..gap + gap_len).contains(&index) {
            continue;
        }
        if index > 0 && index != gap + gap_len {
            text.push(":");
        }
        push_number(text, u16::from_be_bytes(*group), 16);
    }
}

/// Digits in lower case, without leading zeros.
fn push_number<const N: usize>(text: &mut Text<N>, number: u16, base: u16) {
    let mut place = 1;
    while number / place >= base {
        place *= base;
    }
    while place > 0 {
        let digit = usize::from(number / place % base);
        text.push("0123456789abcdef".get(digit..=digit).unwrap_or_default());
        place /= base;
    }
}
