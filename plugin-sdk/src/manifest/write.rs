//! Writes a manifest as JSON in constant evaluation, where there is neither an allocator nor formatting.
//!
//! Everything runs twice: with room for nothing, to learn the length, and with just that room.
#![allow(clippy::indexing_slicing)] // Evaluated by the compiler, where leaving an array is an error and not a crash.

use super::{Example, ExampleInput, Manifest};
use crate::{Key, Schema};

/// JSON text of at most `N` bytes that was written at compile time.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::JsonText;
/// let text = JsonText::<0>::new();
/// assert_eq!((text.len(), text.as_str()), (0, ""));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct JsonText<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> JsonText<N> {
    /// An empty text.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(portsplit_plugin_sdk::JsonText::<8>::new().is_empty());
    /// ```
    pub const fn new() -> Self {
        JsonText { bytes: [0; N], len: 0 }
    }

    /// The bytes written, those that had no room included.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(portsplit_plugin_sdk::JsonText::<8>::new().len(), 0);
    /// ```
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was written.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(portsplit_plugin_sdk::JsonText::<8>::new().is_empty());
    /// ```
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(portsplit_plugin_sdk::JsonText::<2>::new().to_array(), [0, 0]);
    /// ```
    pub const fn to_array(&self) -> [u8; N] {
        self.bytes
    }

    /// The text; empty if it did not fit.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(portsplit_plugin_sdk::JsonText::<2>::new().as_str(), "");
    /// ```
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.bytes.get(..self.len).unwrap_or_default()).unwrap_or_default()
    }

    const fn byte(&mut self, byte: u8) {
        if self.len < N {
            self.bytes[self.len] = byte;
        }
        self.len += 1;
    }

    const fn raw(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let mut i = 0;
        while i < bytes.len() {
            self.byte(bytes[i]);
            i += 1;
        }
    }

    const fn hex(&mut self, byte: u8) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        self.byte(DIGITS[(byte >> 4) as usize]);
        self.byte(DIGITS[(byte & 15) as usize]);
    }

    /// The inside of a string.
    const fn escaped(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let mut i = 0;
        while i < bytes.len() {
            match bytes[i] {
                b'"' => self.raw("\\\""),
                b'\\' => self.raw("\\\\"),
                b'\n' => self.raw("\\n"),
                b'\r' => self.raw("\\r"),
                b'\t' => self.raw("\\t"),
                byte @ (0..=0x1f | 0x7f) => {
                    self.raw("\\u00");
                    self.hex(byte);
                }
                byte => self.byte(byte),
            }
            i += 1;
        }
    }

    const fn string(&mut self, text: &str) {
        self.byte(b'"');
        self.escaped(text);
        self.byte(b'"');
    }

    const fn strings(&mut self, texts: &[&str]) {
        self.byte(b'[');
        let mut i = 0;
        while i < texts.len() {
            self.comma(i > 0);
            self.string(texts[i]);
            i += 1;
        }
        self.byte(b']');
    }

    const fn number(&mut self, value: u64) {
        if value >= 10 {
            self.number(value / 10);
        }
        self.byte(b'0' + (value % 10) as u8);
    }

    const fn comma(&mut self, needed: bool) {
        if needed {
            self.byte(b',');
        }
    }

    const fn schema(&mut self, schema: &Schema) {
        self.byte(b'{');
        self.schema_inside(schema);
        self.byte(b'}');
    }

    const fn schema_inside(&mut self, schema: &Schema) {
        match schema {
            Schema::Bool => self.raw(r#""type":"boolean""#),
            Schema::Integer { min, max } => {
                self.raw(r#""type":"integer","minimum":"#);
                self.raw(if *min < 0 { "-" } else { "" });
                self.number(min.unsigned_abs());
                self.raw(r#","maximum":"#);
                self.number(*max);
            }
            Schema::Text { max_bytes } => {
                self.raw(r#""type":"string","maxLength":"#);
                self.number(*max_bytes as u64);
            }
            Schema::List { item, max_items } => {
                self.raw(r#""type":"array","items":"#);
                self.schema(item);
                self.raw(r#","maxItems":"#);
                self.number(*max_items as u64);
            }
            Schema::Table { keys } => self.table(keys),
        }
    }

    const fn table(&mut self, keys: &[Key]) {
        self.raw(r#""type":"object","properties":{"#);
        let mut i = 0;
        while i < keys.len() {
            self.comma(i > 0);
            self.string(keys[i].name);
            self.raw(":{");
            self.schema_inside(&keys[i].schema);
            if !keys[i].doc.is_empty() {
                self.raw(r#","description":""#);
                self.doc(keys[i].doc);
                self.byte(b'"');
            }
            self.byte(b'}');
            i += 1;
        }
        self.raw(r#"},"required":["#);
        let mut i = 0;
        let mut written = false;
        while i < keys.len() {
            if keys[i].required {
                self.comma(written);
                self.string(keys[i].name);
                written = true;
            }
            i += 1;
        }
        self.raw(r#"],"additionalProperties":false"#);
    }

    /// The lines of a documentation comment as one line. Each begins with the space after `///`; the first gives its
    /// space up.
    const fn doc(&mut self, lines: &[&str]) {
        let mut i = 0;
        while i < lines.len() {
            let bytes = lines[i].as_bytes();
            let line = match bytes.split_first() {
                Some((b' ', rest)) if i == 0 => rest,
                _ => bytes,
            };
            // Cutting an ASCII space off leaves UTF-8.
            if let Ok(line) = core::str::from_utf8(line) {
                self.escaped(line);
            }
            i += 1;
        }
    }

    const fn example(&mut self, example: &Example) {
        match example.input {
            ExampleInput::Text(text) => {
                self.raw(r#"{"text":"#);
                self.string(text);
            }
            ExampleInput::Bytes(bytes) => {
                self.raw(r#"{"hex":""#);
                let mut i = 0;
                while i < bytes.len() {
                    self.hex(bytes[i]);
                    i += 1;
                }
                self.byte(b'"');
            }
        }
        self.raw(r#","verdict":"#);
        self.string(example.verdict);
        if let Some(at) = example.at {
            self.raw(r#","at":"#);
            self.number(at as u64);
        }
        if let Some(config) = example.config {
            self.raw(r#","config":"#);
            self.raw(config);
        }
        if example.fact_count > 0 {
            self.raw(r#","facts":{"#);
            self.example_facts(example);
            self.byte(b'}');
        }
        self.byte(b'}');
    }

    /// A string for a fact with one value, a list for one with several.
    const fn example_facts(&mut self, example: &Example) {
        let mut i = 0;
        while i < example.fact_count {
            let name = example.facts[i].0;
            if occurrences(example, name, i) == 0 {
                let several = occurrences(example, name, example.fact_count) > 1;
                self.comma(i > 0);
                self.string(name);
                self.raw(if several { ":[" } else { ":" });
                let mut k = i;
                while k < example.fact_count {
                    if same(example.facts[k].0, name) {
                        self.comma(k > i);
                        self.string(example.facts[k].1);
                    }
                    k += 1;
                }
                self.raw(if several { "]" } else { "" });
            }
            i += 1;
        }
    }
}

impl<const N: usize> Default for JsonText<N> {
    fn default() -> Self {
        JsonText::new()
    }
}

/// How often `name` is among the first `end` facts.
const fn occurrences(example: &Example, name: &str, end: usize) -> usize {
    let mut count = 0;
    let mut i = 0;
    while i < end {
        count += same(example.facts[i].0, name) as usize;
        i += 1;
    }
    count
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut i = 0;
    while i < a.len() && i < b.len() && a[i] == b[i] {
        i += 1;
    }
    i == a.len() && i == b.len()
}

/// Writes `manifest` as JSON. With `N` 0 only the length is right: it is the `N` to call it with.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::{JsonText, Manifest, Schema, manifest_json};
///
/// const PING: Manifest = Manifest {
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
/// const JSON: JsonText<{ manifest_json::<0>(&PING).len() }> = manifest_json(&PING);
/// assert!(JSON.as_str().contains(r#""max_bytes":4"#));
/// ```
pub const fn manifest_json<const N: usize>(manifest: &Manifest) -> JsonText<N> {
    let mut json = JsonText::new();
    json.raw(r#"{"name":"#);
    json.string(manifest.name);
    json.raw(r#","version":"#);
    json.string(manifest.version);
    json.raw(r#","abi":"1.0","description":"#);
    json.string(manifest.description);
    json.raw(r#","protocols":"#);
    json.strings(manifest.protocols);
    json.raw(r#","max_bytes":"#);
    json.number(manifest.max_bytes as u64);
    json.raw(r#","facts":["#);
    let mut i = 0;
    while i < manifest.facts.len() {
        json.comma(i > 0);
        json.raw(r#"{"name":"#);
        json.string(manifest.facts[i].name);
        json.raw(r#","description":"#);
        json.string(manifest.facts[i].description);
        json.byte(b'}');
        i += 1;
    }
    json.raw(r#"],"cannot_see":"#);
    json.strings(manifest.cannot_see);
    json.raw(r#","config_schema":"#);
    json.schema(&manifest.config);
    json.raw(r#","examples":["#);
    let mut i = 0;
    while i < manifest.examples.len() {
        json.comma(i > 0);
        json.example(&manifest.examples[i]);
        i += 1;
    }
    json.raw("]}");
    json
}
