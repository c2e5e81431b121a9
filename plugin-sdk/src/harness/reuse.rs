//! Calls a module twice in one instance, which the host never does, to see whether it keeps something from the first
//! call to the second.
//!
//! The runtime has no such call, so the module is changed instead: a new `portsplit_buffer` takes both inputs into
//! memory the plugin does not know of, and a new `portsplit_classify` hands them to the plugin's own functions one after
//! the other. Everything else of the module stays as it is.

use portsplit_runtime::Flags;
use wasmparser::{ExternalKind, Parser, Payload, TypeRef, ValType};

use super::judgement::Judgement;

/// Fuel for the added code and for growing the memory.
pub(crate) const FUEL: u64 = 200_000;

const TYPE: u8 = 1;
const FUNCTION: u8 = 3;
const GLOBAL: u8 = 6;
const EXPORT: u8 = 7;
const CODE: u8 = 10;
/// Sections in the order a module has them; 12 and 13 stand out of line in the format.
const ORDER: [u8; 13] = [1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11];

const I32: u8 = 0x7f;
const I64: u8 = 0x7e;

/// Makes the calls. `before` is called without flags, and its answer is not looked at.
pub(crate) fn call(
    twice: &portsplit_runtime::Plugin,
    max_bytes: Option<usize>,
    before: &[u8],
    bytes: &[u8],
    flags: Flags,
) -> Judgement {
    let max = max_bytes.unwrap_or(usize::MAX);
    let (before, shown) = (before.get(..max).unwrap_or(before), bytes.get(..max).unwrap_or(bytes));
    let full = if shown.len() >= max { Flags::BUFFER_FULL } else { Flags::NONE };
    let mut both = (before.len() as u32).to_le_bytes().to_vec();
    both.extend_from_slice(before);
    both.extend_from_slice(shown);
    let (result, stats) = twice.classify_measured(&both, flags | full);
    let mut judgement = Judgement::of_call(result, stats);
    if let Ok(answer) = &mut judgement.answer {
        // What the runtime makes of a hint depends on the bytes it has shown, which were both inputs.
        if let crate::Verdict::NeedMore(_) = answer.verdict {
            let total = (answer.argument as usize).max(shown.len() + 1).min(max);
            let over = full == Flags::BUFFER_FULL;
            answer.verdict = if over { crate::Verdict::Reject } else { crate::Verdict::NeedMore(total) };
        }
    }
    judgement
}

/// The parts of a module that are added to.
#[derive(Default)]
struct Parts<'a> {
    sections: Vec<(u8, &'a [u8])>,
    types: u32,
    imported_functions: u32,
    imported_globals: u32,
    functions: u32,
    globals: u32,
    exports: Vec<(String, u8, u32)>,
    buffer: Option<u32>,
    classify: Option<u32>,
    configure: Option<u32>,
}

/// The module with its calls replaced; `None` if it is not one whose parts can be told.
pub(crate) fn instrument(wasm: &[u8]) -> Option<Vec<u8>> {
    let parts = Parts::read(wasm)?;
    let (buffer, classify) = (parts.buffer?, parts.classify?);
    let first_type = parts.types;
    let first_function = parts.imported_functions + parts.functions;
    let staged = parts.imported_globals + parts.globals;

    let types = [[&[0x60, 1, I32, 1, I32][..]].concat(), [&[0x60, 2, I32, I32, 1, I64][..]].concat()];
    let mut functions = vec![leb(first_type), leb(first_type + 1)];
    let mut bodies = vec![body(&stage_code(staged)), body(&classify_code(staged, buffer, classify))];
    if let Some(configure) = parts.configure {
        functions.push(leb(first_type));
        bodies.push(body(&configure_code(staged, buffer, configure)));
    }
    let global = vec![I32, 1, 0x41, 0, 0x0b];
    let exports: Vec<Vec<u8>> = parts
        .exports
        .iter()
        .map(|(name, kind, index)| {
            let index = match name.as_str() {
                "portsplit_buffer" => first_function,
                "portsplit_classify" => first_function + 1,
                "portsplit_configure" => first_function + 2,
                _ => *index,
            };
            [leb(name.len() as u32), name.as_bytes().to_vec(), vec![*kind], leb(index)].concat()
        })
        .collect();

    let mut out = wasm.get(..8)?.to_vec();
    for id in ORDER {
        let old = parts.sections.iter().find(|(old, _)| *old == id).map(|(_, content)| *content);
        let content = match id {
            TYPE => extend(old, &types)?,
            FUNCTION => extend(old, &functions)?,
            GLOBAL => extend(old, std::slice::from_ref(&global))?,
            EXPORT => extend(None, &exports)?,
            CODE => extend(old, &bodies)?,
            _ => match old {
                Some(old) => old.to_vec(),
                None => continue,
            },
        };
        out.push(id);
        out.extend(leb(content.len() as u32));
        out.extend(content);
    }
    Some(out)
}

impl<'a> Parts<'a> {
    fn read(wasm: &'a [u8]) -> Option<Parts<'a>> {
        let mut parts = Parts::default();
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload.ok()?;
            if let Some((id, range)) = payload.as_section()
                && id != 0
            {
                parts.sections.push((id, wasm.get(range.start as usize..range.end as usize)?));
            }
            parts.take(payload)?;
        }
        Some(parts)
    }

    fn take(&mut self, payload: Payload<'_>) -> Option<()> {
        match payload {
            Payload::TypeSection(types) => {
                for group in types {
                    self.types += group.ok()?.types().len() as u32;
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    match import.ok()?.ty {
                        TypeRef::Func(_) => self.imported_functions += 1,
                        TypeRef::Global(_) => self.imported_globals += 1,
                        _ => {}
                    }
                }
            }
            Payload::FunctionSection(functions) => self.functions = functions.count(),
            Payload::GlobalSection(globals) => {
                self.globals = globals.count();
                // Their types are read so that a broken section is noticed here.
                for global in globals {
                    let _: ValType = global.ok()?.ty.content_type;
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export.ok()?;
                    let kind = match export.kind {
                        ExternalKind::Func => 0,
                        ExternalKind::Table => 1,
                        ExternalKind::Memory => 2,
                        ExternalKind::Global => 3,
                        _ => return None,
                    };
                    match export.name {
                        "portsplit_buffer" => self.buffer = Some(export.index),
                        "portsplit_classify" => self.classify = Some(export.index),
                        "portsplit_configure" => self.configure = Some(export.index),
                        _ => {}
                    }
                    self.exports.push((export.name.to_owned(), kind, export.index));
                }
            }
            _ => {}
        }
        Some(())
    }
}

/// A section's content with entries added: the number of entries comes first.
fn extend(old: Option<&[u8]>, added: &[Vec<u8>]) -> Option<Vec<u8>> {
    let (count, rest) = old.map_or(Some((0, &[][..])), read_leb)?;
    let mut out = leb(count + added.len() as u32);
    out.extend_from_slice(rest);
    out.extend(added.iter().flatten());
    Some(out)
}

/// `buffer'(len)`: grows the memory by enough pages, and remembers and returns where they begin; 0 if it cannot.
fn stage_code(staged: u32) -> Vec<u8> {
    let mut code = vec![0x20, 0]; // len
    code.extend([0x41, 16, 0x76, 0x41, 1, 0x6a]); // >> 16, + 1: pages
    code.extend([0x40, 0]); // memory.grow
    code.extend([0x22, 0, 0x41, 0x7f, 0x46]); // tee len; == -1
    code.extend([0x04, I32, 0x41, 0, 0x05]); // if 0 else
    code.extend([0x20, 0, 0x41, 16, 0x74]); // pages << 16
    code.extend(with(0x24, staged));
    code.extend(with(0x23, staged));
    code.push(0x0b);
    code
}

/// `classify'(len, flags)`: the staged bytes are a length, the first input of that length, and the second input.
fn classify_code(staged: u32, buffer: u32, classify: u32) -> Vec<u8> {
    let staged_get = with(0x23, staged);
    let first_len = [staged_get.clone(), vec![0x28, 2, 0]].concat(); // i32.load
    let second_len = [vec![0x20, 0, 0x41, 4, 0x6b], first_len.clone(), vec![0x6b]].concat(); // len - 4 - first
    let first_from = [staged_get.clone(), vec![0x41, 4, 0x6a]].concat();
    let second_from = [first_from.clone(), first_len.clone(), vec![0x6a]].concat();
    let mut code = fill(&first_len, &first_from, buffer);
    code.extend(&first_len);
    code.extend([0x41, 0]);
    code.extend(with(0x10, classify));
    code.push(0x1a); // drop
    code.extend(fill(&second_len, &second_from, buffer));
    code.extend(&second_len);
    code.extend([0x20, 1]);
    code.extend(with(0x10, classify));
    code
}

/// `configure'(len)`: the staged bytes are the configuration.
fn configure_code(staged: u32, buffer: u32, configure: u32) -> Vec<u8> {
    let mut code = fill(&[0x20, 0], &with(0x23, staged), buffer);
    code.extend([0x20, 0]);
    code.extend(with(0x10, configure));
    code
}

/// `memory.copy(buffer(len), from, len)`
fn fill(len: &[u8], from: &[u8], buffer: u32) -> Vec<u8> {
    let mut code = len.to_vec();
    code.extend(with(0x10, buffer));
    code.extend(from);
    code.extend(len);
    code.extend([0xfc, 10, 0, 0]);
    code
}

/// A function body: its size, no local variables, the code, the end.
fn body(code: &[u8]) -> Vec<u8> {
    let mut out = leb(code.len() as u32 + 2);
    out.push(0);
    out.extend_from_slice(code);
    out.push(0x0b);
    out
}

fn with(opcode: u8, index: u32) -> Vec<u8> {
    let mut out = vec![opcode];
    out.extend(leb(index));
    out
}

fn leb(mut value: u32) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(low);
            return out;
        }
        out.push(low | 0x80);
    }
}

fn read_leb(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut value = 0u32;
    for (i, byte) in bytes.iter().enumerate().take(5) {
        value |= u32::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(i + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
    use crate::harness::{Flags, Plugin};

    fn load(wat: &str) -> Plugin {
        Plugin::wasm(wat::parse_str(wat).unwrap()).load().unwrap()
    }

    #[test]
    fn a_second_call_gets_its_own_bytes_and_configuration() {
        let good = load(include_str!("../../../tests/bad-plugins/good.wat"));
        let strict = good.with_config(&serde_json::json!({ "strict": 1 })).unwrap();
        for (plugin, kind) in [(&good, 2), (&strict, 1)] {
            let letter = [&b"POST"[..], &[kind, 2], b"ab"].concat();
            for before in [&b""[..], b"GET", &letter, &[0; 4_000]] {
                for len in 0..=letter.len() {
                    let fresh = plugin.classify(&letter[..len], Flags::NONE);
                    let reused = plugin.classify_reused(before, &letter[..len], Flags::NONE).unwrap();
                    assert_eq!(reused.verdict(), fresh.verdict(), "{before:?} then {len}");
                    assert!(reused.facts().ends_with(fresh.facts()));
                }
            }
        }
        let other = strict.classify_reused(b"", b"POST\x02\x02ab", Flags::NONE).unwrap();
        assert_eq!(other.verdict(), Some(crate::Verdict::Reject));
    }

    #[test]
    fn a_global_that_is_left_changed_shows() {
        let counting = load(include_str!("../../../tests/bad-plugins/pure.wat"));
        let fresh = counting.classify(b"POST\x01\x02ab", Flags::NONE);
        let reused = counting.classify_reused(b"POST\x01\x02ab", b"POST\x01\x02ab", Flags::NONE).unwrap();
        assert_ne!(reused.verdict(), fresh.verdict());
    }
}
