//! The classifier for Modbus/TCP: the first request of a client (Modbus Messaging on TCP/IP Implementation Guide 1.0b,
//! section 3.1.3; Modbus Application Protocol 1.1b3, section 6).
//!
//! A transaction's number, the protocol 0, a length, the unit, the function. What a function fixes is checked, above all
//! that the length fits it. Functions for users fix nothing: there the protocol, the length below 255 and the function
//! are all there is. Who tries functions that do not exist is recognised as long as there is little behind them; so is an
//! error, which is what a server answers, because nothing else looks like it.
#![cfg_attr(target_arch = "wasm32", no_std)]

mod function;

use portsplit_plugin_sdk::prelude::*;

/// The bytes a length counts at least, unit and function, and at most.
const LENGTHS: core::ops::RangeInclusive<u16> = 2..=254;

/// The header, and as much of a request as any function is checked by.
const MAX_BYTES: usize = 6 + 2 + function::MAX_CHECKED_BYTES;

/// Recognises Modbus clients; it has nothing to configure.
pub struct Modbus;

impl Classifier for Modbus {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Modbus)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        let transaction = c.take(2)?;
        c.tag(b"\x00\x00")?;
        let len = c.u16_be_in(LENGTHS)?;
        c.limit(len.into())?;
        let unit = c.u8()?;
        let code = c.u8()?;
        ensure((unit, code) != (0, 0))?; // more zeros, which many other protocols have here
        ensure(!is_lumberjack(transaction, unit, code))?;
        function::check(&mut c, code)?;
        facts.add_number("unit", unit.into());
        facts.add_number("function", code.into());
        Ok(Match)
    }
}

/// Whether this is how Lumberjack begins, which Beats speak: the version as a digit, `W`, a number of events as four
/// bytes, and a frame with the version again, compressed, with data or with JSON.
fn is_lumberjack(transaction: &[u8], unit: u8, code: u8) -> bool {
    matches!(transaction, [b'1' | b'2', b'W'])
        && transaction.first() == Some(&unit)
        && matches!(code, b'C' | b'D' | b'J')
}

portsplit_plugin_sdk::export! {
    classifier: Modbus,
    name: "modbus",
    description: "Modbus/TCP clients, by their first request.",
    protocols: ["modbus"],
    max_bytes: MAX_BYTES,
    facts: {
        "unit": "the unit the request is for, 0 to 255",
        "function": "the function's number, such as `3` to read holding registers, `43` to identify the device, `90` for \
                     Schneider's UMAS",
    },
    cannot_see: [
        "Modbus RTU or ASCII sent over TCP as on a serial line, without the header of Modbus/TCP",
        "Modbus/TCP Security, which is TLS",
        "with functions for users (65 to 72, 100 to 110) and with 90, more than the header: another protocol that has zeros \
         in bytes 3 to 5 could be taken for one",
        "other functions that do not exist, with more than four bytes of data",
    ],
    examples: [
        Example::bytes(b"\x00\x01\x00\x00\x00\x06\x01\x03\x00\x00\x00\x0a").matches(8).fact("unit", "1").fact("function", "3"),
        Example::bytes(b"\x00\x01\x00\x00\x00\x05\x01\x2b\x0e\x01\x00").matches(9).fact("function", "43"),
        Example::bytes(b"\x00\x01\x00\x00\x00\x07\x01\x03\x00\x00\x00\x0a\x00").rejects(8),
        Example::bytes(b"\x03\x00\x00\x13\x0e\xe0").rejects(4),
        Example::bytes(b"\x00\x01\x00\x00\x00").undecided(),
        Example::text("GET / HTTP/1.1\r\n").rejects(3),
    ],
}
