//! The one trait an author implements.

use crate::{Answer, Config, ConfigError, Facts, Input};

/// Recognises one protocol, or a family, by the first bytes a client sends.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::prelude::*;
///
/// struct Socks5;
///
/// impl Classifier for Socks5 {
///     type Config = ();
///
///     fn new(_: ()) -> Result<Self, ConfigError> {
///         Ok(Socks5)
///     }
///
///     fn classify(&self, input: Input<'_>, _: &mut Facts) -> Answer {
///         let mut c = input.cursor();
///         c.tag(b"\x05")?;
///         let methods = c.u8_in(1..=10)?;
///         c.part(methods.into(), |c| {
///             while !c.at_end() {
///                 c.u8_where(|method| method <= 9 || method >= 0x80)?;
///             }
///             Ok(())
///         })?;
///         Ok(Match)
///     }
/// }
/// ```
pub trait Classifier: Sized {
    /// The configuration: `()`, or a struct that [`config!`](crate::config!) declares.
    type Config: Config;

    /// Prepares a classifier, once, before any connection.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for a configuration whose values have the right types but make no sense.
    fn new(config: Self::Config) -> Result<Self, ConfigError>;

    /// Says what `input` is, and what it teaches. A pure function of `self` and `input`.
    ///
    /// # Errors
    ///
    /// [`Reject`](crate::Stop::Reject) as soon as no continuation of the bytes can match, and
    /// [`NeedMore`](crate::Stop::NeedMore) with the least number of bytes in all at which the answer can change.
    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer;
}
