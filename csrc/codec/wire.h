/*
 * wire.h - big-endian integers at an address, for codecs only.
 *
 * The callers have checked that the bytes are there.
 */
#ifndef HP_WIRE_H
#define HP_WIRE_H

#include <stdint.h>

static inline uint16_t
hp_get_u16(const char *p)
{
    const unsigned char *b = (const unsigned char *)p;
    return (uint16_t)(b[0] << 8 | b[1]);
}

static inline uint32_t
hp_get_u32(const char *p)
{
    const unsigned char *b = (const unsigned char *)p;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static inline uint64_t
hp_get_u64(const char *p)
{
    return (uint64_t)hp_get_u32(p) << 32 | hp_get_u32(p + 4);
}

static inline int32_t
hp_get_i32(const char *p)
{
    return (int32_t)hp_get_u32(p);
}

static inline int64_t
hp_get_i64(const char *p)
{
    return (int64_t)hp_get_u64(p);
}

static inline void
hp_set_u16(char *p, uint16_t value)
{
    p[0] = (char)(value >> 8);
    p[1] = (char)value;
}

static inline void
hp_set_u32(char *p, uint32_t value)
{
    hp_set_u16(p, (uint16_t)(value >> 16));
    hp_set_u16(p + 2, (uint16_t)value);
}

static inline void
hp_set_u64(char *p, uint64_t value)
{
    hp_set_u32(p, (uint32_t)(value >> 32));
    hp_set_u32(p + 4, (uint32_t)value);
}

#endif
