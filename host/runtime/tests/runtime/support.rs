//! Modules for the tests: a valid frame, with parts replaced.

use std::sync::OnceLock;

use portsplit_runtime::{CallError, Flags, LoadError, Outcome, Plugin, PluginOptions, Runtime, RuntimeOptions};

/// One runtime for all tests that need no cache of their own.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new(RuntimeOptions::default()).unwrap())
}

/// A plugin with a buffer at 1024 whose `classify` has this body, with the locals `$len` and `$flags`.
pub(crate) fn with_body(body: &str) -> String {
    with_parts("", body, "")
}

/// The same with imports before it and other definitions after it.
pub(crate) fn with_parts(imports: &str, body: &str, more: &str) -> String {
    format!(
        r#"(module {imports}
            (memory (export "memory") 1)
            (func (export "portsplit_abi_1"))
            (func (export "portsplit_buffer") (param i32) (result i32) (i32.const 1024))
            (func (export "portsplit_classify") (param $len i32) (param $flags i32) (result i64) {body})
            {more})"#
    )
}

pub(crate) fn wasm(wat: &str) -> Vec<u8> {
    wat::parse_str(wat).unwrap_or_else(|e| panic!("{e}\n{wat}"))
}

pub(crate) fn load_with(wat: &str, options: &PluginOptions) -> Result<Plugin, LoadError> {
    runtime().load(&wasm(wat), options)
}

pub(crate) fn load(wat: &str) -> Plugin {
    load_with(wat, &PluginOptions::default()).unwrap_or_else(|e| panic!("{e}\n{wat}"))
}

/// The error of a module that must not load, as text.
pub(crate) fn refusal(wat: &str) -> String {
    load_with(wat, &PluginOptions::default()).expect_err("it loads").to_string()
}

/// One call of a plugin whose `classify` has this body, with 4 bytes.
pub(crate) fn call(body: &str) -> Result<Outcome, CallError> {
    load(&with_body(body)).classify(b"abcd", Flags::NONE)
}

/// Asserts that `text` has `part` in it.
#[track_caller]
pub(crate) fn has(text: &str, part: &str) {
    assert!(text.contains(part), "expected `{part}` in: {text}");
}
