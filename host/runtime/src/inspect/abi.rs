//! ABI version 1 as tables: which exports a plugin must have, and which imports it may have.

use wasmparser::{FuncType, ValType};

/// The newest minor version of ABI 1 this host implements.
pub(super) const MINOR: u32 = 0;

pub(super) const VERSION_ADVICE: &str =
    "rebuild the plugin with an SDK for ABI 1, or use a portsplit that speaks the plugin's version";

/// A function type of the contract.
#[derive(Clone, Copy)]
pub(super) struct Signature {
    params: &'static [ValType],
    results: &'static [ValType],
    /// How the ABI's documentation writes it.
    pub(super) text: &'static str,
}

impl Signature {
    pub(super) fn is(&self, ty: &FuncType) -> bool {
        ty.params() == self.params && ty.results() == self.results
    }
}

const I32: ValType = ValType::I32;

pub(super) const NOTHING: Signature = Signature { params: &[], results: &[], text: "() -> ()" };
pub(super) const CONFIGURE: Signature = Signature { params: &[I32], results: &[I32], text: "(i32) -> i32" };
const CLASSIFY: Signature = Signature { params: &[I32, I32], results: &[ValType::I64], text: "(i32, i32) -> i64" };
const FACT: Signature = Signature { params: &[I32; 4], results: &[I32], text: "(i32, i32, i32, i32) -> i32" };
const LOG: Signature = Signature { params: &[I32; 3], results: &[], text: "(i32, i32, i32) -> ()" };
const FAIL: Signature = Signature { params: &[I32; 2], results: &[], text: "(i32, i32) -> ()" };
const ABORT: Signature = Signature { params: &[I32; 4], results: &[], text: "(i32, i32, i32, i32) -> ()" };

/// The functions every plugin exports, with what to do where one is missing.
pub(super) const REQUIRED: &[(&str, Signature, &str)] = &[
    ("portsplit_buffer", CONFIGURE, "it gives the host the address of a buffer to write the client's bytes to"),
    ("portsplit_classify", CLASSIFY, "it gives the verdict of the bytes in the buffer"),
];

/// Why nothing but functions may be imported, and what to do.
pub(super) const NOT_A_FUNCTION: &str = "only functions may be imported; a plugin brings its own memory (for \
    AssemblyScript: no `--importMemory`), tables and globals";

/// Whether something may be imported.
pub(super) enum Allowed {
    /// A function of the contract, with its type.
    Ours(Signature),
    /// A function of WASI preview 1; the engine checks its type.
    Wasi,
    /// No, and what to do.
    No(&'static str),
}

pub(super) fn import(module: &str, name: &str) -> Allowed {
    match (module, name) {
        ("portsplit", "fact") => Allowed::Ours(FACT),
        ("portsplit", "log") => Allowed::Ours(LOG),
        ("portsplit", "fail") => Allowed::Ours(FAIL),
        ("portsplit", _) => Allowed::No(
            "ABI 1.0 has only `fact`, `log` and `fail`; a newer plugin needs a newer portsplit, otherwise check the \
             spelling",
        ),
        ("env", "abort") => Allowed::Ours(ABORT),
        ("env", _) => Allowed::No(
            "a symbol was left undefined when the module was linked: define it, or link without `--allow-undefined` to \
             see where it is used",
        ),
        ("wasi_snapshot_preview1", name) if WASI.contains(&name) => Allowed::Wasi,
        ("wasi_snapshot_preview1", _) => Allowed::No("WASI preview 1 has no such function, or only for sockets"),
        ("wasi_unstable", _) => Allowed::No("this is WASI before preview 1; build with a newer toolchain"),
        ("wbg" | "__wbindgen_placeholder__" | "__wbindgen_externref_xform__", _) => {
            Allowed::No("a dependency uses wasm-bindgen, which needs a browser; leave it out")
        }
        ("gojs" | "go", _) => Allowed::No("build Go with `GOOS=wasip1 -buildmode=c-shared`, not for js"),
        _ => Allowed::No("a plugin may import only `portsplit.*`, `env.abort` and `wasi_snapshot_preview1.*`"),
    }
}

/// A function type as the ABI's documentation would write it.
pub(super) fn type_text(ty: &FuncType) -> String {
    let list = |types: &[ValType]| types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match ty.results() {
        [one] => format!("({}) -> {one}", list(ty.params())),
        many => format!("({}) -> ({})", list(ty.params()), list(many)),
    }
}

/// WASI preview 1 without its socket functions.
const WASI: &[&str] = &[
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pread",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_pwrite",
    "fd_read",
    "fd_readdir",
    "fd_renumber",
    "fd_seek",
    "fd_sync",
    "fd_tell",
    "fd_write",
    "path_create_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_link",
    "path_open",
    "path_readlink",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "poll_oneoff",
    "proc_exit",
    "proc_raise",
    "random_get",
    "sched_yield",
];
