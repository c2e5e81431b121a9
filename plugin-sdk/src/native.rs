//! The same classifier without wasm: what [`export!`](crate::export!) offers to tests, debuggers and the harness on the
//! machine the plugin is written on.

use std::boxed::Box;
use std::string::String;
use std::vec::Vec;

use crate::{Classifier, ConfigError, Facts, Input, Verdict, from_json};

/// A fact that was added.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::native::Fact;
/// let fact = Fact { name: "sni".into(), value: b"example.org".to_vec() };
/// assert_eq!(fact.text(), "example.org");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Vec<u8>,
}

impl Fact {
    /// The value as text; bytes that are not UTF-8 are replaced.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::native::Fact;
    /// assert_eq!(Fact { name: "user".into(), value: b"al\xffice".to_vec() }.text(), "al\u{fffd}ice");
    /// ```
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.value)
    }
}

/// What one call gave.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::{Verdict, native::Outcome};
/// let outcome = Outcome { verdict: Verdict::NeedMore(4), facts: Vec::new() };
/// assert_ne!(outcome.verdict, Verdict::Match);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The verdict.
    pub verdict: Verdict,
    /// The facts in the order they were added; empty unless the verdict is a match.
    pub facts: Vec<Fact>,
}

/// A plugin as native code, from the function `portsplit_plugin` that [`export!`](crate::export!) defines.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::prelude::*;
///
/// struct Ping;
/// impl Classifier for Ping {
///     type Config = ();
///     fn new(_: ()) -> Result<Self, ConfigError> {
///         Ok(Ping)
///     }
///     fn classify(&self, input: Input<'_>, _: &mut Facts) -> Answer {
///         input.cursor().tag(b"PING")?;
///         Ok(Match)
///     }
/// }
/// export! {
///     classifier: Ping,
///     name: "ping",
///     description: "A greeting.",
///     protocols: ["ping"],
///     max_bytes: 4,
/// }
///
/// let plugin = portsplit_plugin();
/// assert!(plugin.manifest_json().contains(r#""name":"ping""#));
/// let classifier = plugin.configure("{}").unwrap();
/// assert_eq!(classifier.classify(Input::new(b"PIN")).verdict, Verdict::NeedMore(4));
/// assert!(plugin.configure(r#"{"a": 1}"#).is_err());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct NativePlugin {
    manifest: &'static str,
    max_bytes: usize,
    make: fn(&str) -> Result<Box<dyn Erased>, ConfigError>,
}

/// A configured native plugin; [`NativePlugin`] shows how one is made.
///
/// # Examples
///
/// ```
/// # use portsplit_plugin_sdk::prelude::*;
/// # struct Ping;
/// # impl Classifier for Ping {
/// #     type Config = ();
/// #     fn new(_: ()) -> Result<Self, ConfigError> {
/// #         Ok(Ping)
/// #     }
/// #     fn classify(&self, input: Input<'_>, _: &mut Facts) -> Answer {
/// #         input.cursor().tag(b"PING")?;
/// #         Ok(Match)
/// #     }
/// # }
/// # export! { classifier: Ping, name: "ping", description: "A greeting.", protocols: ["ping"], max_bytes: 4 }
/// let ping = portsplit_plugin().configure("{}")?;
/// assert_eq!(ping.decide(b"PONG").at, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Configured {
    max_bytes: usize,
    classifier: Box<dyn Erased>,
}

/// Where a connection's bytes were decided: the result of [`Configured::decide`].
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::{Verdict, native::Decided};
/// let decided = Decided { verdict: Verdict::Reject, at: 1, facts: Vec::new() };
/// assert_eq!(decided.fact("sni"), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The verdict; [`Verdict::NeedMore`] if all the bytes left it open.
    pub verdict: Verdict,
    /// How many bytes there were when it was known.
    pub at: usize,
    /// The facts of a match.
    pub facts: Vec<Fact>,
}

impl Decided {
    /// The value of the first fact called `name`.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::{Verdict, native::{Decided, Fact}};
    /// let fact = Fact { name: "sni".into(), value: b"example.org".to_vec() };
    /// let decided = Decided { verdict: Verdict::Match, at: 99, facts: vec![fact] };
    /// assert_eq!(decided.fact("sni").as_deref(), Some("example.org"));
    /// ```
    pub fn fact(&self, name: &str) -> Option<String> {
        self.facts.iter().find(|fact| fact.name == name).map(|fact| fact.text().into_owned())
    }
}

trait Erased {
    fn call(&self, input: Input<'_>, facts: &mut Facts) -> crate::Answer;
}

impl<C: Classifier> Erased for C {
    fn call(&self, input: Input<'_>, facts: &mut Facts) -> crate::Answer {
        self.classify(input, facts)
    }
}

impl NativePlugin {
    /// Takes a classifier and its manifest. [`export!`](crate::export!) calls this.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portsplit_plugin_sdk::prelude::*;
    /// # struct Ping;
    /// # impl Classifier for Ping {
    /// #     type Config = ();
    /// #     fn new(_: ()) -> Result<Self, ConfigError> {
    /// #         Ok(Ping)
    /// #     }
    /// #     fn classify(&self, input: Input<'_>, _: &mut Facts) -> Answer {
    /// #         input.cursor().tag(b"PING")?;
    /// #         Ok(Match)
    /// #     }
    /// # }
    /// # export! { classifier: Ping, name: "ping", description: "A greeting.", protocols: ["ping"], max_bytes: 4 }
    /// use portsplit_plugin_sdk::native::NativePlugin;
    /// let plugin = NativePlugin::new::<Ping>("{}", 4);
    /// assert_eq!(plugin.max_bytes(), 4);
    /// ```
    pub fn new<C: Classifier + 'static>(manifest: &'static str, max_bytes: usize) -> NativePlugin {
        fn make<C: Classifier + 'static>(json: &str) -> Result<Box<dyn Erased>, ConfigError> {
            Ok(Box::new(C::new(from_json(json)?)?))
        }
        NativePlugin { manifest, max_bytes, make: make::<C> }
    }

    /// The manifest as the section `portsplit.manifest` has it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portsplit_plugin_sdk::prelude::*;
    /// # struct Ping;
    /// # impl Classifier for Ping {
    /// #     type Config = ();
    /// #     fn new(_: ()) -> Result<Self, ConfigError> {
    /// #         Ok(Ping)
    /// #     }
    /// #     fn classify(&self, input: Input<'_>, _: &mut Facts) -> Answer {
    /// #         input.cursor().tag(b"PING")?;
    /// #         Ok(Match)
    /// #     }
    /// # }
    /// # export! { classifier: Ping, name: "ping", description: "A greeting.", protocols: ["ping"], max_bytes: 4 }
    /// assert!(portsplit_plugin().manifest_json().contains(r#""name":"ping""#));
    /// ```
    pub fn manifest_json(&self) -> &'static str {
        self.manifest
    }

    /// The most bytes it looks at.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portsplit_plugin_sdk::prelude::*;
    /// # struct Ping;
    /// # impl Classifier for Ping {
    /// #     type Config = ();
    /// #     fn new(_: ()) -> Result<Self, ConfigError> {
    /// #         Ok(Ping)
    /// #     }
    /// #     fn classify(&self, input: Input<'_>, _: &mut Facts) -> Answer {
    /// #         input.cursor().tag(b"PING")?;
    /// #         Ok(Match)
    /// #     }
    /// # }
    /// # export! { classifier: Ping, name: "ping", description: "A greeting.", protocols: ["ping"], max_bytes: 4 }
    /// assert_eq!(portsplit_plugin().max_bytes(), 4);
    /// ```
    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// Makes a classifier with this configuration; `{}` takes every default.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the classifier refuses it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portsplit_plugin_sdk::prelude::*;
    /// # struct Ping;
    /// # impl Classifier for Ping {
    /// #     type Config = ();
    /// #     fn new(_: ()) -> Result<Self, ConfigError> {
    /// #         Ok(Ping)
    /// #     }
    /// #     fn classify(&self, input: Input<'_>, _: &mut Facts) -> Answer {
    /// #         input.cursor().tag(b"PING")?;
    /// #         Ok(Match)
    /// #     }
    /// # }
    /// # export! { classifier: Ping, name: "ping", description: "A greeting.", protocols: ["ping"], max_bytes: 4 }
    /// assert!(portsplit_plugin().configure("{}").is_ok());
    /// assert!(portsplit_plugin().configure(r#"{"a": 1}"#).is_err());
    /// ```
    pub fn configure(&self, json: &str) -> Result<Configured, ConfigError> {
        Ok(Configured { max_bytes: self.max_bytes, classifier: (self.make)(json)? })
    }
}

impl Configured {
    /// Makes one call, as the host would: bytes past `max_bytes` are cut off, with the flag that says so.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portsplit_plugin_sdk::prelude::*;
    /// # struct Ping;
    /// # impl Classifier for Ping {
    /// #     type Config = ();
    /// #     fn new(_: ()) -> Result<Self, ConfigError> {
    /// #         Ok(Ping)
    /// #     }
    /// #     fn classify(&self, input: Input<'_>, _: &mut Facts) -> Answer {
    /// #         input.cursor().tag(b"PING")?;
    /// #         Ok(Match)
    /// #     }
    /// # }
    /// # export! { classifier: Ping, name: "ping", description: "A greeting.", protocols: ["ping"], max_bytes: 4 }
    /// let ping = portsplit_plugin().configure("{}")?;
    /// assert_eq!(ping.classify(Input::new(b"PI")).verdict, Verdict::NeedMore(3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn classify(&self, input: Input<'_>) -> Outcome {
        let shown = input.bytes.get(..self.max_bytes).unwrap_or(input.bytes);
        let input = Input { bytes: shown, full: input.full || shown.len() == self.max_bytes, ..input };
        let mut facts = Facts::new();
        let verdict = Verdict::settle(self.classifier.call(input, &mut facts), input, self.max_bytes);
        let facts = if verdict == Verdict::Match { facts.collected } else { Vec::new() };
        Outcome { verdict, facts }
    }

    /// Shows the bytes one more at a time until the verdict is final.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portsplit_plugin_sdk::prelude::*;
    /// # struct Ping;
    /// # impl Classifier for Ping {
    /// #     type Config = ();
    /// #     fn new(_: ()) -> Result<Self, ConfigError> {
    /// #         Ok(Ping)
    /// #     }
    /// #     fn classify(&self, input: Input<'_>, _: &mut Facts) -> Answer {
    /// #         input.cursor().tag(b"PING")?;
    /// #         Ok(Match)
    /// #     }
    /// # }
    /// # export! { classifier: Ping, name: "ping", description: "A greeting.", protocols: ["ping"], max_bytes: 4 }
    /// let ping = portsplit_plugin().configure("{}")?;
    /// let decided = ping.decide(b"PING and more");
    /// assert_eq!((decided.verdict, decided.at), (Verdict::Match, 4));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn decide(&self, bytes: &[u8]) -> Decided {
        let mut last = Decided { verdict: Verdict::NeedMore(1), at: 0, facts: Vec::new() };
        for at in 0..=bytes.len() {
            let outcome = self.classify(Input::new(bytes.get(..at).unwrap_or(bytes)));
            last = Decided { verdict: outcome.verdict, at, facts: outcome.facts };
            if !matches!(outcome.verdict, Verdict::NeedMore(_)) {
                break;
            }
        }
        last
    }
}

impl core::fmt::Debug for Configured {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Configured").field("max_bytes", &self.max_bytes).finish_non_exhaustive()
    }
}
