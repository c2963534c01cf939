/*
 * codec_set.c - see custom.h: the codecs of the user's of one session, and the types
 * that have one of them inside.
 */
#include "codec/custom.h"

#include "codec/families.h"

/* A type that has a custom codec inside, made when it is first asked for. */
typedef struct derived_codec {
    hp_codec codec;
    hp_codec_set *set;      /* to which it belongs */
    const hp_codec *native; /* what it stands for */
    struct derived_codec *next;
} derived_codec;

struct hp_codec_set {
    unsigned refs;
    hp_codec_state *state;
    struct hp_codec_set *next_dead;
    derived_codec *derived;
    int n;
    hp_custom codecs[];
};

/* ---- sets ---- */

static hp_codec_set *
new_set(hp_codec_state *state, const hp_codec_set *base, hp_oid without, int more)
{
    int n = base ? base->n : 0;
    hp_codec_set *set = PyMem_Calloc(1, sizeof *set + (size_t)(n + more) * sizeof set->codecs[0]);
    if (set == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    set->refs = 1;
    set->state = state;
    for (int i = 0; i < n; i++) {
        const hp_custom *old = &base->codecs[i];
        if (old->codec.oid != without) {
            hp_custom_fill(&set->codecs[set->n++], old->native, &old->spec);
        }
    }
    return set;
}

hp_codec_set *
hp_codec_set_with(hp_codec_state *state, const hp_codec_set *base, const hp_codec *native, const hp_custom_spec *spec)
{
    hp_codec_set *set = new_set(state, base, native->oid, 1);
    if (set != NULL) {
        hp_custom_fill(&set->codecs[set->n++], native, spec);
    }
    return set;
}

hp_codec_set *
hp_codec_set_without(hp_codec_state *state, const hp_codec_set *base, hp_oid oid)
{
    return new_set(state, base, oid, 0);
}

hp_codec_set *
hp_codec_set_ref(hp_codec_set *set)
{
    if (set != NULL) {
        set->refs++;
    }
    return set;
}

static void
free_set(hp_codec_set *set)
{
    for (int i = 0; i < set->n; i++) {
        hp_custom_clear(&set->codecs[i]);
    }
    while (set->derived != NULL) {
        derived_codec *next = set->derived->next;
        hp_composite_free((hp_composite *)set->derived->codec.composite);
        PyMem_Free(set->derived);
        set->derived = next;
    }
    PyMem_Free(set);
}

void
hp_codec_set_unref(hp_codec_set *set)
{
    if (set == NULL || --set->refs > 0) {
        return;
    }
    if (set->state->holds == 0) {
        free_set(set);
        return;
    }
    set->next_dead = set->state->dead_sets;
    set->state->dead_sets = set;
}

void
hp_codec_sets_hold(hp_codec_state *state)
{
    state->holds++;
}

void
hp_codec_sets_let_go(hp_codec_state *state)
{
    PyObject *type, *value, *traceback;
    if (--state->holds > 0 || state->dead_sets == NULL) {
        return;
    }
    PyErr_Fetch(&type, &value, &traceback);
    /* What a finalizer does may hold, and let go, in its turn. */
    while (state->holds == 0 && state->dead_sets != NULL) {
        hp_codec_set *set = state->dead_sets;
        state->dead_sets = set->next_dead;
        free_set(set);
    }
    PyErr_Restore(type, value, traceback);
}

/* Its place among the set's own; -1: it has none. */
static int
place_of(const hp_codec_set *set, hp_oid oid)
{
    int i = set != NULL ? set->n - 1 : -1;
    while (i >= 0 && set->codecs[i].codec.oid != oid) {
        i--;
    }
    return i;
}

bool
hp_codec_set_equal(const hp_codec_set *a, const hp_codec_set *b)
{
    if ((a ? a->n : 0) != (b ? b->n : 0)) {
        return false;
    }
    for (int i = 0; a != NULL && i < a->n; i++) {
        const hp_custom *mine = &a->codecs[i];
        int place = place_of(b, mine->codec.oid);
        if (place < 0 || mine->native != b->codecs[place].native ||
            !hp_custom_spec_equal(&mine->spec, &b->codecs[place].spec)) {
            return false;
        }
    }
    return true;
}

/* ---- types with a custom codec inside ---- */

static const hp_codec *resolve(hp_codec_set *set, const hp_codec *native);

static const hp_codec *
find_derived(const hp_codec_set *set, const hp_codec *native)
{
    for (const derived_codec *d = set->derived; d != NULL; d = d->next) {
        if (d->native == native) {
            return &d->codec;
        }
    }
    return NULL;
}

/* Keep a codec of the set; steals codec->composite. NULL with MemoryError. */
static derived_codec *
keep_derived(hp_codec_set *set, const hp_codec *native, const hp_codec *codec)
{
    derived_codec *derived = PyMem_Calloc(1, sizeof *derived);
    if (derived == NULL) {
        hp_composite_free((hp_composite *)codec->composite);
        PyErr_NoMemory();
        return NULL;
    }
    derived->codec = *codec;
    derived->set = set;
    derived->native = native;
    derived->next = set->derived;
    set->derived = derived;
    return derived;
}

/* An array, domain, range or multirange. */
static const hp_codec *
resolve_element(hp_codec_set *set, const hp_codec *native)
{
    const hp_codec *element = resolve(set, native->element);
    if (element == NULL || element == native->element) {
        return element == NULL ? NULL : native;
    }
    const hp_codec *known = find_derived(set, native);
    if (known != NULL || (native->kind == HP_CODEC_MULTIRANGE && element->kind != HP_CODEC_RANGE)) {
        return known != NULL ? known : native;
    }
    hp_codec codec = hp_derived_codec(native->kind, native->oid, native->name, element);
    derived_codec *derived = keep_derived(set, native, &codec);
    return derived != NULL ? &derived->codec : NULL;
}

/* Fill in the codecs of the attributes. 1: some are others than the native ones;
 * 0: none is; -1: an exception. */
static int
resolve_attributes(hp_codec_set *set, const hp_composite *composite, const hp_codec **codecs)
{
    int differ = 0;
    for (Py_ssize_t i = 0; i < composite->n; i++) {
        codecs[i] = resolve(set, composite->attributes[i]);
        if (codecs[i] == NULL) {
            return -1;
        }
        differ |= codecs[i] != composite->attributes[i];
    }
    return differ;
}

static const hp_codec *
resolve_composite(hp_codec_set *set, const hp_codec *native)
{
    const hp_codec *known = find_derived(set, native);
    if (known != NULL) {
        return known;
    }
    const hp_codec **codecs = PyMem_Calloc((size_t)native->composite->n + 1, sizeof *codecs);
    if (codecs == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    int differ = resolve_attributes(set, native->composite, codecs);
    hp_composite *composite = differ > 0 ? hp_composite_like(native->composite, codecs) : NULL;
    PyMem_Free(codecs);
    if (composite == NULL) {
        return differ == 0 ? native : NULL;
    }
    hp_codec codec = hp_composite_codec(native->oid, native->name, composite);
    derived_codec *derived = keep_derived(set, native, &codec);
    return derived != NULL ? &derived->codec : NULL;
}

/* The values of a composite type's attributes are the set's business, too. */
static const hp_codec *
resolve_own(hp_codec_set *set, hp_custom *own)
{
    if (own->native->kind == HP_CODEC_COMPOSITE) {
        const hp_codec *composite = resolve_composite(set, own->native);
        if (composite == NULL) {
            return NULL;
        }
        hp_custom_fill_over(own, composite);
    }
    return &own->codec;
}

static const hp_codec *
find_for_record(void *ctx, hp_oid oid)
{
    const derived_codec *derived = ctx;
    const hp_composite *composite = derived->native->composite;
    const hp_codec *native = composite->find(composite->ctx, oid);
    return native != NULL ? resolve(derived->set, native) : NULL;
}

/* What is in a record is known only when it comes. */
static const hp_codec *
resolve_record(hp_codec_set *set, const hp_codec *native)
{
    const hp_codec *known = find_derived(set, native);
    if (known != NULL || set->n == 0 || native->composite == NULL) {
        return known != NULL ? known : native;
    }
    hp_codec codec = *native;
    hp_composite *composite = hp_composite_of_record(find_for_record, NULL);
    codec.composite = composite;
    derived_codec *derived = composite != NULL ? keep_derived(set, native, &codec) : NULL;
    if (derived == NULL) {
        return NULL;
    }
    composite->ctx = derived;
    return &derived->codec;
}

/* The codec of a type of the registry, over what the set has for what is inside. */
static const hp_codec *
resolve(hp_codec_set *set, const hp_codec *native)
{
    int place = place_of(set, native->oid);
    if (place >= 0) {
        return resolve_own(set, &set->codecs[place]);
    }
    switch (native->kind) {
    case HP_CODEC_ARRAY:
    case HP_CODEC_DOMAIN:
    case HP_CODEC_RANGE:
    case HP_CODEC_MULTIRANGE:
        return resolve_element(set, native);
    case HP_CODEC_COMPOSITE:
        return resolve_composite(set, native);
    case HP_CODEC_RECORD:
        return resolve_record(set, native);
    default:
        return native;
    }
}

const hp_codec *
hp_codec_set_find(hp_codec_set *set, hp_registry *reg, hp_oid oid)
{
    const hp_codec *native = hp_registry_find(reg, oid);
    return set == NULL || native == NULL ? native : resolve(set, native);
}

int
hp_codec_set_traverse(const hp_codec_set *set, visitproc visit, void *arg)
{
    for (int i = 0; set != NULL && i < set->n; i++) {
        Py_VISIT(set->codecs[i].spec.encoder);
        Py_VISIT(set->codecs[i].spec.decoder);
    }
    return 0;
}
