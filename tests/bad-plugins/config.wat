;; Breaks `config`: the schema allows {"strict":0} and {"strict":1}, but 2 to 9 are accepted too. A client opens with
;;
;;   POST | kind, any byte | length, 1 to 32 | a name of a-z in that length
;;
;; The name becomes the fact `to`. The configuration {"strict":1} takes only kind 1.
(module
  (import "portsplit" "fact" (func $fact (param i32 i32 i32 i32) (result i32)))
  (import "portsplit" "fail" (func $fail (param i32 i32)))
  (@custom "portsplit.manifest" "{\"name\": \"config\", \"version\": \"0.1.0\", \"abi\": \"1.0\", \"max_bytes\": 4096,"
    "\"facts\": [\"to\"],"
    "\"config_schema\": {\"type\": \"object\", \"additionalProperties\": false,"
    "  \"properties\": {\"strict\": {\"type\": \"integer\", \"minimum\": 0, \"maximum\": 1}}},"
    "\"examples\": ["
    "  {\"hex\": \"504f535401026162\", \"verdict\": \"match\", \"at\": 8, \"facts\": {\"to\": \"ab\"}},"
    "  {\"text\": \"GET / HTTP/1.1\", \"verdict\": \"reject\", \"at\": 1}]}")

  (memory (export "memory") 1)
  (data (i32.const 0) "POST")
  (data (i32.const 8) "to")
  (data (i32.const 16) "{}")
  (data (i32.const 32) "{\"strict\":0}")
  (data (i32.const 48) "{\"strict\":1}")
  (data (i32.const 64) "must be {} or {\"strict\":0} or {\"strict\":1}")
  (global $strict (mut i32) (i32.const 0))

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

        ;; The kind matters only to the strict; for others it comes with the length.
        (if (global.get $strict)
          (then
            (local.set $need (i32.const 5))
            (br_if $need_more (i32.lt_u (local.get $len) (local.get $need)))
            (br_if $reject (i32.ne (i32.load8_u (i32.const 1028)) (i32.const 1)))))
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
          (local.set $at (local.get $need))
          (br_if $name (i32.lt_u (local.get $at) (local.get $end))))
        (drop (call $fact (i32.const 8) (i32.const 2) (i32.const 1030) (i32.sub (local.get $end) (i32.const 6))))
        (return (i64.const 0x1_0000_0000)))
      (br_if $reject (i32.and (local.get $flags) (i32.const 7)))
      (return (i64.or (i64.const 0x2_0000_0000) (i64.extend_i32_u (local.get $need)))))
    (i64.const 0))

  (func $same (param $text i32) (param $len i32) (result i32)
    (local $i i32)
    (loop $next
      (if (i32.ne (i32.load8_u offset=1024 (local.get $i)) (i32.load8_u (i32.add (local.get $text) (local.get $i))))
        (then (return (i32.const 0))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (local.get $len))))
    (i32.const 1))

  (func (export "portsplit_configure") (param $len i32) (result i32)
    (if (i32.eq (local.get $len) (i32.const 2))
      (then (if (call $same (i32.const 16) (i32.const 2)) (then (return (i32.const 0))))))
    (if (i32.eq (local.get $len) (i32.const 12))
      (then
        (global.set $strict (call $same (i32.const 48) (i32.const 12)))
        (if (i32.lt_u (i32.sub (i32.load8_u (i32.const 1034)) (i32.const 48)) (i32.const 10))
          (then (return (i32.const 0))))))
    (call $fail (i32.const 64) (i32.const 42))
    (i32.const 1)))
