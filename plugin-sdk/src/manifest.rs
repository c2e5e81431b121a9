//! What a plugin says about itself, and the JSON it becomes at compile time.
//!
//! [`export!`](crate::export!) fills in a [`Manifest`] and puts its JSON into the section `portsplit.manifest`; the host
//! shows it, checks configurations against it and runs its examples.

mod write;

pub use self::write::{JsonText, manifest_json};

use crate::Schema;

/// What a plugin says about itself. [`export!`](crate::export!) makes one.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::{JsonText, Manifest, Schema, manifest_json};
///
/// const MANIFEST: Manifest = Manifest {
///     name: "ping",
///     version: "0.1.0",
///     description: "A greeting.",
///     protocols: &["ping"],
///     max_bytes: 4,
///     facts: &[],
///     cannot_see: &[],
///     config: Schema::Table { keys: &[] },
///     examples: &[],
/// };
/// const LEN: usize = manifest_json::<0>(&MANIFEST).len();
/// const JSON: JsonText<LEN> = manifest_json(&MANIFEST);
/// assert!(JSON.as_str().starts_with(r#"{"name":"ping","version":"0.1.0","abi":"1.0","#));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Manifest {
    /// `[a-z][a-z0-9_-]{0,31}`.
    pub name: &'static str,
    /// The plugin's version, such as `0.1.0`.
    pub version: &'static str,
    /// One sentence.
    pub description: &'static str,
    /// The protocols it recognises.
    pub protocols: &'static [&'static str],
    /// The most bytes it ever looks at. It needs no more to decide, and is never shown more.
    pub max_bytes: usize,
    /// The facts it can learn.
    pub facts: &'static [FactSpec],
    /// What it does not see or cannot tell apart, a sentence each.
    pub cannot_see: &'static [&'static str],
    /// Its configuration.
    pub config: Schema,
    /// Inputs and the verdict each must get.
    pub examples: &'static [Example],
}

/// A fact a plugin can learn.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::FactSpec;
/// let spec = FactSpec { name: "sni", description: "the server's name, in lower case" };
/// assert_eq!(spec.name, "sni");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct FactSpec {
    /// `[a-z][a-z0-9_.-]{0,31}`.
    pub name: &'static str,
    /// One sentence or less.
    pub description: &'static str,
}

/// An input and the verdict it must get. `portsplit plugin test` runs them and `inspect` prints them.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::Example;
///
/// const EXAMPLES: &[Example] = &[
///     Example::text("SSH-2.0-OpenSSH_9.6\r\n").matches(21).fact("version", "2.0"),
///     Example::text("GET / HTTP/1.1\r\n").rejects(1),
///     Example::bytes(b"\x16\x03\x01").rejects(1),
///     Example::text("SSH-2").undecided(),
/// ];
/// assert_eq!(EXAMPLES.len(), 4);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Example {
    input: ExampleInput,
    verdict: &'static str,
    at: Option<usize>,
    facts: [(&'static str, &'static str); MAX_EXAMPLE_FACTS],
    fact_count: usize,
    config: Option<&'static str>,
}

/// The most facts an example can list.
const MAX_EXAMPLE_FACTS: usize = crate::MAX_FACTS;

#[derive(Clone, Copy, Debug)]
enum ExampleInput {
    Text(&'static str),
    Bytes(&'static [u8]),
}

impl Example {
    /// An input that reads well as text.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portsplit_plugin_sdk::Example;
    /// const HELLO: Example = Example::text("HELO x\r\n").matches(8);
    /// ```
    pub const fn text(text: &'static str) -> Example {
        Example::new(ExampleInput::Text(text))
    }

    /// An input of any bytes, such as those of `include_bytes!`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portsplit_plugin_sdk::Example;
    /// const HELLO: Example = Example::bytes(b"\x05\x01\x00").matches(3);
    /// ```
    pub const fn bytes(bytes: &'static [u8]) -> Example {
        Example::new(ExampleInput::Bytes(bytes))
    }

    const fn new(input: ExampleInput) -> Example {
        let facts = [("", ""); MAX_EXAMPLE_FACTS];
        Example { input, verdict: "need-more", at: None, facts, fact_count: 0, config: None }
    }

    /// It must match, and be known to once there are `at` bytes, not before.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portsplit_plugin_sdk::Example;
    /// const PING: Example = Example::text("PING\r\n").matches(4);
    /// ```
    #[must_use]
    pub const fn matches(self, at: usize) -> Example {
        Example { verdict: "match", at: Some(at), ..self }
    }

    /// It must be rejected, and be known to once there are `at` bytes, not before.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portsplit_plugin_sdk::Example;
    /// const PONG: Example = Example::text("PONG").rejects(2);
    /// ```
    #[must_use]
    pub const fn rejects(self, at: usize) -> Example {
        Example { verdict: "reject", at: Some(at), ..self }
    }

    /// It must still be undecided after all its bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portsplit_plugin_sdk::Example;
    /// const BEGINNING: Example = Example::text("PI").undecided();
    /// ```
    #[must_use]
    pub const fn undecided(self) -> Example {
        Example { verdict: "need-more", at: None, ..self }
    }

    /// A fact it must teach. Called with the same name again, the fact must have both values in this order. At most 16.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portsplit_plugin_sdk::Example;
    /// const HELLO: Example = Example::text("HELO x\r\n").matches(8).fact("host", "x");
    /// ```
    #[must_use]
    #[allow(clippy::indexing_slicing)] // Evaluated by the compiler, where leaving the array is an error.
    pub const fn fact(mut self, name: &'static str, value: &'static str) -> Example {
        self.facts[self.fact_count] = (name, value);
        self.fact_count += 1;
        self
    }

    /// The configuration to use, as JSON.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portsplit_plugin_sdk::Example;
    /// const OLD: Example = Example::text("PING1\n").config(r#"{"versions": [2]}"#).rejects(5);
    /// ```
    #[must_use]
    pub const fn config(self, json: &'static str) -> Example {
        Example { config: Some(json), ..self }
    }
}
