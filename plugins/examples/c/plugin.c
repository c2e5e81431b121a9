/* A detector for a small home-grown protocol. A client opens with
 *
 *   KNK | version, 1 or 2 | in version 2: 4 bytes of any value | length, 1 to 32 | a name of a-z 0-9 - in that length
 *
 * The name becomes a fact. The configuration {"version": 2} asks for that version only. */
#include "portsplit.h"

/* The version asked for, 0 for any. Set before the module is copied for its calls. */
static uint32_t wanted = 0;

PORTSPLIT_EXPORT(portsplit_configure) int32_t portsplit_configure(uint32_t len) {
    struct portsplit_settings settings = {.len = len};
    while (portsplit_setting_next(&settings)) {
        if (!portsplit_setting_is(&settings, "version")) return portsplit_refuse("the only key is `version`");
        if (settings.value < 1 || settings.value > 2) return portsplit_refuse("`version` must be 1 or 2");
        wanted = settings.value;
    }
    return portsplit_settings_end(&settings) ? 0 : portsplit_refuse("must be an object such as {\"version\": 2}");
}

static bool in_name(uint8_t byte) {
    return (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte == '-';
}

PORTSPLIT_EXPORT(portsplit_classify) int64_t portsplit_classify(uint32_t len, uint32_t flags) {
    struct portsplit_cursor c = portsplit_start(len);
    portsplit_tag(&c, "KNK");
    uint8_t version = portsplit_u8_in(&c, 1, 2);
    portsplit_ensure(&c, wanted == 0 || version == wanted);
    if (version == 2) portsplit_take(&c, 4);
    uint8_t name_len = portsplit_u8_in(&c, 1, 32);
    const uint8_t *name = portsplit_take_where(&c, name_len, in_name);
    if (portsplit_going(&c)) portsplit_fact("name", 4, name, name_len);
    return portsplit_verdict(&c, flags);
}
