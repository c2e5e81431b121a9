//! Bounds how long compiling a module can take, by counting before the compiler sees it.
//!
//! Compile time is linear in the code's size for what compilers emit, and the size is limited. What grows faster was
//! found by measuring: the compiler follows every local variable through every block of a function, and looks at each
//! block from every other, at loops with more effort. So those products are counted, in units that cost about a
//! microsecond at worst.

use wasmparser::{FunctionBody, Operator, Parser, Payload};

use super::{at_most, malformed};
use crate::error::LoadError;

/// Units one module may have: 1.5 s at worst on an idle machine, and as much again for the faster compilation of what runs once. A Go
/// program has 285,000, a detector in Rust or C some thousands.
const MAX_COST: u64 = 1_500_000;

/// Refuses a module that would keep the compiler busy for too long.
pub(crate) fn check_compile_cost(wasm: &[u8]) -> Result<(), LoadError> {
    let mut cost = 0u64;
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::CodeSectionEntry(body) = payload.map_err(malformed)? {
            cost = cost.saturating_add(function_cost(&body).map_err(malformed)?);
        }
    }
    at_most("units of compile cost (variables times blocks and blocks times blocks, in each function)", cost, MAX_COST)
}

fn function_cost(body: &FunctionBody<'_>) -> wasmparser::Result<u64> {
    let mut variables = 0u64;
    for group in body.get_locals_reader()? {
        variables += u64::from(group?.0);
    }
    let (mut blocks, mut loops) = (0u64, 0u64);
    for operator in body.get_operators_reader()? {
        match operator? {
            Operator::Loop { .. } => {
                loops += 1;
                blocks += 1;
            }
            Operator::Block { .. } | Operator::If { .. } | Operator::Else => blocks += 1,
            _ => {}
        }
    }
    // A function has at most 256 KiB, so none of this overflows.
    Ok(variables * blocks + blocks * blocks / 30 + loops * loops / 10)
}
