/* portsplit.h: ABI version 1 for plugins in C. Keep this file as it is; the plugin itself is plugin.c.
 *
 * A plugin is a WebAssembly module that is shown the first bytes of a connection and says whether they are its
 * protocol. The host calls portsplit_buffer(len), writes that many bytes to the address it got, and calls
 * portsplit_classify(len, flags). Every call runs in a fresh copy of the module as it was after portsplit_configure, so
 * nothing can be kept from one connection to another. No C library is needed, and none is there.
 *
 * This file declares what the host offers, defines the exports that are the same for every plugin, and has a cursor to
 * parse with and a reader for configurations. Include it from exactly one file. */
#ifndef PORTSPLIT_H
#define PORTSPLIT_H

#include <stdbool.h>
#include <stdint.h>

#define PORTSPLIT_EXPORT(name) __attribute__((export_name(#name))) extern
#define PORTSPLIT_IMPORT(name) __attribute__((import_module("portsplit"), import_name(#name))) extern

/* What the host offers. Text is UTF-8 and given by address and length in bytes. */

/* Adds a fact; it counts only if this call matches. key: [a-z][a-z0-9_.-]{0,31}; value: at most 1024 bytes. */
PORTSPLIT_IMPORT(fact)
int32_t portsplit_fact(const void *key, uint32_t key_len, const void *value, uint32_t value_len);
/* Writes a line to the host's log, which limits how many it takes. level: 0 error, 1 warn, 2 info, 3 debug, 4 trace. */
PORTSPLIT_IMPORT(log) void portsplit_log(uint32_t level, const void *text, uint32_t len);
/* Says why a configuration is refused, or why the plugin gives up. */
PORTSPLIT_IMPORT(fail) void portsplit_fail(const void *text, uint32_t len);

/* What the plugin must offer, besides the exports below:
 *
 *   int64_t portsplit_classify(uint32_t len, uint32_t flags)   the verdict of the first len bytes in the buffer
 *   int32_t portsplit_configure(uint32_t len)   optional: the buffer holds the configuration as JSON; 0 accepts it
 *
 * The verdict is tag << 32 | argument: portsplit_verdict makes it. */
#define PORTSPLIT_REJECT INT64_C(0)              /* no continuation of these bytes is this protocol */
#define PORTSPLIT_MATCH (INT64_C(1) << 32)       /* they are this protocol, whatever follows */
#define PORTSPLIT_NEED_MORE (INT64_C(2) << 32)   /* argument: bytes in all before the answer can change; 0: unknown */

#define PORTSPLIT_HALF_CLOSED 1u /* flags: the client has finished sending */
#define PORTSPLIT_FULL 2u        /* no more bytes will be shown */
#define PORTSPLIT_TIME_IS_UP 4u  /* the last call for this connection */

/* The exports that are the same for every plugin. 16 KiB is what the host reads before a decision, unless told
 * otherwise; a plugin with a smaller max_bytes in plugin.toml is never shown more than that. */
#ifndef PORTSPLIT_BUFFER_BYTES
#define PORTSPLIT_BUFFER_BYTES 16384u
#endif
static uint8_t portsplit_bytes[PORTSPLIT_BUFFER_BYTES];

PORTSPLIT_EXPORT(portsplit_abi_1) void portsplit_abi_1(void) {}

PORTSPLIT_EXPORT(portsplit_buffer) uint8_t *portsplit_buffer(uint32_t len) {
    return len <= PORTSPLIT_BUFFER_BYTES ? portsplit_bytes : 0;
}

/* A cursor reads the buffer from its start. The first read that cannot go on decides: a byte that is not allowed
 * rejects, a byte that has not arrived needs more. All reads after that do nothing and return 0, so a parser is a
 * straight line without a check after each step, and exact however the bytes were cut into segments. */
struct portsplit_cursor {
    uint32_t len;     /* bytes there are */
    uint32_t at;      /* bytes read */
    int64_t verdict;  /* PORTSPLIT_MATCH as long as every read succeeded */
};

static inline struct portsplit_cursor portsplit_start(uint32_t len) {
    return (struct portsplit_cursor){.len = len, .at = 0, .verdict = PORTSPLIT_MATCH};
}

static inline bool portsplit_going(const struct portsplit_cursor *c) { return c->verdict == PORTSPLIT_MATCH; }

/* Rejects unless the condition holds. */
static inline void portsplit_ensure(struct portsplit_cursor *c, bool condition) {
    if (portsplit_going(c) && !condition) c->verdict = PORTSPLIT_REJECT;
}

/* Reads count bytes of any value and returns where they are. Needs more until all of them have arrived. */
static inline const uint8_t *portsplit_take(struct portsplit_cursor *c, uint32_t count) {
    const uint8_t *start = portsplit_bytes + c->at;
    if (!portsplit_going(c)) return start;
    if (count > c->len - c->at) {
        c->verdict = PORTSPLIT_NEED_MORE | (int64_t)((uint64_t)c->at + count);
    } else {
        c->at += count;
    }
    return start;
}

/* Reads a byte. */
static inline uint8_t portsplit_u8(struct portsplit_cursor *c) {
    const uint8_t *byte = portsplit_take(c, 1);
    return portsplit_going(c) ? *byte : 0;
}

/* Reads a byte and rejects unless it is in min..=max. */
static inline uint8_t portsplit_u8_in(struct portsplit_cursor *c, uint8_t min, uint8_t max) {
    uint8_t byte = portsplit_u8(c);
    portsplit_ensure(c, min <= byte && byte <= max);
    return byte;
}

/* Reads exactly the characters of text and rejects at the first that differs. */
static inline void portsplit_tag(struct portsplit_cursor *c, const char *text) {
    for (; *text && portsplit_going(c); text++) portsplit_u8_in(c, (uint8_t)*text, (uint8_t)*text);
}

/* Reads count bytes, rejects at the first for which allowed is false, and returns where they are. */
static inline const uint8_t *portsplit_take_where(struct portsplit_cursor *c, uint32_t count, bool allowed(uint8_t)) {
    const uint8_t *start = portsplit_bytes + c->at;
    while (count-- > 0 && portsplit_going(c)) portsplit_ensure(c, allowed(portsplit_u8(c)));
    return start;
}

/* What portsplit_classify returns: need-more becomes reject where no more bytes will come. */
static inline int64_t portsplit_verdict(const struct portsplit_cursor *c, uint32_t flags) {
    bool last = flags & (PORTSPLIT_HALF_CLOSED | PORTSPLIT_FULL | PORTSPLIT_TIME_IS_UP);
    return last && (c->verdict & PORTSPLIT_NEED_MORE) ? PORTSPLIT_REJECT : c->verdict;
}

/* Reads a configuration that is an object of whole numbers, such as {"version": 2}. Start with
 * {.len = len} and call portsplit_setting_next until it returns false; then portsplit_settings_end says whether the
 * whole configuration was understood. Keys have no escapes; numbers have at most nine digits. */
struct portsplit_settings {
    uint32_t len, at, count;
    const char *key;
    uint32_t key_len;
    uint32_t value;
    bool bad;
};

/* The next character that is not white space, not yet read; 0 at the end. */
static inline uint8_t portsplit_settings_peek(struct portsplit_settings *s) {
    for (; s->at < s->len; s->at++) {
        uint8_t byte = portsplit_bytes[s->at];
        if (byte != ' ' && byte != '\t' && byte != '\n' && byte != '\r') return byte;
    }
    return 0;
}

static inline bool portsplit_settings_take(struct portsplit_settings *s, uint8_t expected) {
    if (s->bad || portsplit_settings_peek(s) != expected) return s->bad = true, false;
    s->at++;
    return true;
}

static inline bool portsplit_setting_next(struct portsplit_settings *s) {
    if (s->count == 0 && !portsplit_settings_take(s, '{')) return false;
    if (s->bad || portsplit_settings_peek(s) == '}') return false;
    if (s->count++ > 0 && !portsplit_settings_take(s, ',')) return false;
    if (!portsplit_settings_take(s, '"')) return false;
    s->key = (const char *)portsplit_bytes + s->at;
    s->key_len = 0;
    while (s->at < s->len && portsplit_bytes[s->at] != '"' && portsplit_bytes[s->at] != '\\') s->at++, s->key_len++;
    if (!portsplit_settings_take(s, '"') || !portsplit_settings_take(s, ':')) return false;
    portsplit_settings_peek(s);
    uint32_t first = s->at;
    for (s->value = 0; s->at < s->len && s->at < first + 10; s->at++) {
        uint8_t digit = (uint8_t)(portsplit_bytes[s->at] - '0');
        if (digit > 9) break;
        s->value = s->value * 10 + digit;
    }
    uint32_t digits = s->at - first;
    s->bad = digits == 0 || digits > 9 || (digits > 1 && portsplit_bytes[first] == '0');
    return !s->bad;
}

/* Whether the key of the setting just read is this one. */
static inline bool portsplit_setting_is(const struct portsplit_settings *s, const char *key) {
    for (uint32_t i = 0; i < s->key_len; i++, key++) {
        if (*key == 0 || s->key[i] != *key) return false;
    }
    return *key == 0;
}

static inline bool portsplit_settings_end(struct portsplit_settings *s) {
    return portsplit_settings_take(s, '}') && portsplit_settings_peek(s) == 0 && s->at == s->len;
}

/* Refuses a configuration: return portsplit_refuse("why") from portsplit_configure. */
static inline int32_t portsplit_refuse(const char *why) {
    uint32_t len = 0;
    while (why[len]) len++;
    portsplit_fail(why, len);
    return 1;
}

#endif
