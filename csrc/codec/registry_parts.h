/*
 * registry_parts.h - the inside of a registry, for registry.c and chosen.c only.
 */
#ifndef HP_REGISTRY_PARTS_H
#define HP_REGISTRY_PARTS_H

#include "codec/families.h"

typedef struct loaded_codec {
    hp_codec codec; /* first: its address is what callers hold */
    struct loaded_codec *next;
    char name[]; /* what codec.name points to */
} loaded_codec;

struct hp_choice; /* chosen.c */

struct hp_registry {
    hp_codec_state *state;
    hp_codec record; /* of anonymous records, and of arrays of them */
    hp_codec record_array;
    const hp_codec **slots; /* open addressing by OID, linear probing; capacity is a power of two */
    size_t capacity;
    size_t used;
    loaded_codec *all;
    bool reads_vectors;
    struct hp_choice *choices;
    const hp_codec **fixed; /* what stands for built-in types, because of a choice */
    size_t nfixed;
};

/* ---- registry.c ---- */

/* Make `codec` what its type has. 0, or -1 with MemoryError. */
int hp_registry_put(hp_registry *reg, const hp_codec *codec);
/* ... a codec like `model`, which lives as long as the registry. Steals
 * model->composite. NULL with MemoryError. */
const hp_codec *hp_registry_add(hp_registry *reg, const hp_codec *model);

/* ---- chosen.c ---- */

/* What a type that was looked up has: `native`, or what was chosen for it. NULL with
 * an exception. */
const hp_codec *hp_registry_chosen(hp_registry *reg, const hp_codec *native, const char *schema, const char *type);
void hp_choices_free(hp_registry *reg);

#endif
