//! A detector for a small home-grown protocol. A client opens with
//!
//! ```text
//! KNK | version, 1 or 2 | in version 2: 4 bytes of any value | length, 1 to 32 | a name of a-z 0-9 - in that length
//! ```
//!
//! The name becomes a fact. The configuration `{"version": 2}` asks for that version only.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

config! {
    /// What is recognised.
    pub struct Settings {
        /// The version asked for, 1 or 2; any if it is left out.
        version: Option<u8> = None,
    }
}

/// The detector, with its configuration.
pub struct Detector(Settings);

impl Classifier for Detector {
    type Config = Settings;

    fn new(settings: Settings) -> Result<Self, ConfigError> {
        match settings.version {
            None | Some(1 | 2) => Ok(Detector(settings)),
            Some(_) => Err(ConfigError::new("must be 1 or 2").at("version")),
        }
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        c.tag(b"KNK")?;
        let version = c.u8_in(1..=2)?;
        ensure(self.0.version.is_none_or(|wanted| version == wanted))?;
        if version == 2 {
            c.skip(4)?;
        }
        let len = c.u8_in(1..=32)?;
        facts.add("name", c.part(len.into(), |c| c.take_while(32, in_name))?);
        Ok(Match)
    }
}

fn in_name(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')
}

export! {
    classifier: Detector,
    name: "knock",
    description: "A small home-grown protocol.",
    protocols: ["knock"],
    max_bytes: 41,
    facts: { "name": "the name the client gives" },
    examples: [
        Example::bytes(b"KNK\x01\x05alice").matches(10).fact("name", "alice"),
        Example::bytes(b"KNK\x02\0\0\0\x01\x05alice").config(r#"{"version": 2}"#).matches(14).fact("name", "alice"),
        Example::bytes(b"KNK\x01\x05alice").config(r#"{"version": 2}"#).rejects(4),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_at_its_last_byte() {
        let any = portsplit_plugin().configure("{}").unwrap();
        let decided = any.decide(b"KNK\x01\x05alice and more");
        assert_eq!((decided.verdict, decided.at), (Verdict::Match, 10));
        assert_eq!(decided.fact("name").as_deref(), Some("alice"));
        assert_eq!(any.decide(b"KNK\x01\x21").at, 5); // too long, known before the name has come
    }

    #[test]
    fn a_version_that_does_not_exist_cannot_be_asked_for() {
        let error = portsplit_plugin().configure(r#"{"version": 3}"#).unwrap_err();
        assert_eq!(error.to_string(), "`version` must be 1 or 2");
    }
}
