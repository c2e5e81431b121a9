;; Breaks `bounded`: a name that ends in `q` after 12 letters sends it into a loop without end.
;;
;; Otherwise as good.wat: POST | kind, any byte | length, 1 to 32 | a name of a-z, which becomes the fact `to`.
(module
  (import "portsplit" "fact" (func $fact (param i32 i32 i32 i32) (result i32)))
  (@custom "portsplit.manifest" "{\"name\": \"bounded-fuel\", \"version\": \"0.1.0\", \"abi\": \"1.0\","
    "\"max_bytes\": 4096, \"facts\": [\"to\"],"
    "\"examples\": [{\"hex\": \"504f535401026162\", \"verdict\": \"match\"}]}")
  (memory (export "memory") 1)
  (data (i32.const 0) "POST")
  (data (i32.const 8) "to")
  (func (export "portsplit_abi_1"))
  (func (export "portsplit_buffer") (param $len i32) (result i32)
    (select (i32.const 1024) (i32.const 0) (i32.le_u (local.get $len) (i32.const 4096))))
  (func (export "portsplit_classify") (param $len i32) (param $flags i32) (result i64)
    (local $at i32) (local $need i32) (local $end i32)
    (block $reject
      (block $need_more
        (loop $magic
          (local.set $need (i32.add (local.get $at) (i32.const 1)))
          (br_if $need_more (i32.lt_u (local.get $len) (local.get $need)))
          (br_if $reject (i32.ne (i32.load8_u offset=1024 (local.get $at)) (i32.load8_u (local.get $at))))
          (local.set $at (local.get $need))
          (br_if $magic (i32.lt_u (local.get $at) (i32.const 4))))
        (local.set $need (i32.const 6))
        (br_if $need_more (i32.lt_u (local.get $len) (local.get $need)))
        (local.set $end (i32.load8_u (i32.const 1029)))
        (br_if $reject (i32.ge_u (i32.sub (local.get $end) (i32.const 1)) (i32.const 32)))
        (local.set $end (i32.add (local.get $end) (i32.const 6)))
        (local.set $at (i32.const 6))
        (loop $name
          (local.set $need (i32.add (local.get $at) (i32.const 1)))
          (br_if $need_more (i32.lt_u (local.get $len) (local.get $need)))
          (br_if $reject (i32.ge_u
            (i32.sub (i32.load8_u offset=1024 (local.get $at)) (i32.const 97)) (i32.const 26)))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br_if $name (i32.lt_u (local.get $at) (local.get $end))))
        (if (i32.eq (local.get $end) (i32.const 19))
          (then (if (i32.eq (i32.load8_u offset=1023 (local.get $end)) (i32.const 113))
            (then (loop $ever (br $ever))))))
        (drop (call $fact (i32.const 8) (i32.const 2) (i32.const 1030) (i32.sub (local.get $end) (i32.const 6))))
        (return (i64.const 0x1_0000_0000)))
      ;; $need_more
      (br_if $reject (i32.and (local.get $flags) (i32.const 7)))
      (return (i64.or (i64.const 0x2_0000_0000) (i64.extend_i32_u (local.get $need)))))
    (i64.const 0)))
