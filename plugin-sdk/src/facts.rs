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
