//! The classifier for SSH: the identification line a client sends first (RFC 4253, section 4.2).
//!
//! `SSH-` version `-` software, optionally a space and comments, CR LF, at most 255 bytes in all. The line is
//! recognised when it is complete, because the software's name is a fact and goes on until then. Where no byte will
//! follow, or the line is longer, it is recognised without that: nothing else begins like it.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

/// The most bytes looked at: the longest line, CR LF included.
const MAX_BYTES: usize = 255;

/// Recognises SSH clients; it has nothing to configure.
pub struct Ssh;

impl Classifier for Ssh {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Ssh)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        c.tag(b"SSH-")?;
        let start = c.position();
        // 2.0, 1.99 (both versions) or the 1.3 and 1.5 of old clients.
        c.u8_in(b'1'..=b'2')?;
        c.tag(b".")?;
        c.u8_where(|b| b.is_ascii_digit())?;
        c.take_until_where(b'-', 1, |b| b.is_ascii_digit())?;
        let version = input.bytes.get(start..c.position() - 1).unwrap_or_default();
        // The standard has no `-` here; enough clients do. Comments may be UTF-8.
        ensure(c.peek()?.is_ascii_graphic())?;
        let line = c.line_where(MAX_BYTES, |b| b >= b' ' && b != 0x7f);
        facts.add("version", version);
        match line {
            Ok(line) => facts.add("software", line.split(|b| *b == b' ').next().unwrap_or_default()),
            Err(NeedMore(_)) if input.is_last() || input.bytes.len() >= MAX_BYTES => {}
            Err(stop) => return Err(stop),
        }
        Ok(Match)
    }
}

portsplit_plugin_sdk::export! {
    classifier: Ssh,
    name: "ssh",
    description: "SSH clients that send their identification line first.",
    protocols: ["ssh"],
    max_bytes: MAX_BYTES,
    facts: {
        "version": "the protocol version, `2.0` or rarely `1.99` or `1.5`",
        "software": "the client's software, such as `OpenSSH_9.6`; missing if its line has no end in 255 bytes",
    },
    cannot_see: [
        "clients that wait for the server's line before they send theirs",
        "the user name, the host name and the commands, which come encrypted or not at all",
    ],
    examples: [
        Example::text("SSH-2.0-OpenSSH_9.6\r\n").matches(21).fact("version", "2.0").fact("software", "OpenSSH_9.6"),
        Example::text("SSH-2.0-PuTTY_Release_0.81 x64 build\r\n").matches(38).fact("software", "PuTTY_Release_0.81"),
        Example::text("SSH-1.5-old\n").matches(12).fact("version", "1.5"),
        Example::text("SSH-2.0-OpenSSH_9.6").undecided(),
        Example::text("SSH-2.0-\r\n").rejects(9),
        Example::text("SSH-3").rejects(5),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}

#[cfg(test)]
mod tests;
