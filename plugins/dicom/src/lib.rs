//! The classifier for DICOM: the A-ASSOCIATE-RQ that a client begins with (DICOM PS3.8, section 9.3.2).
//!
//! Type, a length, the protocol's version, and the titles of the called and the calling application entity, 16
//! characters each. It is recognised behind the titles: more than 40 fixed bits, and 32 bytes that have to be text. One of
//! the titles may be empty, although neither should be.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

/// The most bytes looked at: type and length, and the fixed fields up to the calling title.
const MAX_BYTES: usize = 6 + 4 + 2 * TITLE_BYTES;

const TITLE_BYTES: usize = 16;

/// The fixed fields, and the least application context.
const MIN_REQUEST_BYTES: u32 = 68 + 4 + 1;

/// The longest request: 128 presentation contexts, each with many transfer syntaxes, have some ten kilobytes.
const MAX_REQUEST_BYTES: u32 = 1 << 20;

/// Recognises DICOM clients; it has nothing to configure.
pub struct Dicom;

impl Classifier for Dicom {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Dicom)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        c.tag(b"\x01\0")?;
        c.u32_be_in(MIN_REQUEST_BYTES..=MAX_REQUEST_BYTES)?;
        c.tag(b"\0")?; // no version but the first is defined, and it is a bit
        c.u8_where(|versions| versions & 1 == 1)?;
        c.skip(2)?; // reserved, and not to be tested
        let called = title(&mut c)?;
        let calling = title(&mut c)?;
        ensure(!called.is_empty() || !calling.is_empty())?;
        for (name, title) in [("called", called), ("calling", calling)] {
            if !title.is_empty() {
                facts.add(name, title);
            }
        }
        Ok(Match)
    }
}

/// Reads a title: text without a backslash, which should be ASCII, with spaces around it that do not count. Some clients
/// fill it up with zero bytes.
fn title<'a>(c: &mut Cursor<'a>) -> Result<&'a [u8], Stop> {
    let text = c.part(TITLE_BYTES, |c| {
        let text = c.take_while(TITLE_BYTES, |b| b >= b' ' && b != 0x7f && b != b'\\')?;
        c.take_while(TITLE_BYTES, |b| b == 0)?;
        Ok(text)
    })?;
    Ok(text.trim_ascii())
}

portsplit_plugin_sdk::export! {
    classifier: Dicom,
    name: "dicom",
    description: "DICOM clients (medical imaging), by the association request they begin with.",
    protocols: ["dicom"],
    max_bytes: MAX_BYTES,
    facts: {
        "called": "the title of the application entity the client wants",
        "calling": "the client's own title",
    },
    cannot_see: ["what the client wants to do, for its list of services is not read", "DICOM over TLS, which is TLS"],
    examples: [
        Example::bytes(b"\x01\0\0\0\0\xcd\0\x01\0\0ARCHIVE         SCANNER-1       \0\0\0\0")
            .matches(42).fact("called", "ARCHIVE").fact("calling", "SCANNER-1"),
        Example::bytes(b"\x01\0\0\0\0\xcd\0\x01\0\0ARCH").undecided(),
        Example::bytes(b"\x01\0\0\0\0\xcd\0\x01\0\0                                ").rejects(42),
        Example::bytes(b"\x01\0\0\0\0\xcd\0\x02").rejects(8),
        Example::bytes(b"\x02\0").rejects(1),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
