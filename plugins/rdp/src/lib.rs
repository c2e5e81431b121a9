//! The classifier for RDP: the X.224 Connection Request a client sends first (MS-RDPBCGR, section 2.2.1.1).
//!
//! A TPKT header (RFC 1006, section 6) and the fixed part of the request (X.224, section 13.3) with no destination and
//! class 0, their two lengths in agreement; then nothing, or a routing token or cookie that ends with CR LF, or a
//! negotiation request, or both. Other users of this transport name access points in parameters there, whose codes have
//! the upper bit set, so the first byte behind the fixed part tells them apart.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

/// TPKT's header and the length byte of X.224, which X.224's own length leaves out.
const OUTSIDE: u16 = 4 + 1;

/// What the length of X.224 counts of the fixed part: code, two references, class.
const FIXED: u16 = 6;

/// A negotiation request, and the correlation information that can follow it.
const NEGOTIATION: usize = 8;
const CORRELATION: usize = 36;

/// X.224's length is one byte, and 255 is reserved.
const MAX_BYTES: usize = OUTSIDE as usize + 254;

/// The security protocols a client can ask for (MS-RDPBCGR, section 2.2.1.1.1), each with its bit.
const SECURITY: [(u32, &str); 5] =
    [(0x01, "tls"), (0x02, "hybrid"), (0x04, "rdstls"), (0x08, "hybrid-ex"), (0x10, "rdsaad")];

/// Recognises RDP clients; it has nothing to configure.
pub struct Rdp;

impl Classifier for Rdp {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Rdp)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        c.tag(b"\x03\x00")?;
        let inside = c.u16_be_in(OUTSIDE + FIXED..=MAX_BYTES as u16)? - OUTSIDE;
        c.tag(&[inside as u8])?;
        c.limit(inside.into())?;
        c.tag(b"\xe0\x00\x00")?;
        c.skip(2)?; // the client's reference
        c.tag(b"\x00")?;
        if !c.at_end() && c.peek()? != 0x01 {
            routing(&mut c, facts)?;
        }
        if c.at_end() {
            facts.add("security", "rdp");
            return Ok(Match);
        }
        negotiation(&mut c, facts)?;
        Ok(Match)
    }
}

/// `Cookie: mstshash=` and a name, or any other token: what a balancer in front of several servers reads.
fn routing(c: &mut Cursor<'_>, facts: &mut Facts) -> Result<(), Stop> {
    ensure(c.peek()?.is_ascii_graphic())?;
    let line = c.take_until_where(b'\r', MAX_BYTES, |b| b >= b' ' && b != 0x7f)?;
    c.tag(b"\n")?;
    match line.strip_prefix(b"Cookie: mstshash=") {
        Some(name) => facts.add("cookie", name),
        None => facts.add("token", line),
    }
    Ok(())
}

fn negotiation(c: &mut Cursor<'_>, facts: &mut Facts) -> Result<(), Stop> {
    ensure(c.left() == Some(NEGOTIATION) || c.left() == Some(NEGOTIATION + CORRELATION))?;
    c.tag(b"\x01")?;
    c.u8()?; // flags, of which more come with new versions
    c.tag(b"\x08\x00")?;
    let requested = c.u32_le_in(0..=0xff)?;
    if requested == 0 {
        facts.add("security", "rdp");
    }
    for (bit, name) in SECURITY {
        if requested & bit != 0 {
            facts.add("security", name);
        }
    }
    Ok(())
}

portsplit_plugin_sdk::export! {
    classifier: Rdp,
    name: "rdp",
    description: "RDP (Remote Desktop) clients, by their connection request.",
    protocols: ["rdp"],
    max_bytes: MAX_BYTES,
    facts: {
        "cookie": "the name in the `mstshash` cookie: the user, often cut to nine characters, or what was configured",
        "token": "any other routing token, such as `Cookie: msts=3640205228.15629.0000`, without its line end",
        "security": "each protocol the client offers: `tls`, `hybrid`, `rdstls`, `hybrid-ex`, `rdsaad`; or `rdp` if none",
    },
    cannot_see: [
        "user name, domain and password, which come later and encrypted; the cookie's name is only what the client says",
        "RDP through a gateway, which is HTTP or TLS, and RDP over UDP",
    ],
    examples: [
        Example::bytes(b"\x03\x00\x00\x2b\x26\xe0\x00\x00\x00\x00\x00Cookie: mstshash=alice\r\n\x01\x00\x08\x00\x03\x00")
            .undecided(),
        Example::bytes(b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x0b\x00\x00\x00")
            .matches(19).fact("security", "tls").fact("security", "hybrid").fact("security", "hybrid-ex"),
        Example::bytes(b"\x03\x00\x00\x0b\x06\xe0\x00\x00\x00\x00\x00").matches(11).fact("security", "rdp"),
        Example::bytes(b"\x03\x00\x00\x16\x11\xe0\x00\x00\x00\x01\x00\xc0").rejects(12),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
