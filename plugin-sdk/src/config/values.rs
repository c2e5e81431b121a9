//! The types a configuration key can have: the integers, `bool`, and texts and lists that live in the plugin's memory
//! at their full size.

use super::json::Json;
use super::{Config, ConfigError, Schema};

/// A text of at most `N` bytes of UTF-8 (`N` up to 65,535), without an allocator.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::Text;
/// let text: Text<8> = Text::from_str_cut("eleven bytes");
/// assert_eq!(text, "eleven b");
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text<const N: usize> {
    len: u16,
    bytes: [u8; N],
}

impl<const N: usize> Text<N> {
    /// The empty text.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(portsplit_plugin_sdk::Text::<8>::new().is_empty());
    /// ```
    pub const fn new() -> Text<N> {
        Text { len: 0, bytes: [0; N] }
    }

    /// Takes as many characters of `text` as fit.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::Text;
    /// assert_eq!(Text::<3>::from_str_cut("abä"), "ab");
    /// ```
    pub fn from_str_cut(text: &str) -> Text<N> {
        let mut cut = Text::new();
        cut.push_cut(text);
        cut
    }

    /// The text.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(portsplit_plugin_sdk::Text::<8>::from_str_cut("abc").as_str(), "abc");
    /// ```
    pub fn as_str(&self) -> &str {
        let used = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        core::str::from_utf8(used).unwrap_or_default()
    }

    /// Whether it has no characters.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(!portsplit_plugin_sdk::Text::<8>::from_str_cut("abc").is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends `text` if it fits, and says whether it did.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut text = portsplit_plugin_sdk::Text::<4>::new();
    /// assert!(text.push("abc"));
    /// assert!(!text.push("de"));
    /// assert_eq!(text, "abc");
    /// ```
    pub fn push(&mut self, text: &str) -> bool {
        let start = usize::from(self.len);
        let end = start.saturating_add(text.len());
        let (Some(free), Ok(len)) = (self.bytes.get_mut(start..end), u16::try_from(end)) else {
            return false;
        };
        crate::cursor::copy(free, text.as_bytes());
        self.len = len;
        true
    }

    /// Appends as many characters of `text` as fit.
    pub(crate) fn push_cut(&mut self, text: &str) {
        push_cut(&mut self.len, &mut self.bytes, text);
    }
}

/// [`Text::push_cut`] for every length. Messages are put together of many, and need not be fast.
#[inline(never)]
fn push_cut(len: &mut u16, bytes: &mut [u8], text: &str) {
    let free = bytes.get_mut(usize::from(*len)..).unwrap_or_default();
    let text = text.get(..text.floor_char_boundary(free.len())).unwrap_or_default();
    crate::cursor::copy(free, text.as_bytes());
    *len += text.len() as u16;
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Text::new()
    }
}

impl<const N: usize> core::ops::Deref for Text<N> {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl<const N: usize> AsRef<[u8]> for Text<N> {
    fn as_ref(&self) -> &[u8] {
        self.as_str().as_bytes()
    }
}

impl<const N: usize> PartialEq<str> for Text<N> {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl<const N: usize> PartialEq<&str> for Text<N> {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl<const N: usize> core::fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Debug::fmt(self.as_str(), f)
    }
}

impl<const N: usize> Config for Text<N> {
    const SCHEMA: Schema = Schema::Text { max_bytes: N };

    fn read(json: &mut Json<'_>) -> Result<Self, ConfigError> {
        json.text()
    }
}

/// A list of at most `N` items, without an allocator.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::{List, from_json};
/// let ports: List<u16, 4> = from_json("[80, 443]")?;
/// assert!(ports.iter().any(|port| *port == 443));
/// # Ok::<(), portsplit_plugin_sdk::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List<T, const N: usize> {
    items: [Option<T>; N],
    len: usize,
}

impl<T, const N: usize> List<T, N> {
    /// The empty list.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(portsplit_plugin_sdk::List::<bool, 8>::new().is_empty());
    /// ```
    pub const fn new() -> List<T, N> {
        List { items: [const { None }; N], len: 0 }
    }

    /// Appends `item` if there is room, and says whether there was.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut list = portsplit_plugin_sdk::List::<u8, 1>::new();
    /// assert!(list.push(7));
    /// assert!(!list.push(8));
    /// ```
    pub fn push(&mut self, item: T) -> bool {
        let Some(free) = self.items.get_mut(self.len) else {
            return false;
        };
        *free = Some(item);
        self.len += 1;
        true
    }

    /// The items in order.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut list = portsplit_plugin_sdk::List::<u8, 4>::new();
    /// list.push(7);
    /// assert_eq!(list.iter().next(), Some(&7));
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.iter().flatten()
    }

    /// How many items there are.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(portsplit_plugin_sdk::List::<u8, 4>::new().len(), 0);
    /// ```
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(portsplit_plugin_sdk::List::<u8, 4>::new().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<T, const N: usize> Default for List<T, N> {
    fn default() -> Self {
        List::new()
    }
}

impl<T: Config, const N: usize> Config for List<T, N> {
    const SCHEMA: Schema = Schema::List { item: &T::SCHEMA, max_items: N };

    fn read(json: &mut Json<'_>) -> Result<Self, ConfigError> {
        let mut list = List::new();
        json.list(|json| {
            let item = T::read(json)?;
            if list.push(item) { Ok(()) } else { Err(ConfigError::new("has too many items")) }
        })?;
        Ok(list)
    }
}

impl<T: Config> Config for Option<T> {
    const SCHEMA: Schema = T::SCHEMA;

    fn read(json: &mut Json<'_>) -> Result<Self, ConfigError> {
        if json.null() { Ok(None) } else { T::read(json).map(Some) }
    }
}

impl Config for bool {
    const SCHEMA: Schema = Schema::Bool;

    fn read(json: &mut Json<'_>) -> Result<Self, ConfigError> {
        json.bool()
    }
}

/// No configuration: a table without keys.
impl Config for () {
    const SCHEMA: Schema = Schema::Table { keys: &[] };

    fn read(json: &mut Json<'_>) -> Result<Self, ConfigError> {
        json.no_keys()
    }
}

macro_rules! integers {
    ($($type:ident $min:literal $max:literal;)*) => {$(
        impl Config for $type {
            const SCHEMA: Schema = Schema::Integer { min: $type::MIN as i64, max: $type::MAX as u64 };

            fn read(json: &mut Json<'_>) -> Result<Self, ConfigError> {
                let reason = concat!("must be a whole number from ", $min, " to ", $max);
                Ok(json.integer(reason, $type::MIN as i64, $type::MAX as u64)? as $type)
            }
        }
    )*};
}

integers! {
    u8 "0" "255";
    u16 "0" "65535";
    u32 "0" "4294967295";
    u64 "0" "18446744073709551615";
    i8 "-128" "127";
    i16 "-32768" "32767";
    i32 "-2147483648" "2147483647";
    i64 "-9223372036854775808" "9223372036854775807";
}
