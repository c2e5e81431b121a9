//! Reads a module without running or compiling it: whether it keeps to the ABI, what it imports and exports, how large
//! it is, and its manifest.
//!
//! This is where a module is refused by name for what it may not have, and where compile time is bounded: the limits on
//! functions and on the size of one function are checked before the compiler sees a byte.

mod abi;
mod cost;

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use wasmparser::{Encoding, ExternalKind, FuncType, Parser, Payload, TypeRef};

pub(crate) use self::cost::check_compile_cost;
use crate::error::LoadError;
use crate::manifest::{Manifest, ManifestError, SECTION};

/// Functions one module may define. Go's runtime has about 2,000; 10,000 small ones compile in about a second.
const MAX_FUNCTIONS: u64 = 10_000;

/// Bytes one function may have. Compilers emit at most some tens of KiB, and compile time grows faster than this.
const MAX_FUNCTION_BYTES: u64 = 256 << 10;

/// Local variables one function may have. Compilers emit hundreds; tens of thousands slow the register allocator.
const MAX_LOCALS: u64 = 4_000;

/// Elements a table may start with and grow to: all functions of a Go program are in one.
pub(crate) const MAX_TABLE_ELEMENTS: u64 = 20_000;

/// Data segments, globals and element segments of one module. Go's linker makes 21,000 data segments.
const MAX_SEGMENTS: u64 = 60_000;

/// What can be known about a module by reading it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ModuleInfo {
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
    /// The file's size.
    pub size_bytes: usize,
    /// `module.name` of each import, in order.
    pub imports: Vec<String>,
    /// The name of each export, in order.
    pub exports: Vec<String>,
    /// The functions it defines.
    pub functions: u64,
    /// The memory it starts with, in bytes.
    pub memory_bytes: u64,
    /// Whether it has `portsplit_configure`.
    pub takes_config: bool,
    /// Whether it has something to run once before the first call: a start function or `_initialize`.
    pub has_init: bool,
    /// Whether it imports from `wasi_snapshot_preview1`.
    pub uses_wasi: bool,
    /// Its manifest, if it has one.
    pub manifest: Option<Manifest>,
    /// What the author should know though the module loads.
    pub warnings: Vec<String>,
    pub(crate) start: Option<u32>,
    pub(crate) data_segments: u64,
}

impl ModuleInfo {
    /// The SHA-256 in lower-case hex.
    pub fn sha256_hex(&self) -> String {
        hex(&self.sha256)
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Reads a module and checks it against the ABI. Does not compile it: a function body may still turn out invalid.
///
/// # Errors
///
/// [`LoadError`] naming the first thing that keeps it from being a plugin.
pub fn inspect(wasm: &[u8]) -> Result<ModuleInfo, LoadError> {
    recognise(wasm)?;
    let mut scan = Scan::default();
    for payload in Parser::new(0).parse_all(wasm) {
        scan.payload(payload.map_err(malformed)?)?;
    }
    scan.finish(wasm)
}

/// Tells a core module from everything else by its first bytes.
pub(crate) fn recognise(wasm: &[u8]) -> Result<(), LoadError> {
    let found = match wasm {
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => return Ok(()),
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => return Err(LoadError::Component),
        [0, b'a', b's', b'm', _, _, _, _, ..] => "it has an unknown version of the binary format",
        [] => "the file is empty",
        [0x7f, b'E', b'L', b'F', ..] => {
            "it is native code (ELF), perhaps a precompiled `.cwasm`; give the `.wasm` it was compiled from"
        }
        [b'B', b'C', 0xc0, 0xde, ..] => "it is LLVM bitcode; link it first",
        [b'!', b'<', b'a', b'r', b'c', b'h', b'>', ..] => "it is a static library; link it into a module first",
        [b'(', ..] | [b';', b';', ..] => "it is WebAssembly text; assemble it first (`wat2wasm` or `wasm-tools parse`)",
        [0x00, b'a', ..] | [0x00] => "the file ends within its first 8 bytes",
        _ => "it does not start with the bytes `\\0asm`",
    };
    Err(LoadError::NotWasm { found })
}

fn malformed(e: wasmparser::Error) -> LoadError {
    LoadError::Malformed { offset: e.offset(), reason: e.message().to_string() }
}

fn at_most(what: &'static str, count: u64, limit: u64) -> Result<(), LoadError> {
    if count > limit { Err(LoadError::TooComplex { what, count, limit }) } else { Ok(()) }
}

/// What has been seen of the module so far.
#[derive(Default)]
struct Scan {
    types: Vec<FuncType>,
    /// Type index of every function, imported ones first.
    functions: Vec<u32>,
    imported_functions: u64,
    imports: Vec<(String, String)>,
    exports: BTreeMap<String, (ExternalKind, u32)>,
    export_order: Vec<String>,
    memories: Vec<wasmparser::MemoryType>,
    start: Option<u32>,
    data_segments: u64,
    manifest: Option<Manifest>,
    uses_wasi: bool,
}

impl Scan {
    fn payload(&mut self, payload: Payload<'_>) -> Result<(), LoadError> {
        match payload {
            Payload::Version { encoding: Encoding::Component, .. } => return Err(LoadError::Component),
            Payload::TypeSection(reader) => {
                for ty in reader.into_iter_err_on_gc_types() {
                    self.types.push(ty.map_err(malformed)?);
                }
            }
            Payload::ImportSection(reader) => {
                for import in reader.into_imports() {
                    self.import(import.map_err(malformed)?)?;
                }
            }
            Payload::FunctionSection(reader) => {
                at_most("functions", u64::from(reader.count()), MAX_FUNCTIONS)?;
                for ty in reader {
                    self.functions.push(ty.map_err(malformed)?);
                }
            }
            Payload::TableSection(reader) => {
                at_most("tables", u64::from(reader.count()), 1)?;
                for table in reader {
                    at_most("table elements", table.map_err(malformed)?.ty.initial, MAX_TABLE_ELEMENTS)?;
                }
            }
            Payload::MemorySection(reader) => {
                at_most("memories", u64::from(reader.count()), 1)?;
                for memory in reader {
                    self.memories.push(memory.map_err(malformed)?);
                }
            }
            Payload::GlobalSection(reader) => at_most("globals", u64::from(reader.count()), MAX_SEGMENTS)?,
            Payload::ElementSection(reader) => at_most("element segments", u64::from(reader.count()), MAX_SEGMENTS)?,
            Payload::ExportSection(reader) => {
                at_most("exports", u64::from(reader.count()), MAX_FUNCTIONS)?;
                for export in reader {
                    let export = export.map_err(malformed)?;
                    self.export_order.push(export.name.to_owned());
                    self.exports.insert(export.name.to_owned(), (export.kind, export.index));
                }
            }
            Payload::StartSection { func, .. } => self.start = Some(func),
            Payload::CodeSectionEntry(body) => {
                let range = body.range();
                at_most("bytes in one function", range.end - range.start, MAX_FUNCTION_BYTES)?;
                let mut locals = 0u64;
                for group in body.get_locals_reader().map_err(malformed)? {
                    locals += u64::from(group.map_err(malformed)?.0);
                }
                at_most("local variables in one function", locals, MAX_LOCALS)?;
            }
            Payload::DataSection(reader) => {
                self.data_segments = u64::from(reader.count());
                at_most("data segments", self.data_segments, MAX_SEGMENTS)?;
            }
            Payload::CustomSection(reader) if reader.name() == SECTION => {
                if self.manifest.is_some() {
                    return Err(ManifestError::Twice.into());
                }
                self.manifest = Some(Manifest::parse(reader.data())?);
            }
            _ => {}
        }
        Ok(())
    }

    fn import(&mut self, import: wasmparser::Import<'_>) -> Result<(), LoadError> {
        let refuse = |advice| {
            let (module, name) = (crate::text::printable(import.module.as_bytes()), import.name);
            Err(LoadError::Import { module, name: crate::text::printable(name.as_bytes()), advice })
        };
        let (TypeRef::Func(ty) | TypeRef::FuncExact(ty)) = import.ty else {
            return refuse(abi::NOT_A_FUNCTION);
        };
        match abi::import(import.module, import.name) {
            abi::Allowed::Ours(expected) => {
                let found = self.types.get(ty as usize);
                if !found.is_some_and(|found| expected.is(found)) {
                    return Err(LoadError::WrongType {
                        name: format!("{}.{}", import.module, import.name),
                        expected: expected.text,
                        found: found.map_or_else(|| "an unknown type".to_owned(), abi::type_text),
                    });
                }
            }
            abi::Allowed::Wasi => self.uses_wasi = true,
            abi::Allowed::No(advice) => return refuse(advice),
        }
        self.functions.push(ty);
        self.imported_functions += 1;
        self.imports.push((import.module.to_owned(), import.name.to_owned()));
        Ok(())
    }

    /// Whether `name` is exported; an error if it is exported with another type.
    fn export(&self, name: &str, expected: abi::Signature) -> Result<bool, LoadError> {
        let Some(&(kind, index)) = self.exports.get(name) else { return Ok(false) };
        let ty = self.functions.get(index as usize).and_then(|&ty| self.types.get(ty as usize));
        let found = match kind {
            ExternalKind::Func => ty.map_or_else(|| "an unknown type".to_owned(), abi::type_text),
            other => format!("{other:?}").to_lowercase(),
        };
        if kind == ExternalKind::Func && ty.is_some_and(|ty| expected.is(ty)) {
            return Ok(true);
        }
        Err(LoadError::WrongType { name: name.to_owned(), expected: expected.text, found })
    }

    fn finish(self, wasm: &[u8]) -> Result<ModuleInfo, LoadError> {
        self.check_version()?;
        for (name, signature, advice) in abi::REQUIRED {
            if !self.export(name, *signature)? {
                return Err(LoadError::MissingExport { name, advice });
            }
        }
        let takes_config = self.export("portsplit_configure", abi::CONFIGURE)?;
        let has_initialize = self.export("_initialize", abi::NOTHING)?;
        if let Some((kind, _)) = self.exports.get("memory")
            && *kind != ExternalKind::Memory
        {
            let found = format!("{kind:?}").to_lowercase();
            return Err(LoadError::WrongType { name: "memory".to_owned(), expected: "memory", found });
        }
        let (true, Some(memory)) = (self.exports.contains_key("memory"), self.memories.first()) else {
            return Err(LoadError::MissingExport { name: "memory", advice: "export the module's linear memory" });
        };
        if memory.memory64 || memory.shared || memory.page_size_log2.is_some_and(|log2| log2 != 16) {
            return Err(LoadError::WrongType {
                name: "memory".to_owned(),
                expected: "a 32-bit memory with pages of 64 KiB that is not shared",
                found: if memory.shared { "a shared memory" } else { "a 64-bit memory or other pages" }.to_owned(),
            });
        }
        let mut warnings = Vec::new();
        match &self.manifest {
            None => warnings.push("it has no manifest; `portsplit plugin pack` adds one".to_owned()),
            Some(manifest) => {
                if manifest.abi_minor() > abi::MINOR {
                    let (abi, ours) = (&manifest.abi, abi::MINOR);
                    warnings.push(format!("it is built for ABI {abi}, newer than this portsplit's 1.{ours}"));
                }
                let schema = manifest.config_schema.as_ref().and_then(|schema| schema.get("properties")?.as_object());
                if !takes_config && schema.is_some_and(|keys| !keys.is_empty()) {
                    warnings.push("it describes a configuration but does not export `portsplit_configure`".to_owned());
                }
                warnings.extend(manifest.unknown.keys().map(|key| format!("its manifest has the unknown key `{key}`")));
            }
        }
        Ok(ModuleInfo {
            sha256: Sha256::digest(wasm).into(),
            size_bytes: wasm.len(),
            imports: self.imports.iter().map(|(module, name)| format!("{module}.{name}")).collect(),
            functions: self.functions.len() as u64 - self.imported_functions,
            memory_bytes: memory.initial.saturating_mul(64 << 10),
            takes_config,
            has_init: has_initialize || self.start.is_some(),
            uses_wasi: self.uses_wasi,
            exports: self.export_order,
            manifest: self.manifest,
            warnings,
            start: self.start,
            data_segments: self.data_segments,
        })
    }

    fn check_version(&self) -> Result<(), LoadError> {
        if let Some(manifest) = &self.manifest
            && manifest.abi.split('.').next() != Some("1")
        {
            return Err(LoadError::Abi { found: manifest.abi.clone(), advice: abi::VERSION_ADVICE });
        }
        if self.export("portsplit_abi_1", abi::NOTHING)? {
            return Ok(());
        }
        let other = self.exports.keys().find_map(|name| name.strip_prefix("portsplit_abi_"));
        match other {
            Some(found) => {
                Err(LoadError::Abi { found: crate::text::printable(found.as_bytes()), advice: abi::VERSION_ADVICE })
            }
            None => Err(LoadError::MissingExport {
                name: "portsplit_abi_1",
                advice: "a plugin exports this function, which is never called, to say that it speaks ABI 1 (the \
                         newest); is this file a portsplit plugin?",
            }),
        }
    }
}
