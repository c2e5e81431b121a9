//! What a plugin compares bytes with, found without running it: constants in the code that `portsplit_classify` can
//! reach, and the texts in its data. A random byte rarely is the one byte a branch asks for; one of these often is.

use std::collections::{BTreeMap, BTreeSet};

use wasmparser::{DataKind, ExternalKind, FunctionBody, Operator, Parser, Payload, TypeRef};

/// Constants and texts kept. Small plugins have some dozens; a Go program's runtime would drown them.
const MAX_TOKENS: usize = 512;
/// Functions looked into, nearest to `portsplit_classify` first.
const MAX_FUNCTIONS: usize = 64;
/// The longest text kept whole.
const MAX_TOKEN_BYTES: usize = 32;

/// Pieces of bytes and numbers that mean something to a plugin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dictionary {
    /// Bytes to be put somewhere.
    pub(crate) tokens: Vec<Vec<u8>>,
    /// Single bytes, neighbours of constants included.
    pub(crate) bytes: Vec<u8>,
    /// Numbers that may be lengths.
    pub(crate) lengths: Vec<usize>,
}

impl Dictionary {
    /// Collects from a module; empty for one that cannot be read.
    pub(crate) fn of_module(wasm: &[u8]) -> Dictionary {
        let found = scan(wasm).unwrap_or_default();
        let mut tokens: BTreeSet<Vec<u8>> = BTreeSet::new();
        let mut bytes: BTreeSet<u8> = [0, 1, 0x7f, 0x80, 0xff, b'\r', b'\n', b' ', b'a', b'0'].into();
        let mut lengths: BTreeSet<usize> = BTreeSet::new();
        for number in found.numbers {
            if number <= 0x100 {
                bytes.extend([number.wrapping_sub(1) as u8, number as u8, number.wrapping_add(1) as u8]);
            } else if tokens.len() < MAX_TOKENS {
                let width = if number > 0xffff_ffff {
                    8
                } else if number > 0xffff {
                    4
                } else {
                    2
                };
                let little: Vec<u8> = number.to_le_bytes().into_iter().take(width).collect();
                tokens.insert(little.iter().rev().copied().collect());
                tokens.insert(little);
            }
            if number < 1 << 16 {
                lengths.insert(number as usize);
            }
        }
        for text in found.texts {
            if tokens.len() < MAX_TOKENS {
                tokens.insert(text);
            }
        }
        Dictionary {
            tokens: tokens.into_iter().collect(),
            bytes: bytes.into_iter().collect(),
            lengths: lengths.into_iter().collect(),
        }
    }

    /// Adds the runs of printable bytes in an input.
    pub(crate) fn add_input(&mut self, bytes: &[u8]) {
        for text in texts(bytes) {
            if self.tokens.len() < MAX_TOKENS && !self.tokens.contains(&text) {
                self.tokens.push(text);
            }
        }
    }
}

#[derive(Default)]
struct Found {
    numbers: BTreeSet<u64>,
    texts: Vec<Vec<u8>>,
}

fn scan(wasm: &[u8]) -> Result<Found, wasmparser::Error> {
    let mut found = Found::default();
    let mut imported = 0;
    let mut classify = None;
    let mut bodies: Vec<FunctionBody<'_>> = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    imported += u32::from(matches!(import?.ty, TypeRef::Func(_)));
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    if export.name == "portsplit_classify" && export.kind == ExternalKind::Func {
                        classify = Some(export.index);
                    }
                }
            }
            Payload::CodeSectionEntry(body) => bodies.push(body),
            Payload::DataSection(segments) => {
                for segment in segments {
                    let segment = segment?;
                    if matches!(segment.kind, DataKind::Active { .. }) && found.texts.len() < MAX_TOKENS {
                        found.texts.extend(texts(segment.data));
                    }
                }
            }
            _ => {}
        }
    }
    let mut seen: BTreeMap<u32, ()> = BTreeMap::new();
    let mut queue: std::collections::VecDeque<u32> = classify.into_iter().collect();
    while let Some(function) = queue.pop_front() {
        if seen.len() >= MAX_FUNCTIONS || seen.insert(function, ()).is_some() {
            continue;
        }
        let Some(body) = function.checked_sub(imported).and_then(|i| bodies.get(i as usize)) else { continue };
        for operator in body.get_operators_reader()? {
            match operator? {
                Operator::I32Const { value } => {
                    found.numbers.insert(u64::from(value as u32));
                }
                Operator::I64Const { value } => {
                    found.numbers.insert(value as u64);
                }
                Operator::Call { function_index } => queue.push_back(function_index),
                _ => {}
            }
        }
    }
    Ok(found)
}

/// The runs of printable bytes, and short data as it is.
fn texts(bytes: &[u8]) -> Vec<Vec<u8>> {
    let printable = |b: &u8| matches!(b, b' '..=b'~' | b'\r' | b'\n');
    let runs = bytes.split(|b| !printable(b)).filter(|run| run.len() > 1);
    let mut out: Vec<Vec<u8>> = runs.map(|run| run.iter().copied().take(MAX_TOKEN_BYTES).collect()).collect();
    if (2..=MAX_TOKEN_BYTES).contains(&bytes.len()) && !out.iter().any(|run| run == bytes) {
        out.push(bytes.to_vec());
    }
    out.truncate(MAX_TOKENS);
    out
}
