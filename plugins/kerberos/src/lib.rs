//! The classifier for Kerberos 5 over TCP: a request to the key distribution centre (RFC 4120, sections 5.4.1 and 7.2.2).
//!
//! Four bytes of length, which clients often send by themselves; then `AS-REQ` or `TGS-REQ` in DER: application tag 10 or
//! 12, a sequence, version 5 and the type of message once more. Each of the three lengths counts exactly the rest. The
//! realm stands behind the data for pre-authentication, which in a TGS-REQ holds a whole ticket: it becomes a fact only
//! where it is near enough. Where no byte will follow, a request that is cut before it is one as well.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

/// The least request: headers, options, realm, end, nonce and one encryption type, in their shortest forms.
const MIN_REQUEST_BYTES: u32 = 60;

/// The longest request. Servers take less (MIT 1 MiB, Windows 64 KiB by default).
const MAX_REQUEST_BYTES: u32 = 4 << 20;

/// The most bytes of pre-authentication data that are waited for to see the realm behind. A password's takes some 100;
/// more is a certificate, an armoured exchange or a ticket.
const MAX_DATA_BYTES: u32 = 1024;

/// The longest client name and realm that are read.
const MAX_NAME_BYTES: u32 = 512;
const MAX_REALM_BYTES: u32 = 255;

/// The most bytes looked at: what the limits above allow, and the headers.
const MAX_BYTES: usize = (MAX_DATA_BYTES + MAX_NAME_BYTES + MAX_REALM_BYTES) as usize + 128;

/// Recognises Kerberos clients; it has nothing to configure.
pub struct Kerberos;

impl Classifier for Kerberos {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Kerberos)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        let len = c.u32_be_in(MIN_REQUEST_BYTES..=MAX_REQUEST_BYTES)?;
        c.limit(len as usize)?;
        let (tag, name) = match c.one_of(&[b"\x6a", b"\x6c"])? {
            0 => (10, "as-req"),
            _ => (12, "tgs-req"),
        };
        c.ber_len_to_end()?;
        c.tag(b"\x30")?;
        c.ber_len_to_end()?;
        c.tag(b"\xa1\x03\x02\x01\x05\xa2\x03\x02\x01")?;
        c.tag(&[tag])?;
        facts.add("message", name);
        match rest(&mut c, facts) {
            Err(NeedMore(_)) if input.is_last() => Ok(Match),
            answer => answer,
        }
    }
}

/// Reads what stands behind the message's type, as far as the realm.
fn rest(c: &mut Cursor<'_>, facts: &mut Facts) -> Answer {
    if c.one_of(&[b"\xa3", b"\xa4"])? == 0 {
        let data = c.ber_len_in(2..=u32::MAX)?;
        if data > MAX_DATA_BYTES {
            return Ok(Match);
        }
        c.skip(data as usize)?;
        c.tag(b"\xa4")?;
    }
    body(c, facts)
}

/// Reads the request's body up to the realm: options, the client's name where there is one, the realm.
fn body(c: &mut Cursor<'_>, facts: &mut Facts) -> Answer {
    c.ber_len_to_end()?;
    c.tag(b"\x30")?;
    c.ber_len_to_end()?;
    c.tag(b"\xa0")?;
    let options = c.ber_len_in(3..=16)?; // 32 flags, or more, in a bit string
    c.skip(options as usize)?;
    if c.one_of(&[b"\xa1", b"\xa2"])? == 0 {
        let client = c.ber_len_in(2..=u32::MAX)?;
        if client > MAX_NAME_BYTES {
            return Ok(Match);
        }
        c.skip(client as usize)?;
        c.tag(b"\xa2")?;
    }
    let realm = c.ber_len_in(2..=u32::MAX)?;
    if realm <= MAX_REALM_BYTES {
        c.part(realm as usize, |c| {
            c.tag(b"\x1b")?;
            let len = c.ber_len_to_end()?;
            facts.add("realm", c.take(len as usize)?);
            Ok(())
        })?;
    }
    Ok(Match)
}

portsplit_plugin_sdk::export! {
    classifier: Kerberos,
    name: "kerberos",
    description: "Kerberos 5 clients over TCP that ask the key distribution centre for a ticket.",
    protocols: ["kerberos"],
    max_bytes: MAX_BYTES,
    facts: {
        "message": "`as-req`, the first request of a log-in, or `tgs-req`, for a ticket to a service",
        "realm": "the realm asked, such as `EXAMPLE.ORG`; missing behind more than 1024 bytes of pre-authentication data, \
                  which nearly every `tgs-req` has",
    },
    cannot_see: [
        "Kerberos inside other protocols, such as the AP-REQ in LDAP or SMB, and the proxy of MS-KKDCP, which is HTTP",
        "changes of a password (kpasswd) and administration (kadmin), which are protocols of their own",
        "the extension that begins with a length over 2^31, such as STARTTLS of RFC 6251",
    ],
    examples: [
        Example::bytes(b"\x00\x00\x00\x62").undecided(),
        Example::bytes(b"\x00\x00\x00\x62\x6a\x60\x30\x5e\xa1\x03\x02\x01\x05\xa2\x03\x02\x01\x0a").undecided(),
        Example::bytes(b"\x00\x00\x00\x62\x6a\x60\x30\x5e\xa1\x03\x02\x01\x05\xa2\x03\x02\x01\x0c").rejects(18),
        Example::bytes(b"\x00\x00\x00\x62\x6a\x61").rejects(6),
        Example::bytes(b"\x00\x00\x00\x62\x6e").rejects(5),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
