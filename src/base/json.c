#include "base/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_BYTES 1024u

void c4_json_init(c4_json *json, size_t limit)
{
    *json = (c4_json){.limit = limit};
}

void c4_json_fini(c4_json *json)
{
    free(json->text);
    *json = (c4_json){.failed = true};
}

/* Room for `bytes` more and the end of the text. */
static bool grow(c4_json *json, size_t bytes)
{
    if (json->failed)
        return false;
    size_t need = json->bytes + bytes + 1, capacity = json->capacity ? json->capacity : FIRST_BYTES;
    if (need <= json->capacity && need <= json->limit)
        return true;
    while (capacity < need)
        capacity *= 2;
    char *text = need > json->limit ? NULL : realloc(json->text, capacity);
    json->failed = !text;
    if (json->failed)
        return false;
    json->text = text;
    json->capacity = capacity;
    return true;
}

static void put(c4_json *json, const char *text, size_t bytes)
{
    if (!grow(json, bytes))
        return;
    memcpy(json->text + json->bytes, text, bytes);
    json->bytes += bytes;
    json->text[json->bytes] = '\0';
}

static void put_text(c4_json *json, const char *text)
{
    put(json, text, strlen(text));
}

/* Bytes of the UTF-8 character at `text`; 0: there is none. */
static size_t character(const unsigned char *text)
{
    size_t more = text[0] < 0x80 ? 0 : text[0] >= 0xc2 && text[0] < 0xe0 ? 1 : (text[0] & 0xf0) == 0xe0 ? 2 : 3;
    if (more == 3 && (text[0] < 0xf0 || text[0] > 0xf4))
        return 0;
    for (size_t i = 1; i <= more; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xf0 && text[1] < 0x90);
    bool beyond = (text[0] == 0xed && text[1] > 0x9f) || (text[0] == 0xf4 && text[1] > 0x8f);
    return overlong || beyond ? 0 : more + 1;
}

static void put_string(c4_json *json, const char *text)
{
    put_text(json, "\"");
    for (const unsigned char *at = (const unsigned char *)text; *at;) {
        char escape[8];
        size_t bytes = character(at);
        if (*at == '"' || *at == '\\') {
            snprintf(escape, sizeof escape, "\\%c", *at);
            put_text(json, escape);
        } else if (*at < 0x20 || *at == 0x7f) {
            snprintf(escape, sizeof escape, "\\u%04x", *at);
            put_text(json, escape);
        } else {
            put(json, bytes ? (const char *)at : "?", bytes ? bytes : 1);
        }
        at += bytes ? bytes : 1;
    }
    put_text(json, "\"");
}

static void begin(c4_json *json, const char *name)
{
    if (json->comma)
        put_text(json, ",");
    json->comma = true;
    if (!name)
        return;
    put_string(json, name);
    put_text(json, ":");
}

void c4_json_open(c4_json *json, const char *name, char kind)
{
    begin(json, name);
    put(json, &kind, 1);
    json->comma = false;
}

void c4_json_close(c4_json *json, char kind)
{
    put_text(json, kind == '{' ? "}" : "]");
    json->comma = true;
}

void c4_json_string(c4_json *json, const char *name, const char *text)
{
    begin(json, name);
    if (text)
        put_string(json, text);
    else
        put_text(json, "null");
}

void c4_json_format(c4_json *json, const char *name, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    c4_json_string(json, name, text);
}

static void put_number(c4_json *json, const char *name, const char *digits)
{
    begin(json, name);
    put_text(json, digits);
}

void c4_json_int(c4_json *json, const char *name, int64_t value)
{
    char digits[32];
    snprintf(digits, sizeof digits, "%" PRId64, value);
    put_number(json, name, digits);
}

void c4_json_uint(c4_json *json, const char *name, uint64_t value)
{
    char digits[32];
    snprintf(digits, sizeof digits, "%" PRIu64, value);
    put_number(json, name, digits);
}

/* Not printf's %f: its decimal point is the program's locale's. */
void c4_json_real(c4_json *json, const char *name, double value)
{
    char digits[48];
    double size = fabs(value);
    if (!(size < 1e15)) {
        c4_json_null(json, name);
        return;
    }
    uint64_t thousandths = (uint64_t)(size * 1e3 + 0.5);
    snprintf(digits, sizeof digits, "%s%" PRIu64 ".%03u", value < 0 && thousandths ? "-" : "", thousandths / 1000,
             (unsigned)(thousandths % 1000));
    put_number(json, name, digits);
}

void c4_json_bool(c4_json *json, const char *name, bool value)
{
    put_number(json, name, value ? "true" : "false");
}

void c4_json_null(c4_json *json, const char *name)
{
    put_number(json, name, "null");
}
