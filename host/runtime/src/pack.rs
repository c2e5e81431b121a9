//! Writes a manifest into a module, and takes sections out of one.
//!
//! Only whole sections are copied or dropped, so the code is the same byte for byte.

use wasmparser::{DataKind, Parser, Payload};

use crate::error::LoadError;
use crate::inspect::recognise;
use crate::manifest::{Manifest, SECTION};

const CUSTOM: u8 = 0;

/// Returns `wasm` with `manifest` (JSON) as its manifest section, in place of one it may have.
///
/// The JSON is checked first and written as given. The module is only split into sections, not checked against the ABI.
///
/// # Errors
///
/// [`LoadError::Manifest`] for the JSON; [`LoadError::NotWasm`], [`LoadError::Component`] or [`LoadError::Malformed`]
/// for the module.
///
/// # Examples
///
/// ```
/// let module = b"\0asm\x01\0\0\0";
/// let manifest = br#"{"name": "ssh", "version": "0.1.0", "abi": "1.0"}"#;
/// let packed = portsplit_runtime::pack(module, manifest)?;
/// assert_eq!(portsplit_runtime::manifest_bytes(&packed)?, Some(&manifest[..]));
/// # Ok::<(), portsplit_runtime::LoadError>(())
/// ```
pub fn pack(wasm: &[u8], manifest: &[u8]) -> Result<Vec<u8>, LoadError> {
    Manifest::parse(manifest)?;
    let mut out = copy_without(wasm, |name| name == SECTION)?;
    append_custom(&mut out, SECTION, manifest);
    Ok(out)
}

/// The manifest section of a module, unread; `None` if it has none.
///
/// # Errors
///
/// [`LoadError::NotWasm`], [`LoadError::Component`] or [`LoadError::Malformed`].
pub fn manifest_bytes(wasm: &[u8]) -> Result<Option<&[u8]>, LoadError> {
    recognise(wasm)?;
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::CustomSection(section) = payload.map_err(malformed)?
            && section.name() == SECTION
        {
            return Ok(Some(section.data()));
        }
    }
    Ok(None)
}

/// Copies a module without its custom sections, except for the names of its functions, which go to the end.
pub(crate) fn strip(wasm: &[u8]) -> Result<Vec<u8>, LoadError> {
    let mut out = copy_without(wasm, |_| true)?;
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::CustomSection(section) = payload.map_err(malformed)?
            && section.name() == "name"
        {
            append_custom(&mut out, "name", section.data());
            break;
        }
    }
    Ok(out)
}

/// Copies a module without its passive data segments, if it has no code that could ask for one.
///
/// A snapshot turns every segment a module came with into an empty passive one. Go's linker makes 21,000 of them, and
/// each costs time and memory in every instance.
pub(crate) fn without_passive_segments(wasm: &[u8]) -> Result<Vec<u8>, LoadError> {
    let sections = || Parser::new(0).parse_all(wasm);
    // Code that names a segment is not valid in a module without this section.
    if sections().any(|payload| matches!(payload, Ok(Payload::DataCountSection { .. }))) {
        return Ok(wasm.to_vec());
    }
    copy(wasm, |payload| {
        let Payload::DataSection(segments) = payload else { return Ok(Kept::AsItIs) };
        let (mut count, mut kept) = (0, Vec::new());
        for segment in segments.clone() {
            let segment = segment.map_err(malformed)?;
            if matches!(segment.kind, DataKind::Active { .. }) {
                count += 1;
                kept.extend_from_slice(
                    wasm.get(segment.range.start as usize..segment.range.end as usize).unwrap_or_default(),
                );
            }
        }
        let mut content = Vec::with_capacity(kept.len() + 5);
        append_leb(&mut content, count);
        content.append(&mut kept);
        Ok(Kept::Changed(content))
    })
}

/// What becomes of a section in a copy.
enum Kept {
    AsItIs,
    Changed(Vec<u8>),
    No,
}

fn copy_without(wasm: &[u8], drop: impl Fn(&str) -> bool) -> Result<Vec<u8>, LoadError> {
    copy(wasm, |payload| match payload {
        Payload::CustomSection(section) if drop(section.name()) => Ok(Kept::No),
        _ => Ok(Kept::AsItIs),
    })
}

fn copy(wasm: &[u8], keep: impl Fn(&Payload<'_>) -> Result<Kept, LoadError>) -> Result<Vec<u8>, LoadError> {
    recognise(wasm)?;
    let mut out = wasm.get(..8).unwrap_or_default().to_vec();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(malformed)?;
        let Some((id, range)) = payload.as_section() else { continue };
        match keep(&payload)? {
            Kept::AsItIs => {
                append_section(&mut out, id, wasm.get(range.start as usize..range.end as usize).unwrap_or_default());
            }
            Kept::Changed(content) => append_section(&mut out, id, &content),
            Kept::No => {}
        }
    }
    Ok(out)
}

fn malformed(e: wasmparser::Error) -> LoadError {
    LoadError::Malformed { offset: e.offset(), reason: e.message().to_string() }
}

fn append_custom(out: &mut Vec<u8>, name: &str, data: &[u8]) {
    let mut content = Vec::with_capacity(data.len() + name.len() + 5);
    append_leb(&mut content, name.len());
    content.extend_from_slice(name.as_bytes());
    content.extend_from_slice(data);
    append_section(out, CUSTOM, &content);
}

fn append_section(out: &mut Vec<u8>, id: u8, content: &[u8]) {
    out.push(id);
    append_leb(out, content.len());
    out.extend_from_slice(content);
}

/// Appends a number as LEB128, seven bits a byte.
fn append_leb(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests;
