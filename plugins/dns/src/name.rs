//! Names and types of records as zone files write them (RFC 1035, section 5.1; RFC 4343, section 2.1; RFC 3597).

/// The most bytes of a name on the wire, its root label included (RFC 1035, section 2.3.4).
pub(crate) const MAX_BYTES: usize = 255;

/// A byte that has to be escaped takes four: `\255`.
const MAX_TEXT_BYTES: usize = 4 * MAX_BYTES;

/// The text of a name, label by label.
pub(crate) struct Name {
    text: [u8; MAX_TEXT_BYTES],
    len: usize,
    /// How many bytes the name may still have on the wire, before the root label.
    left: usize,
}

impl Name {
    pub(crate) fn new() -> Name {
        Name { text: [0; MAX_TEXT_BYTES], len: 0, left: MAX_BYTES - 1 }
    }

    /// The longest label that may come next.
    pub(crate) fn room(&self) -> usize {
        self.left.saturating_sub(1)
    }

    pub(crate) fn push(&mut self, label: &[u8]) {
        self.left = self.left.saturating_sub(1 + label.len());
        if self.len > 0 {
            self.byte(b'.');
        }
        for byte in label {
            match byte.to_ascii_lowercase() {
                special @ (b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$') => {
                    self.byte(b'\\');
                    self.byte(special);
                }
                plain if plain.is_ascii_graphic() => self.byte(plain),
                other => {
                    self.byte(b'\\');
                    self.byte(b'0' + other / 100);
                    self.byte(b'0' + other / 10 % 10);
                    self.byte(b'0' + other % 10);
                }
            }
        }
    }

    fn byte(&mut self, byte: u8) {
        if let Some(place) = self.text.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self.len {
            0 => b".",
            len => self.text.get(..len).unwrap_or_default(),
        }
    }
}

/// The text of a type, with room for the longest.
pub(crate) struct Type {
    text: [u8; 10],
    len: usize,
}

impl Type {
    pub(crate) fn new(kind: u16) -> Type {
        let mut text = *b"TYPE\0\0\0\0\0\0";
        if let Some((_, name)) = KNOWN.iter().find(|(number, _)| *number == kind) {
            for (place, byte) in text.iter_mut().zip(name.bytes()) {
                *place = byte;
            }
            return Type { text, len: name.len() };
        }
        let mut len = 4;
        for unit in [10_000, 1000, 100, 10, 1] {
            if kind >= unit
                && let Some(place) = text.get_mut(len)
            {
                *place = b'0' + (kind / unit % 10) as u8;
                len += 1;
            }
        }
        Type { text, len }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.text.get(..self.len).unwrap_or_default()
    }
}

/// Those of the registry's types that clients ask for today, all with at most ten letters.
const KNOWN: [(u16, &str); 43] = [
    (1, "A"),
    (2, "NS"),
    (5, "CNAME"),
    (6, "SOA"),
    (12, "PTR"),
    (13, "HINFO"),
    (15, "MX"),
    (16, "TXT"),
    (17, "RP"),
    (18, "AFSDB"),
    (24, "SIG"),
    (25, "KEY"),
    (28, "AAAA"),
    (29, "LOC"),
    (33, "SRV"),
    (35, "NAPTR"),
    (37, "CERT"),
    (39, "DNAME"),
    (41, "OPT"),
    (43, "DS"),
    (44, "SSHFP"),
    (46, "RRSIG"),
    (47, "NSEC"),
    (48, "DNSKEY"),
    (50, "NSEC3"),
    (51, "NSEC3PARAM"),
    (52, "TLSA"),
    (53, "SMIMEA"),
    (59, "CDS"),
    (60, "CDNSKEY"),
    (61, "OPENPGPKEY"),
    (62, "CSYNC"),
    (63, "ZONEMD"),
    (64, "SVCB"),
    (65, "HTTPS"),
    (99, "SPF"),
    (249, "TKEY"),
    (250, "TSIG"),
    (251, "IXFR"),
    (252, "AXFR"),
    (255, "ANY"),
    (256, "URI"),
    (257, "CAA"),
];
