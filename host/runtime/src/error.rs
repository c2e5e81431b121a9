//! Why a module is refused and why a call failed, in words for the person who has to mend it.

use std::time::Duration;

use crate::manifest::ManifestError;

/// Why a module is not loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A limit asked for is outside its range.
    #[error("`{key} = {value}` {rule}")]
    Limit {
        /// The key in the plugin's table.
        key: &'static str,
        /// The value given, in the key's unit.
        value: u64,
        /// What the value must satisfy.
        rule: &'static str,
    },
    /// The file is larger than `max_size`.
    #[error(
        "the module has {size_bytes} bytes, more than `max_size` ({limit_bytes}); build it for size or raise `max_size`"
    )]
    TooLarge {
        /// The module's size.
        size_bytes: usize,
        /// The limit in force.
        limit_bytes: usize,
    },
    /// The file is something else.
    #[error("not a WebAssembly module: {found}")]
    NotWasm {
        /// What the file looks like.
        found: &'static str,
    },
    /// The file is a component.
    #[error(
        "this is a WebAssembly component, and components are not supported yet; build a core module (for example \
         `--target wasm32-unknown-unknown` without componentizing)"
    )]
    Component,
    /// The file ends early, or its structure is broken.
    #[error("the module is truncated or malformed at byte {offset}: {reason}")]
    Malformed {
        /// Where reading stopped.
        offset: u64,
        /// What the reader met.
        reason: String,
    },
    /// A required export is absent.
    #[error("missing export `{name}`: {advice}")]
    MissingExport {
        /// The export.
        name: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// The plugin was built for another major version of the ABI.
    #[error("the plugin speaks ABI {found}, this portsplit speaks ABI 1; {advice}")]
    Abi {
        /// The version in the plugin's marker or manifest.
        found: String,
        /// What to do.
        advice: &'static str,
    },
    /// An export or import of the contract has another type than the contract says.
    #[error("`{name}` has type {found}, the ABI says {expected}")]
    WrongType {
        /// The export or `module.name` of the import.
        name: String,
        /// The type the contract asks for.
        expected: &'static str,
        /// The type the module has.
        found: String,
    },
    /// The module imports what a plugin may not have.
    #[error("imports `{module}.{name}`, which plugins may not use: {advice}")]
    Import {
        /// The import's module.
        module: String,
        /// The import's name.
        name: String,
        /// What to do.
        advice: &'static str,
    },
    /// The module would take too long to compile or too much to keep.
    #[error("the module has {count} {what}, more than the {limit} allowed")]
    TooComplex {
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        count: u64,
        /// How much there may be.
        limit: u64,
    },
    /// The memory it declares is larger than `memory`.
    #[error("the module starts with {needed_bytes} bytes of memory, more than `memory` ({limit_bytes}); {advice}")]
    Memory {
        /// The memory the module declares, or has after it initialised itself.
        needed_bytes: u64,
        /// The limit in force.
        limit_bytes: usize,
        /// What to do.
        advice: &'static str,
    },
    /// The engine refuses the module.
    #[error("the module does not compile: {reason}")]
    Compile {
        /// What the engine says.
        reason: String,
    },
    /// The start function or `_initialize` failed.
    #[error("{stage} failed: {cause}")]
    Init {
        /// Which of the two.
        stage: &'static str,
        /// How it failed.
        cause: CallError,
    },
    /// There is a configuration, but the plugin takes none.
    #[error("`config` is given, but the plugin takes no configuration (it has no export `portsplit_configure`)")]
    ConfigUnsupported,
    /// `portsplit_configure` said no.
    #[error("the plugin refuses its `config`: {reason}")]
    ConfigRefused {
        /// What the plugin gave as the reason.
        reason: String,
    },
    /// `portsplit_configure` failed.
    #[error("`portsplit_configure` failed: {0}")]
    Configure(CallError),
    /// The manifest section is wrong.
    #[error("section `portsplit.manifest`: {0}")]
    Manifest(#[from] ManifestError),
    /// The engine could not be set up for this plugin.
    #[error("the WebAssembly engine cannot be set up: {reason}")]
    Engine {
        /// What the engine says.
        reason: String,
    },
}

/// Why a call has no outcome. Whatever it is, the instance is gone and nothing else is affected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The plugin did something WebAssembly forbids, or gave up.
    #[error("the plugin trapped: {reason}{}", said(.message))]
    Trap {
        /// The kind of trap, and the plugin's call stack if backtraces are on.
        reason: String,
        /// What it passed to `portsplit.fail` before.
        message: Option<String>,
    },
    /// The call used all its fuel.
    #[error("the plugin used all its fuel ({budget})")]
    OutOfFuel {
        /// The fuel it had.
        budget: u64,
    },
    /// The call used all its CPU time.
    #[error("the plugin ran for more than {limit:?}")]
    Deadline {
        /// The CPU time it had.
        limit: Duration,
    },
    /// The plugin called `env.abort` or WASI's `proc_exit`.
    #[error("the plugin aborted: {message}")]
    Abort {
        /// The message it gave.
        message: String,
    },
    /// The plugin broke the ABI.
    #[error("the plugin broke the contract: {0}")]
    Contract(#[from] ContractError),
    /// No instance became free; more threads call than there are slots, and they do not finish.
    #[error("no free instance for the plugin")]
    Busy,
}

impl CallError {
    /// A word for counters: `trap`, `fuel`, `deadline`, `abort`, `contract` or `busy`.
    pub fn kind(&self) -> &'static str {
        match self {
            CallError::Trap { .. } => "trap",
            CallError::OutOfFuel { .. } => "fuel",
            CallError::Deadline { .. } => "deadline",
            CallError::Abort { .. } => "abort",
            CallError::Contract(_) => "contract",
            CallError::Busy => "busy",
        }
    }
}

fn said(message: &Option<String>) -> String {
    message.as_ref().map(|m| format!(" (it said: {m})")).unwrap_or_default()
}

/// Which rule of the ABI a plugin broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContractError {
    /// The result's tag is none of 0, 1, 2.
    #[error("`portsplit_classify` returned the unknown tag {tag}")]
    UnknownTag {
        /// The upper 32 bits of the result.
        tag: u32,
    },
    /// `portsplit_buffer` returned 0.
    #[error("`portsplit_buffer` refused {len} bytes")]
    BufferRefused {
        /// The bytes asked for.
        len: usize,
    },
    /// The buffer does not lie within memory.
    #[error("`portsplit_buffer` returned {ptr:#x} for {len} bytes, outside the memory of {memory_bytes} bytes")]
    BufferOutOfBounds {
        /// The address returned.
        ptr: u32,
        /// The bytes asked for.
        len: usize,
        /// The size of the plugin's memory then.
        memory_bytes: usize,
    },
    /// A pointer passed to an import does not lie within memory.
    #[error("`{import}` was passed {ptr:#x} with {len} bytes, outside the plugin's memory")]
    PointerOutOfBounds {
        /// The import.
        import: &'static str,
        /// The address.
        ptr: u32,
        /// The length.
        len: u32,
    },
    /// A fact's name is not `[a-z][a-z0-9_.-]{0,31}`.
    #[error("the fact name `{name}` is not of the form [a-z][a-z0-9_.-]{{0,31}}")]
    FactName {
        /// The name, escaped and cut.
        name: String,
    },
    /// A fact's value is longer than 1 KiB.
    #[error("the fact `{name}` has {len} bytes, more than 1024")]
    FactTooLong {
        /// The fact.
        name: String,
        /// Its value's length in bytes.
        len: u32,
    },
    /// More than 16 facts in one call.
    #[error("more than 16 facts in one call")]
    TooManyFacts,
    /// More bytes than a plugin can be shown.
    #[error("{len} bytes are more than an ABI 1 plugin can be shown")]
    InputTooLong {
        /// The number of bytes.
        len: usize,
    },
}
