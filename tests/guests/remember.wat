;; Tries to carry what it saw from one call to the next, in every place that a module has: a global, its memory, the rest
;; of the buffer, a table, and pages that it adds and fills. It asks for 33 bytes, and matches with the fact `seen`:
;; `leaked` if anything of an earlier call is left, `fresh` if nothing is.
(module
  (import "portsplit" "fact" (func $fact (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2 8)
  (table $table 1 4 funcref)
  (elem declare func $mark)
  (global $seen (mut i64) (i64.const 0))
  (data (i32.const 0) "seenleakedfresh")
  (func $mark)
  (func (export "portsplit_abi_1"))
  (func (export "portsplit_buffer") (param $len i32) (result i32) (i32.const 1024))

  ;; Whether any byte of [$from, $to) is not zero; both are multiples of 8.
  (func $dirty (param $from i32) (param $to i32) (result i32)
    (loop $next
      (if (i32.lt_u (local.get $from) (local.get $to))
        (then
          (if (i64.ne (i64.load (local.get $from)) (i64.const 0)) (then (return (i32.const 1))))
          (local.set $from (i32.add (local.get $from) (i32.const 8)))
          (br $next))))
    (i32.const 0))

  (func (export "portsplit_classify") (param $len i32) (param $flags i32) (result i64)
    (local $leaked i32) (local $added i32)
    (local.set $added (i32.mul (memory.grow (i32.const 1)) (i32.const 65536)))
    (local.set $leaked
      (i32.or
        (i32.or
          (i64.ne (global.get $seen) (i64.const 0))
          (i32.eqz (ref.is_null (table.get $table (i32.const 0)))))
        (i32.or
          ;; What follows the 33 bytes in the buffer, and a kept copy.
          (call $dirty (i32.const 1064) (i32.const 8192))
          (call $dirty (local.get $added) (i32.add (local.get $added) (i32.const 8192))))))
    ;; Keeps them, for the next call.
    (global.set $seen (i64.load (i32.const 1025)))
    (table.set $table (i32.const 0) (ref.func $mark))
    (memory.copy (i32.const 4096) (i32.const 1024) (local.get $len))
    (memory.copy (i32.add (local.get $added) (i32.const 512)) (i32.const 1024) (local.get $len))
    (if (i32.and (i32.lt_u (local.get $len) (i32.const 33)) (i32.eqz (local.get $leaked)))
      (then (return (i64.const 0x200000021))))
    (if (local.get $leaked)
      (then (drop (call $fact (i32.const 0) (i32.const 4) (i32.const 4) (i32.const 6))))
      (else (drop (call $fact (i32.const 0) (i32.const 4) (i32.const 10) (i32.const 5)))))
    (i64.const 0x100000000)))
