//! Typed configuration: what a [`Config`] is, the macro that makes one of a struct, and what can be wrong.
//!
//! The host hands a plugin its configuration as JSON. [`json`] reads it without an allocator, [`values`] has the types
//! a key can have. The same types describe themselves ([`Schema`]) for the manifest.

pub mod json;
mod values;

#[cfg(test)]
mod tests;

pub use self::values::{List, Text};

use self::json::Json;

/// A configuration, or a value in one: it can be read from JSON and describes itself.
///
/// Implemented for `bool`, the integers up to 64 bits, [`Text`], [`List`], `Option` of any of these, for `()` (no
/// configuration at all), and by [`config!`](crate::config!) for structs.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::prelude::*;
///
/// let list: List<u16, 4> = from_json("[22, 443]").unwrap();
/// assert_eq!(list.iter().sum::<u16>(), 465);
/// assert_eq!(from_json::<u8>("256").unwrap_err().to_string(), "must be a whole number from 0 to 255");
/// ```
pub trait Config: Sized {
    /// What the value looks like, for the manifest.
    const SCHEMA: Schema;

    /// Reads the value where `json` stands.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if what stands there is something else.
    fn read(json: &mut Json<'_>) -> Result<Self, ConfigError>;
}

/// Reads a whole JSON text.
///
/// # Errors
///
/// [`ConfigError`] if it is not JSON, not what `C` expects, or if something follows.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::from_json;
/// assert_eq!(from_json::<bool>(" true "), Ok(true));
/// assert!(from_json::<bool>("true false").is_err());
/// ```
pub fn from_json<C: Config>(text: &str) -> Result<C, ConfigError> {
    let mut json = Json::new(text);
    let value = C::read(&mut json)?;
    json.finish()?;
    Ok(value)
}

/// What a configuration value looks like; [`config!`](crate::config!) makes it and the manifest shows it as JSON
/// Schema.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::{Config, Schema};
/// assert!(matches!(u8::SCHEMA, Schema::Integer { min: 0, max: 255 }));
/// ```
#[derive(Clone, Copy, Debug)]
pub enum Schema {
    /// `true` or `false`.
    Bool,
    /// A whole number from `min` to `max`.
    Integer {
        /// The least.
        min: i64,
        /// The greatest.
        max: u64,
    },
    /// A text.
    Text {
        /// The most bytes of UTF-8 it may have.
        max_bytes: usize,
    },
    /// A list.
    List {
        /// What each item looks like.
        item: &'static Schema,
        /// The most items.
        max_items: usize,
    },
    /// A table with exactly these keys.
    Table {
        /// The keys.
        keys: &'static [Key],
    },
}

/// A key of a [`Schema::Table`].
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::{Key, Schema};
/// let key = Key { name: "strict", doc: &["Refuses 1.99."], required: false, schema: Schema::Bool };
/// assert_eq!(key.name, "strict");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// The lines of its documentation.
    pub doc: &'static [&'static str],
    /// Whether it has no default.
    pub required: bool,
    /// What its value looks like.
    pub schema: Schema,
}

/// Why a configuration is refused. Displays as a sentence without a full stop that begins with the key.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::prelude::*;
///
/// config! {
///     struct Settings { least: u8 = 1, most: u8 = 9 }
/// }
/// let error = from_json::<Settings>(r#"{"leest": 2}"#).unwrap_err();
/// assert_eq!(error.to_string(), "`leest` is not a known key");
/// let error = from_json::<Settings>(r#"{"most": "2"}"#).unwrap_err();
/// assert_eq!(error.to_string(), "`most` must be a whole number from 0 to 255");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    key: Text<48>,
    reason: &'static str,
    detail: Text<40>,
}

impl ConfigError {
    /// Refuses the configuration for a `reason` that reads after the key: "must be less than `most`".
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::ConfigError;
    /// let error = ConfigError::new("must be less than `most`").at("least");
    /// assert_eq!(error.to_string(), "`least` must be less than `most`");
    /// ```
    pub const fn new(reason: &'static str) -> ConfigError {
        ConfigError { key: Text::new(), reason, detail: Text::new() }
    }

    /// Says which key it is about. Called again on the way out it puts the keys around it in front: `list.key`.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::ConfigError;
    /// let error = ConfigError::new("must be less than 9").at("least").at("limits");
    /// assert_eq!(error.to_string(), "`limits.least` must be less than 9");
    /// ```
    #[must_use]
    pub fn at(self, key: &str) -> ConfigError {
        let mut path = Text::new();
        path.push_cut(key);
        if !self.key.is_empty() {
            path.push_cut(".");
            path.push_cut(self.key.as_str());
        }
        ConfigError { key: path, ..self }
    }

    /// Adds the value in question, shown in backticks after the reason; it is cut at 40 bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::ConfigError;
    /// let error = ConfigError::new("must be a host name, not").at("name").with("a b");
    /// assert_eq!(error.to_string(), "`name` must be a host name, not `a b`");
    /// ```
    #[must_use]
    pub fn with(mut self, detail: &str) -> ConfigError {
        self.detail = Text::new();
        self.detail.push_cut(detail);
        self
    }

    /// The message in pieces, so that wasm needs no formatting machinery.
    pub(crate) fn pieces(&self, mut piece: impl FnMut(&str)) {
        if !self.key.is_empty() {
            piece("`");
            piece(self.key.as_str());
            piece("` ");
        }
        piece(self.reason);
        if !self.detail.is_empty() {
            piece(" `");
            piece(self.detail.as_str());
            piece("`");
        }
    }
}

impl core::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut result = Ok(());
        self.pieces(|piece| result = result.and_then(|()| f.write_str(piece)));
        result
    }
}

impl core::error::Error for ConfigError {}

/// Declares a struct that is read from the plugin's configuration.
///
/// Each field is a key. `= value` gives its default; a field without one is required. Unknown keys are refused by name.
/// The documentation of a field becomes its description in the manifest's schema. Structs may contain each other.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::prelude::*;
///
/// config! {
///     /// Which clients this detector takes.
///     pub struct Settings {
///         /// The key's number.
///         key_id: u8,
///         /// Names that are accepted; none means any.
///         names: List<Text<32>, 8> = List::new(),
///     }
/// }
///
/// let settings: Settings = from_json(r#"{"key_id": 3, "names": ["alpha", "beta"]}"#).unwrap();
/// assert_eq!(settings.key_id, 3);
/// assert!(settings.names.iter().any(|name| name == "beta"));
/// assert_eq!(from_json::<Settings>("{}").unwrap_err().to_string(), "`key_id` is missing");
/// ```
#[macro_export]
macro_rules! config {
    (
        $(#[$attribute:meta])*
        $vis:vis struct $name:ident {
            $( $(#[doc = $doc:literal])* $key:ident : $type:ty $(= $default:expr)? ),* $(,)?
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug)]
        $vis struct $name {
            $( $(#[doc = $doc])* pub $key: $type, )*
        }

        impl $crate::Config for $name {
            const SCHEMA: $crate::Schema = $crate::Schema::Table {
                keys: &[$(
                    $crate::Key {
                        name: ::core::stringify!($key),
                        doc: &[$($doc),*],
                        required: $crate::__required!($($default)?),
                        schema: <$type as $crate::Config>::SCHEMA,
                    },
                )*],
            };

            fn read(json: &mut $crate::json::Json<'_>) -> ::core::result::Result<Self, $crate::ConfigError> {
                $( let mut $key: ::core::option::Option<$type> = ::core::option::Option::None; )*
                json.table(|key, json| {
                    $(
                        if key == ::core::stringify!($key) {
                            return $crate::json::value(&mut $key, key, json);
                        }
                    )*
                    ::core::result::Result::Err($crate::json::unknown_key(key))
                })?;
                ::core::result::Result::Ok($name {
                    $( $key: match $key {
                        ::core::option::Option::Some(value) => value,
                        ::core::option::Option::None => $crate::__default!($key $($default)?),
                    }, )*
                })
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __required {
    () => {
        true
    };
    ($default:expr) => {
        false
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __default {
    ($key:ident) => {
        return ::core::result::Result::Err($crate::ConfigError::new("is missing").at(::core::stringify!($key)))
    };
    ($key:ident $default:expr) => {
        $default
    };
}
