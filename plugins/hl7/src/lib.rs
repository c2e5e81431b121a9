//! The classifier for HL7 version 2 over MLLP: a block's start and the header of the message or batch in it (HL7
//! Version 2.5, section 2.15.9 "MSH"; Transport Specification: MLLP, Release 1; Implementation Guide, appendix C).
//!
//! The byte 0b, `MSH`, a separator, the encoding characters and the separator again: 40 fixed bits and some that are
//! nearly so. It is recognised behind the message's type, the ninth field of a header, which is the last one of
//! interest. Some senders leave MLLP out, for HL7 asks for no particular transport; without the start of a block the
//! separators have to be the recommended ones, `MSH|^~\&`.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

/// The start of a block.
const START: u8 = 0x0b;

/// The most bytes looked at: the block's start, and the fields up to the type.
const MAX_BYTES: usize = 2048;

/// The longest field that is read to its end: names of applications have up to 227 bytes. Behind a longer one nothing
/// is looked for.
const MAX_FIELD_BYTES: usize = 255;

/// The most encoding characters: four, since 2.7 five. Some senders leave out those they do not use.
const MAX_ENCODING_BYTES: usize = 5;

/// The fields behind the encoding characters, up to the type, and the facts they are.
const FIELDS: [Option<&str>; 7] = [
    Some("sending_application"),
    Some("sending_facility"),
    Some("receiving_application"),
    Some("receiving_facility"),
    None, // date and time
    None, // security
    Some("type"),
];

/// Recognises HL7 clients; it has nothing to configure.
pub struct Hl7;

impl Classifier for Hl7 {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Hl7)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        if c.peek()? == START {
            c.skip(1)?;
        } else {
            let mut ahead = c;
            ahead.tag(b"MSH|^~\\&")?;
        }
        let message = c.one_of(&[b"MSH", b"FHS", b"BHS"])? == 0;
        let separator = c.u8_where(|b| b.is_ascii_punctuation())?;
        let encoding = c.take_until_where(separator, MAX_ENCODING_BYTES, |b| b.is_ascii_punctuation())?;
        ensure(!encoding.is_empty())?;
        for fact in FIELDS {
            let Some((value, last)) = field(&mut c, separator)? else { break };
            // In the header of a file or a batch there is something else where the type is.
            if let Some(fact) = fact.filter(|fact| !value.is_empty() && (message || *fact != "type")) {
                facts.add(fact, value);
            }
            if last {
                break;
            }
        }
        Ok(Match)
    }
}

/// Reads a field and the separator or the CR behind it, and says whether it was the CR, the segment's end. `None` if
/// the field is too long.
fn field<'a>(c: &mut Cursor<'a>, separator: u8) -> Result<Option<(&'a [u8], bool)>, Stop> {
    let is_end = |b: u8| b == separator || b == b'\r' || b == b'\n';
    let Some(value) = c.take_short(MAX_FIELD_BYTES, |b| is_text(b) && !is_end(b))? else { return Ok(None) };
    let end = c.u8_where(is_end)?;
    Ok(Some((value, end != separator)))
}

/// Whether a byte can be in a field: of any encoding, but no control character.
fn is_text(byte: u8) -> bool {
    byte >= b' ' && byte != 0x7f
}

portsplit_plugin_sdk::export! {
    classifier: Hl7,
    name: "hl7",
    description: "HL7 version 2 over MLLP or without it, by the header segment of the first message or batch.",
    protocols: ["hl7"],
    max_bytes: MAX_BYTES,
    facts: {
        "sending_application": "the application the message comes from (MSH-3)",
        "sending_facility": "its facility (MSH-4)",
        "receiving_application": "the application the message is for (MSH-5)",
        "receiving_facility": "its facility (MSH-6)",
        "type": "the message's type, such as `ADT^A01^ADT_A01` (MSH-9)",
    },
    cannot_see: [
        "messages without MLLP's start of a block that have other separators than `|^~\\&`, and those of HL7 version 3, \
         which are XML",
        "messages in UTF-16 or UTF-32",
    ],
    examples: [
        Example::text("\x0bMSH|^~\\&|LAB|WARD|EHR|WARD|20240101120000||ORU^R01|1|P|2.5\r")
            .matches(52).fact("sending_application", "LAB").fact("type", "ORU^R01"),
        Example::text("\x0bMSH|^~\\&|LAB|WARD").undecided(),
        Example::text("\x0bMSH|^~\\&LAB").rejects(10),
        Example::text("MSH|^~\\&|LAB|WARD\r").matches(18).fact("sending_application", "LAB"),
        Example::text("MSH^~|\\&^LAB").rejects(4),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
