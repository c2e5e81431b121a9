//! What a classifier learnt on the way to a match: names and values for the host's `where`, logs and metrics.
//!
//! In wasm each fact goes to the host at once, which keeps it only if the call matches; natively they are collected.

/// The most facts one call may add. The host treats one more as a fault of the plugin.
///
/// # Examples
///
/// ```
/// assert_eq!(portsplit_plugin_sdk::MAX_FACTS, 16);
/// ```
pub const MAX_FACTS: usize = 16;

/// The most bytes a fact's value may have: four times the longest host name.
///
/// # Examples
///
/// ```
/// assert_eq!(portsplit_plugin_sdk::MAX_FACT_BYTES, 1024);
/// ```
pub const MAX_FACT_BYTES: usize = 1024;

/// The most bytes [`Facts::add_lower`] and [`Facts::add_host`] take: the longest name in the DNS.
const MAX_NAME_BYTES: usize = 255;

/// Collects the facts of one call.
///
/// They count only if the call matches, so they can be added while parsing. But a match is final, and the facts are
/// those of the call that matched: match only when the last byte that can change a fact has been read.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::prelude::*;
///
/// fn greeting(input: Input<'_>, facts: &mut Facts) -> Answer {
///     let mut c = input.cursor();
///     c.tag(b"HELO ")?;
///     facts.add("host", c.line(80)?);
///     Ok(Match)
/// }
/// ```
#[derive(Debug)]
pub struct Facts {
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) collected: std::vec::Vec<crate::native::Fact>,
    /// Keeps this type from being made elsewhere.
    _private: (),
}

impl Facts {
    pub(crate) const fn new() -> Facts {
        Facts {
            #[cfg(not(target_arch = "wasm32"))]
            collected: std::vec::Vec::new(),
            _private: (),
        }
    }

    /// Adds a fact. A name can be added several times: a fact with several values, each of which `where` tries.
    ///
    /// Names have the form `[a-z][a-z0-9_.-]{0,31}`, and the manifest declares them. Values are best printable UTF-8;
    /// the host escapes whatever else a peer puts there.
    ///
    /// # Panics
    ///
    /// Natively, for what the host takes for a fault of the plugin: a name of another form, more than
    /// [`MAX_FACT_BYTES`] or [`MAX_FACTS`]. In wasm the host judges.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portsplit_plugin_sdk::prelude::*;
    /// # fn example(facts: &mut Facts) {
    /// facts.add("alpn", b"h2");
    /// facts.add("alpn", "http/1.1");
    /// # }
    /// ```
    pub fn add(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.add_bytes(name, value.as_ref());
    }

    /// Adds a fact with its ASCII letters in lower case, for names that mean the same in any case: `where` compares
    /// bytes. Returns whether it did; a value is left out if it has none or more than 255 bytes, or other than
    /// printable ASCII.
    ///
    /// # Panics
    ///
    /// As [`add`](Facts::add).
    ///
    /// # Examples
    ///
    /// ```
    /// # use portsplit_plugin_sdk::prelude::*;
    /// # fn example(facts: &mut Facts) {
    /// facts.add_lower("upgrade", b"WebSocket");
    /// # }
    /// ```
    pub fn add_lower(&mut self, name: &str, value: &[u8]) -> bool {
        let mut buffer = [0; MAX_NAME_BYTES];
        let Some(lower) = buffer.get_mut(..value.len()).filter(|lower| !lower.is_empty()) else { return false };
        for (to, from) in lower.iter_mut().zip(value) {
            if !from.is_ascii_graphic() {
                return false;
            }
            *to = from.to_ascii_lowercase();
        }
        self.add_bytes(name, lower);
        true
    }

    /// Adds the host of an authority, `user@host:port` with or without user and port, in the form in which TLS names
    /// it: in lower case and without a final dot. An address of IPv6 keeps its brackets. Returns whether it did, as
    /// [`add_lower`](Facts::add_lower).
    ///
    /// # Panics
    ///
    /// As [`add`](Facts::add).
    ///
    /// # Examples
    ///
    /// ```
    /// # use portsplit_plugin_sdk::prelude::*;
    /// struct Host;
    /// impl Classifier for Host {
    ///     type Config = ();
    ///     fn new(_: ()) -> Result<Self, ConfigError> {
    ///         Ok(Host)
    ///     }
    ///     fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
    ///         facts.add_host("host", input.cursor().line(99)?);
    ///         Ok(Match)
    ///     }
    /// }
    /// # export! {
    /// #     classifier: Host, name: "host", description: "A host.", protocols: ["host"], max_bytes: 99,
    /// #     facts: { "host": "the host" },
    /// # }
    /// # let host = |line: &[u8]| portsplit_plugin().configure("{}").unwrap().decide(line).fact("host");
    /// assert_eq!(host(b"alice@Example.org.:8080\n").as_deref(), Some("example.org"));
    /// assert_eq!(host(b"[2001:DB8::1]:80\n").as_deref(), Some("[2001:db8::1]"));
    /// assert_eq!(host(b"2001:db8::1\n").as_deref(), Some("2001:db8::1"));
    /// assert_eq!(host(b":80\n"), None);
    /// ```
    pub fn add_host(&mut self, name: &str, authority: &[u8]) -> bool {
        let host = authority.rsplit(|b| *b == b'@').next().unwrap_or(authority);
        let (is_end, kept): (fn(&u8) -> bool, usize) =
            if host.first() == Some(&b'[') { (|b| *b == b']', 1) } else { (|b| *b == b':', 0) };
        let mut ends = host.iter().enumerate().filter(|(_, b)| is_end(b)).map(|(index, _)| index + kept);
        // Two colons without brackets are no port but an address.
        let host = match (ends.next(), ends.next()) {
            (Some(end), None) => host.get(..end).unwrap_or(host),
            _ => host,
        };
        self.add_lower(name, host.strip_suffix(b".").unwrap_or(host))
    }

    /// Adds a fact whose value is a number, in decimal.
    ///
    /// # Panics
    ///
    /// As [`add`](Facts::add).
    ///
    /// # Examples
    ///
    /// ```
    /// # use portsplit_plugin_sdk::prelude::*;
    /// fn unit(input: Input<'_>, facts: &mut Facts) -> Answer {
    ///     facts.add_number("unit", input.cursor().u8()?.into());
    ///     Ok(Match)
    /// }
    /// ```
    pub fn add_number(&mut self, name: &str, number: u32) {
        let mut digits = [0; 10]; // 4294967295
        let mut rest = number;
        let mut first = digits.len();
        for (index, digit) in digits.iter_mut().enumerate().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
            first = index;
            if rest == 0 {
                break;
            }
        }
        self.add_bytes(name, digits.get(first..).unwrap_or_default());
    }

    #[cfg(target_arch = "wasm32")]
    fn add_bytes(&mut self, name: &str, value: &[u8]) {
        crate::wasm::fact(name, value);
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn add_bytes(&mut self, name: &str, value: &[u8]) {
        assert!(is_name(name), "`{name}` is not of the form [a-z][a-z0-9_.-]{{0,31}}");
        assert!(value.len() <= MAX_FACT_BYTES, "the fact `{name}` has {} bytes", value.len());
        assert!(self.collected.len() < MAX_FACTS, "`{name}` is one fact too many");
        self.collected.push(crate::native::Fact { name: name.into(), value: value.into() });
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn is_name(name: &str) -> bool {
    let rest = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.' | b'-');
    matches!(name.as_bytes().split_first(), Some((first, tail))
        if first.is_ascii_lowercase() && tail.len() < 32 && tail.iter().all(rest))
}
