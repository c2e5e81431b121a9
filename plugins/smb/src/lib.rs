//! The classifier for SMB: the negotiation a client sends first, in the form of SMB 1 (MS-CIFS, section 2.2.4.52.1) or of
//! SMB 2 and 3 (MS-SMB2, section 2.2.3), and the session request of NetBIOS before it (RFC 1002, section 4.3.2).
//!
//! A message has a length in front, `FF` or `FE` and `SMB`, a header of a fixed size that says it is a request, and the
//! list of dialects, whose count has to fit the length. On port 139 a client first asks for a session by NetBIOS names
//! and waits for the answer; the names' lengths have to add up. A request other than the negotiation is SMB too, from a
//! client that goes on where it was, encrypted or compressed maybe (MS-SMB2, sections 2.2.41 and 2.2.42); only its
//! header is read. Where no byte will follow, a negotiation that is cut behind its header's flags is one as well.
#![cfg_attr(target_arch = "wasm32", no_std)]

mod dialects;
mod session;

use portsplit_plugin_sdk::prelude::*;

/// The most bytes looked at: a header and the longest list of dialects that is read.
const MAX_BYTES: usize = 4 + 35 + dialects::MAX_LIST_BYTES;

/// The fixed sizes of the headers, and of what a request has at least behind them.
const SMB1_HEADER: u32 = 32;
const SMB1_LEAST: u32 = SMB1_HEADER + 1 + 2;
const SMB2_HEADER: u32 = 64;
const SMB2_LEAST: u32 = SMB2_HEADER + 4;

/// The header in front of an encrypted message.
const ENCRYPTED_HEADER: usize = 52;

/// Recognises SMB clients; it has nothing to configure.
pub struct Smb;

impl Classifier for Smb {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Smb)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        if c.one_of(&[b"\x00", b"\x81"])? == 1 {
            return session::request(c, facts);
        }
        let len = c.u24_be_in(SMB1_LEAST..=0xff_ffff)?;
        c.limit(len as usize)?;
        match c.one_of(&[b"\xffSMB", b"\xfeSMB", b"\xfdSMB", b"\xfcSMB"])? {
            0 => smb1(c, input.is_last(), facts),
            1 => smb2(c, input.is_last(), facts),
            2 => encrypted(c, facts),
            _ => compressed(c, facts),
        }
    }
}

fn smb1(mut c: Cursor<'_>, is_last: bool, facts: &mut Facts) -> Answer {
    let negotiates = c.u8_where(is_smb1_command)? == 0x72;
    c.skip(4)?; // status
    c.u8_where(|flags| flags & 0x80 == 0)?; // the upper flag marks an answer
    if !negotiates {
        facts.add("dialect", "smb1");
        return Ok(Match);
    }
    match smb1_negotiation(c, facts) {
        Err(NeedMore(_)) if is_last => Ok(Match),
        answer => answer,
    }
}

fn smb1_negotiation(mut c: Cursor<'_>, facts: &mut Facts) -> Answer {
    c.skip(22)?; // more flags, signature, identifiers
    c.tag(b"\x00")?; // no parameters
    let most = c.left().unwrap_or(0).saturating_sub(2).min(u16::MAX.into()) as u16;
    let list = c.u16_le_in(3..=most)?;
    c.limit(list.into())?;
    dialects::of_smb1(c, facts)
}

/// Whether a request can have this code (MS-CIFS, section 2.2.2.1).
fn is_smb1_command(code: u8) -> bool {
    matches!(code, 0..=0x14 | 0x1a..=0x35 | 0x70..=0x75 | 0x80..=0x84 | 0xa0..=0xa5 | 0xc0..=0xc3)
}

fn smb2(mut c: Cursor<'_>, is_last: bool, facts: &mut Facts) -> Answer {
    ensure(c.left() >= Some((SMB2_LEAST - 4) as usize))?;
    c.tag(b"\x40\x00")?; // the header's size
    c.skip(6)?; // credits charged, channel
    let negotiates = c.u16_le_in(0..=0x12)? == 0;
    c.skip(2)?; // credits wanted
    c.u8_where(|flags| flags & 1 == 0)?; // the lowest flag marks an answer
    if !negotiates {
        facts.add("dialect", "smb2");
        return Ok(Match);
    }
    match smb2_negotiation(c, facts) {
        Err(NeedMore(_)) if is_last => Ok(Match),
        answer => answer,
    }
}

fn smb2_negotiation(mut c: Cursor<'_>, facts: &mut Facts) -> Answer {
    c.skip(3 + 4 + 8 + 8 + 8 + 16)?; // more flags, next command, identifiers, signature
    c.tag(b"\x24\x00")?; // the request's size
    let most = c.left().unwrap_or(0).saturating_sub(34) / 2;
    let count = c.u16_le_in(1..=most.min(u16::MAX.into()) as u16)?;
    c.skip(2 + 2 + 4 + 16 + 8)?; // security mode, capabilities, client, start time or contexts
    dialects::of_smb2(c, count, facts)
}

fn encrypted(mut c: Cursor<'_>, facts: &mut Facts) -> Answer {
    let message = c.left().unwrap_or(0).checked_sub(ENCRYPTED_HEADER - 4).ok_or(Reject)? as u32;
    c.skip(16 + 16)?; // signature, nonce
    c.u32_le_in(message..=message)?;
    c.tag(b"\x00\x00\x01\x00")?; // reserved, and that it is encrypted
    facts.add("dialect", "smb3");
    Ok(Match)
}

fn compressed(mut c: Cursor<'_>, facts: &mut Facts) -> Answer {
    c.u32_le_in(SMB2_LEAST..=0xff_ffff)?; // the size it had
    c.u16_le_in(0..=5)?; // how it was compressed
    c.u16_le_in(0..=1)?; // whether in several ways
    facts.add("dialect", "smb3");
    Ok(Match)
}

portsplit_plugin_sdk::export! {
    classifier: Smb,
    name: "smb",
    description: "SMB 1, 2 and 3 clients, by their negotiation or, on port 139, their NetBIOS session request.",
    protocols: ["smb"],
    max_bytes: MAX_BYTES,
    facts: {
        "dialect": "the newest family of dialects offered: `smb1`, `smb2` or `smb3`; a client that begins in the form of \
                    SMB 1 and offers `SMB 2.???` counts as `smb2`, though it may negotiate 3 afterwards",
        "called": "the NetBIOS name of the server a session request asks for, such as `*SMBSERVER`",
        "calling": "the client's NetBIOS name in a session request",
    },
    cannot_see: [
        "shares, users and files, which come later",
        "the dialect behind a NetBIOS session request, because the client waits for an answer first",
        "SMB over QUIC, and SMB over RDMA",
    ],
    examples: [
        Example::bytes(b"\x00\x00\x00\x2f\xffSMB\x72\0\0\0\0\x18\x53\xc8\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xff\xfe\0\0\0\0\
            \x00\x0c\x00\x02NT LM 0.12\x00").matches(51).fact("dialect", "smb1"),
        Example::bytes(b"\x81\x00\x00\x44\x20CKFDENECFDEFFCFGEFFCCACACACACACA\x00\x20EBEMEJEDEFCACACACACACACACACACAAA\x00")
            .matches(72).fact("called", "*SMBSERVER").fact("calling", "ALICE"),
        Example::bytes(b"\x00\x00\x00\xb0\xfeSMB\x40\x00").undecided(),
        Example::bytes(b"\x00\x00\x00\xb0\xfeSMC").rejects(8),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
