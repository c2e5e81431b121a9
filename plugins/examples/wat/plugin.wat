;; A detector for a small home-grown protocol. A client opens with
;;
;;   KNK | version, 1 or 2 | in version 2: 4 bytes of any value | length, 1 to 32 | a name of a-z 0-9 - in that length
;;
;; The name becomes a fact. The configuration {"version": 2} asks for that version only.
;;
;; This file is the whole plugin: ABI version 1 needs a memory and three functions, here with the optional one for a
;; configuration. The host calls portsplit_buffer(len), writes that many bytes there and calls portsplit_classify(len,
;; flags), each time in a fresh copy of the module as it was after portsplit_configure.
(module
  (import "portsplit" "fact" (func $fact (param $key i32) (param $key_len i32) (param $value i32) (param $value_len i32)
    (result i32)))
  (import "portsplit" "fail" (func $fail (param $text i32) (param $len i32)))

  ;; One page: the texts below 1024, the buffer from there to the end.
  (memory (export "memory") 1)
  (global $buffer i32 (i32.const 1024))
  (data (i32.const 0) "KNK")
  (data (i32.const 16) "name")
  (data (i32.const 32) "{\"version\":}")
  (data (i32.const 64) "must be {}, {\"version\": 1} or {\"version\": 2}")

  ;; The version asked for, 0 for any.
  (global $wanted (mut i32) (i32.const 0))

  (func (export "portsplit_abi_1"))

  (func (export "portsplit_buffer") (param $len i32) (result i32)
    (select (global.get $buffer) (i32.const 0) (i32.lt_u (local.get $len) (i32.const 64512))))

  ;; Whether $byte may be in a name.
  (func $in_name (param $byte i32) (result i32)
    (i32.or
      (i32.or
        (i32.lt_u (i32.sub (local.get $byte) (i32.const 97)) (i32.const 26)) ;; a-z
        (i32.lt_u (i32.sub (local.get $byte) (i32.const 48)) (i32.const 10))) ;; 0-9
      (i32.eq (local.get $byte) (i32.const 45)))) ;; -

  ;; A verdict is tag << 32 | argument: 0 reject, 1 match, 2 need-more with the bytes there must be in all before the
  ;; answer can change. Any flag (1 the client half-closed, 2 no more bytes will be shown, 4 time is up) means that this
  ;; call is the last, and that need-more is the same as reject.
  (func (export "portsplit_classify") (param $len i32) (param $flags i32) (result i64)
    (local $at i32)   ;; bytes read
    (local $need i32) ;; bytes there must be for the next read
    (local $byte i32)
    (local $end i32)  ;; where the name ends
    (block $reject
      (block $need_more
        ;; The magic, rejected at the first byte that differs.
        (loop $magic
          (local.set $need (i32.add (local.get $at) (i32.const 1)))
          (br_if $need_more (i32.lt_u (local.get $len) (local.get $need)))
          (br_if $reject (i32.ne
            (i32.load8_u offset=1024 (local.get $at))
            (i32.load8_u (local.get $at))))
          (local.set $at (local.get $need))
          (br_if $magic (i32.lt_u (local.get $at) (i32.const 3))))

        ;; The version.
        (local.set $need (i32.const 4))
        (br_if $need_more (i32.lt_u (local.get $len) (local.get $need)))
        (local.set $byte (i32.load8_u offset=1024 (i32.const 3)))
        (br_if $reject (i32.ge_u (i32.sub (local.get $byte) (i32.const 1)) (i32.const 2)))
        (if (global.get $wanted)
          (then (br_if $reject (i32.ne (local.get $byte) (global.get $wanted)))))

        ;; The four bytes of version 2.
        (if (i32.eq (local.get $byte) (i32.const 2))
          (then
            (local.set $need (i32.const 8))
            (br_if $need_more (i32.lt_u (local.get $len) (local.get $need)))))
        (local.set $at (local.get $need))

        ;; The length of the name.
        (local.set $need (i32.add (local.get $at) (i32.const 1)))
        (br_if $need_more (i32.lt_u (local.get $len) (local.get $need)))
        (local.set $byte (i32.load8_u offset=1024 (local.get $at)))
        (br_if $reject (i32.ge_u (i32.sub (local.get $byte) (i32.const 1)) (i32.const 32)))
        (local.set $at (local.get $need))
        (local.set $end (i32.add (local.get $at) (local.get $byte)))

        ;; The name.
        (loop $name
          (local.set $need (i32.add (local.get $at) (i32.const 1)))
          (br_if $need_more (i32.lt_u (local.get $len) (local.get $need)))
          (br_if $reject (i32.eqz (call $in_name (i32.load8_u offset=1024 (local.get $at)))))
          (local.set $at (local.get $need))
          (br_if $name (i32.lt_u (local.get $at) (local.get $end))))

        ;; The fact, which is the last $byte bytes read.
        (drop (call $fact (i32.const 16) (i32.const 4)
          (i32.sub (i32.add (global.get $buffer) (local.get $end)) (local.get $byte)) (local.get $byte)))
        (return (i64.const 0x1_0000_0000)))
      ;; $need_more
      (br_if $reject (i32.and (local.get $flags) (i32.const 7)))
      (return (i64.or (i64.const 0x2_0000_0000) (i64.extend_i32_u (local.get $need)))))
    ;; $reject
    (i64.const 0))

  ;; The configuration is {} or {"version": 1} or {"version": 2}, with white space between any two parts of it.
  (func (export "portsplit_configure") (param $len i32) (result i32)
    (local $at i32)
    (local $end i32)
    (local $version i32)
    ;; A zero after the text ends every run of white space; portsplit_buffer keeps room for it.
    (i32.store8 offset=1024 (local.get $len) (i32.const 0))
    (local.set $at (call $take (global.get $buffer) (i32.const 32) (i32.const 1)))      ;; {
    (local.set $end (call $take (local.get $at) (i32.const 43) (i32.const 1)))          ;; }
    (if (i32.eqz (local.get $end))
      (then
        (local.set $at (call $take (local.get $at) (i32.const 33) (i32.const 9)))       ;; "version"
        (local.set $at (call $take (local.get $at) (i32.const 42) (i32.const 1)))       ;; :
        (if (local.get $at)
          (then
            (local.set $at (call $skip_space (local.get $at)))
            (local.set $version (i32.sub (i32.load8_u (local.get $at)) (i32.const 48))) ;; the digit's value
            (if (i32.lt_u (i32.sub (local.get $version) (i32.const 1)) (i32.const 2))
              (then (local.set $end
                (call $take (i32.add (local.get $at) (i32.const 1)) (i32.const 43) (i32.const 1)))))))))
    (if (local.get $end)
      (then
        (if (i32.eq (call $skip_space (local.get $end)) (i32.add (global.get $buffer) (local.get $len)))
          (then
            (global.set $wanted (local.get $version))
            (return (i32.const 0))))))
    (call $fail (i32.const 64) (i32.const 44))
    (i32.const 1))

  ;; Passes over white space and then $len bytes that are the same as those at $text. The address after them; 0 where
  ;; they differ, and where $at is 0.
  (func $take (param $at i32) (param $text i32) (param $len i32) (result i32)
    (if (i32.eqz (local.get $at)) (then (return (i32.const 0))))
    (local.set $at (call $skip_space (local.get $at)))
    (loop $next
      (if (i32.ne (i32.load8_u (local.get $at)) (i32.load8_u (local.get $text)))
        (then (return (i32.const 0))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (local.set $text (i32.add (local.get $text) (i32.const 1)))
      (local.set $len (i32.sub (local.get $len) (i32.const 1)))
      (br_if $next (local.get $len)))
    (local.get $at))

  ;; The address of the first character at or after $at that is not white space.
  (func $skip_space (param $at i32) (result i32)
    (local $byte i32)
    (loop $next
      (local.set $byte (i32.load8_u (local.get $at)))
      (if (i32.or
            (i32.or (i32.eq (local.get $byte) (i32.const 32)) (i32.eq (local.get $byte) (i32.const 9)))
            (i32.or (i32.eq (local.get $byte) (i32.const 10)) (i32.eq (local.get $byte) (i32.const 13))))
        (then
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br $next))))
    (local.get $at)))
