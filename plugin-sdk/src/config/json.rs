//! A pull reader for JSON (RFC 8259) without an allocator: the caller asks for what it expects next.
//!
//! [`config!`](crate::config!) writes the calls; only a hand-written [`Config`] names this
//! module.

use super::{Config, ConfigError, Text};

/// Stands somewhere in a JSON text.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::json::Json;
///
/// let mut json = Json::new(r#"{"a": 1, "b": 2}"#);
/// let mut sum = 0;
/// json.table(|_, json| {
///     sum += json.integer("must be a number", 0, 9)?;
///     Ok(())
/// })?;
/// assert_eq!(sum, 3);
/// json.finish()?;
/// # Ok::<(), portsplit_plugin_sdk::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Json<'a> {
    text: &'a str,
    pos: usize,
}

/// Reads the value of `key` into `slot`, which [`config!`](crate::config!) keeps for it.
///
/// # Errors
///
/// [`ConfigError`] if the value is not what it should be or the key is there twice.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::json::{Json, value};
/// let mut slot = None;
/// value::<bool>(&mut slot, "strict", &mut Json::new("true"))?;
/// assert_eq!(slot, Some(true));
/// assert!(value::<bool>(&mut slot, "strict", &mut Json::new("true")).is_err());
/// # Ok::<(), portsplit_plugin_sdk::ConfigError>(())
/// ```
pub fn value<C: Config>(slot: &mut Option<C>, key: &str, json: &mut Json<'_>) -> Result<(), ConfigError> {
    if slot.is_some() {
        return Err(ConfigError::new("is there twice").at(key));
    }
    *slot = Some(C::read(json).map_err(|error| error.at(key))?);
    Ok(())
}

/// The longest key, in bytes.
const MAX_KEY_BYTES: usize = 40;

impl<'a> Json<'a> {
    /// Starts at the beginning of `text`.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::json::Json;
    /// assert_eq!(Json::new("true").bool(), Ok(true));
    /// ```
    pub const fn new(text: &'a str) -> Json<'a> {
        Json { text, pos: 0 }
    }

    /// Reads `true` or `false`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for anything else.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::json::Json;
    /// assert!(Json::new("1").bool().is_err());
    /// ```
    pub fn bool(&mut self) -> Result<bool, ConfigError> {
        if self.word("true") {
            Ok(true)
        } else if self.word("false") {
            Ok(false)
        } else {
            Err(ConfigError::new("must be true or false"))
        }
    }

    /// Passes over `null` if it is next, and says whether it was.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::json::Json;
    /// assert!(Json::new(" null").null());
    /// ```
    pub fn null(&mut self) -> bool {
        self.word("null")
    }

    /// Reads a whole number from `min` to `max`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with `reason` for anything else, numbers with a fraction or an exponent included.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::json::Json;
    /// assert_eq!(Json::new("-3").integer("must be small", -8, 7), Ok(-3));
    /// assert!(Json::new("1.5").integer("must be small", -8, 7).is_err());
    /// ```
    pub fn integer(&mut self, reason: &'static str, min: i64, max: u64) -> Result<i128, ConfigError> {
        let wrong = ConfigError::new(reason);
        let negative = self.next_is(b'-');
        let mut digits = 0;
        let mut first = 0;
        let mut magnitude = 0u64;
        while let Some(digit @ b'0'..=b'9') = self.byte() {
            self.pos += 1;
            digits += 1;
            first = if digits == 1 { digit } else { first };
            let more = magnitude.checked_mul(10).and_then(|m| m.checked_add(u64::from(digit - b'0')));
            let Some(more) = more else { return Err(wrong) };
            magnitude = more;
        }
        let leading_zero = digits > 1 && first == b'0';
        let goes_on = matches!(self.byte(), Some(b'.' | b'e' | b'E'));
        let in_range = if negative {
            min <= 0 && magnitude <= min.unsigned_abs()
        } else {
            magnitude <= max && (min <= 0 || magnitude >= min.unsigned_abs())
        };
        if digits == 0 || leading_zero || goes_on || !in_range {
            return Err(wrong);
        }
        Ok(if negative { -i128::from(magnitude) } else { i128::from(magnitude) })
    }

    /// Reads a text of at most `N` bytes.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for anything else, and for a text that is too long or has an escape that means nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::json::Json;
    /// assert_eq!(Json::new(r#""a\u00e4\n""#).text::<8>()?.as_str(), "aä\n");
    /// # Ok::<(), portsplit_plugin_sdk::ConfigError>(())
    /// ```
    pub fn text<const N: usize>(&mut self) -> Result<Text<N>, ConfigError> {
        let (text, fits) = self.string()?;
        if fits { Ok(text) } else { Err(ConfigError::new("is too long, it begins with").with(text.as_str())) }
    }

    /// Reads a list, calling `item` with the reader in front of each item.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for anything else, and what `item` returns.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::json::Json;
    /// let mut items = 0;
    /// Json::new("[true, false]").list(|json| { json.bool()?; items += 1; Ok(()) })?;
    /// assert_eq!(items, 2);
    /// # Ok::<(), portsplit_plugin_sdk::ConfigError>(())
    /// ```
    pub fn list(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), ConfigError>) -> Result<(), ConfigError> {
        if !self.next_is(b'[') {
            return Err(ConfigError::new("must be a list"));
        }
        if self.next_is(b']') {
            return Ok(());
        }
        loop {
            item(self)?;
            if self.next_is(b']') {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    /// Reads a table, calling `entry` with each key and the reader in front of its value.
    ///
    /// Keys are given as they are written, with escapes as they stand: no key that a plugin knows needs one, so no plugin
    /// has to carry what undoes them. One of more than 40 bytes is unknown to every plugin and refused here.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for anything else, and what `entry` returns.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::json::Json;
    /// Json::new(r#"{"a": true}"#).table(|key, json| {
    ///     assert_eq!(key, "a");
    ///     json.bool().map(drop)
    /// })?;
    /// # Ok::<(), portsplit_plugin_sdk::ConfigError>(())
    /// ```
    pub fn table(
        &mut self,
        mut entry: impl FnMut(&str, &mut Self) -> Result<(), ConfigError>,
    ) -> Result<(), ConfigError> {
        let mut opens = true;
        while let Some(key) = self.key(opens)? {
            entry(key, self)?;
            opens = false;
        }
        Ok(())
    }

    /// Reads a table that has no keys.
    pub(crate) fn no_keys(&mut self) -> Result<(), ConfigError> {
        self.key(true)?.map_or(Ok(()), |key| Err(unknown_key(key)))
    }

    /// Reads up to the value of the next key, from the table's beginning if it `opens`; `None` at its end.
    #[inline(never)] // for the module's size, as are all in this file
    fn key(&mut self, opens: bool) -> Result<Option<&'a str>, ConfigError> {
        if opens && !self.next_is(b'{') {
            return Err(ConfigError::new("must be a table"));
        }
        if self.next_is(b'}') {
            return Ok(None);
        }
        if !((opens || self.next_is(b',')) && self.next_is(b'"')) {
            return Err(not_json());
        }
        let start = self.pos;
        loop {
            match self.byte() {
                Some(b'"') => break,
                Some(b'\\') => self.pos += 2,
                None | Some(0..=0x1f) => return Err(not_json()),
                Some(_) => self.pos += 1,
            }
        }
        let key = self.text.get(start..self.pos).unwrap_or_default();
        self.pos += 1;
        if !self.next_is(b':') {
            return Err(not_json());
        }
        if key.len() > MAX_KEY_BYTES { Err(unknown_key(key)) } else { Ok(Some(key)) }
    }

    /// Ends the text.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if anything but white space follows.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::json::Json;
    /// assert!(Json::new(" ").finish().is_ok());
    /// assert!(Json::new("x").finish().is_err());
    /// ```
    pub fn finish(mut self) -> Result<(), ConfigError> {
        self.white_space();
        if self.byte().is_none() { Ok(()) } else { Err(not_json()) }
    }

    /// Reads a string as far as it fits, and says whether it did.
    fn string<const N: usize>(&mut self) -> Result<(Text<N>, bool), ConfigError> {
        if !self.next_is(b'"') {
            return Err(ConfigError::new("must be a text"));
        }
        let mut text = Text::new();
        let mut fits = true;
        loop {
            let rest = self.text.get(self.pos..).unwrap_or_default();
            let c = rest.chars().next().ok_or_else(not_json)?;
            self.pos += c.len_utf8();
            let c = match c {
                '"' => return Ok((text, fits)),
                '\\' => self.escape()?,
                '\0'..='\x1f' => return Err(not_json()),
                c => c,
            };
            // Once a character is left out, so is every later one: a beginning has no holes.
            fits = fits && text.push(c.encode_utf8(&mut [0; 4]));
        }
    }

    fn escape(&mut self) -> Result<char, ConfigError> {
        let byte = self.byte().ok_or_else(not_json)?;
        self.pos += 1;
        Ok(match byte {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\x08',
            b'f' => '\x0c',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.hex4()?;
                let code = if unit & 0xfc00 == 0xd800 {
                    let backslash = self.byte();
                    self.pos += 1;
                    let letter = self.byte();
                    self.pos += 1;
                    let low = if (backslash, letter) == (Some(b'\\'), Some(b'u')) { self.hex4()? } else { 0 };
                    if low & 0xfc00 != 0xdc00 {
                        return Err(not_json());
                    }
                    0x10000 + ((unit & 0x3ff) << 10 | (low & 0x3ff))
                } else {
                    unit
                };
                char::from_u32(code).ok_or_else(not_json)?
            }
            _ => return Err(not_json()),
        })
    }

    fn hex4(&mut self) -> Result<u32, ConfigError> {
        let mut value = 0;
        for _ in 0..4 {
            let digit = self.byte().and_then(|byte| char::from(byte).to_digit(16)).ok_or_else(not_json)?;
            self.pos += 1;
            value = value << 4 | digit;
        }
        Ok(value)
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.pos).copied()
    }

    fn white_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.byte() {
            self.pos += 1;
        }
    }

    #[inline(never)]
    fn next_is(&mut self, byte: u8) -> bool {
        self.white_space();
        let is = self.byte() == Some(byte);
        self.pos += usize::from(is);
        is
    }

    fn expect(&mut self, byte: u8) -> Result<(), ConfigError> {
        if self.next_is(byte) { Ok(()) } else { Err(not_json()) }
    }

    #[inline(never)]
    fn word(&mut self, word: &str) -> bool {
        self.white_space();
        let is = self.text.as_bytes().get(self.pos..).is_some_and(|rest| rest.starts_with(word.as_bytes()));
        self.pos += if is { word.len() } else { 0 };
        is
    }
}

#[inline(never)]
fn not_json() -> ConfigError {
    ConfigError::new("is not JSON")
}

/// Refuses a key that is not known; of one that is too long, its beginning is shown with `…`.
#[doc(hidden)]
#[inline(never)]
pub fn unknown_key(key: &str) -> ConfigError {
    let error = ConfigError::new("is not a known key");
    if key.len() <= MAX_KEY_BYTES {
        return error.at(key);
    }
    let mut error = error;
    error.key.push_cut(key.get(..key.floor_char_boundary(MAX_KEY_BYTES)).unwrap_or_default());
    error.key.push_cut("…");
    error
}
