/*
 * test_conninfo.c - from DSNs, environment, service and password files to one
 * target a host; and that no message shows a password.
 *
 * Each test begins with an empty PG* environment and without the files that
 * libpq looks for in the home directory. No server is asked anything.
 */
#include "engine/conninfo.h"

#include "harness.h"

#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

static const char *const NONE[] = {NULL};
static char directory[64];
static hp_target *targets;
static int n;
static hp_error error;

/* ---- set-up ---- */

static void
clean_environment(void)
{
    char name[64];
    for (char **e = environ; *e != NULL;) {
        if (strncmp(*e, "PG", 2) == 0 && strcspn(*e, "=") < sizeof name) {
            snprintf(name, sizeof name, "%.*s", (int)strcspn(*e, "="), *e);
            unsetenv(name);
            e = environ;
        } else {
            e++;
        }
    }
    setenv("HOME", directory, 1);
    setenv("PGSYSCONFDIR", directory, 1);
    setenv("PGUSER", "somebody", 1);
}

static const char *
write_file(const char *name, const char *text)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    REQUIRE(file != NULL && fputs(text, file) >= 0);
    fclose(file);
    REQUIRE(chmod(path, 0600) == 0);
    return path;
}

/* Was libpq built with TLS? Without it, it refuses the parameters of TLS. */
static bool
has_tls(void)
{
    return PQsslAttribute(NULL, "library") != NULL;
}

static void
forget(void)
{
    hp_targets_free(targets, n);
    targets = NULL;
    n = 0;
}

static int
resolve_with(const char *dsn, const char *const *keywords, const char *const *values)
{
    forget();
    return hp_conninfo_resolve(dsn, keywords, values, &targets, &n, &error);
}

#define RESOLVE(dsn)            resolve_or_say(__LINE__, (dsn), NONE, NONE)
#define RESOLVE_WITH(dsn, k, v) resolve_or_say(__LINE__, (dsn), (k), (v))

static void
resolve_or_say(int line, const char *dsn, const char *const *keywords, const char *const *values)
{
    if (resolve_with(dsn, keywords, values) < 0) {
        fprintf(stderr, "line %d: %s: ", line, dsn ? dsn : "(null)");
        harness_note(__FILE__, line, error.text);
    }
}

/* A parameter of target i; "" where it is not set. */
static const char *
get(int i, const char *keyword)
{
    if (i >= n) {
        return "(no such target)";
    }
    for (int j = 0; targets[i].keywords[j] != NULL; j++) {
        if (strcmp(targets[i].keywords[j], keyword) == 0) {
            return targets[i].values[j];
        }
    }
    return "";
}

/* ---- what is understood ---- */

static void
test_a_uri_gives_its_parts(void)
{
    RESOLVE("postgresql://us%40er:pa%2Fss%20%3A@db.example.org:6000/the%20base?application_name=a%26b&sslmode=disable");
    REQUIRE(n == 1);
    CHECK_TEXT(get(0, "user"), "us@er");
    CHECK_TEXT(get(0, "password"), "pa/ss :");
    CHECK_TEXT(get(0, "host"), "db.example.org");
    CHECK_TEXT(get(0, "port"), "6000");
    CHECK_TEXT(get(0, "dbname"), "the base");
    CHECK_TEXT(get(0, "application_name"), "a&b");
    CHECK_TEXT(get(0, "sslmode"), "disable");
    CHECK_TEXT(targets[0].host, "db.example.org");
    CHECK_TEXT(targets[0].port, "6000");
    CHECK(targets[0].attempt_timeout == HP_NEVER);
    CHECK(!targets[0].prefer_standby);
}

static void
test_keyword_value_pairs_give_their_values(void)
{
    RESOLVE("host=db1 port=6001 user=u password='a\\'b\\\\c' dbname=d options='-c search_path=x'");
    REQUIRE(n == 1);
    CHECK_TEXT(get(0, "password"), "a'b\\c");
    CHECK_TEXT(get(0, "options"), "-c search_path=x");
    CHECK_TEXT(get(0, "host"), "db1");
    CHECK_TEXT(targets[0].port, "6001");
}

static void
test_without_anything_libpq_defaults_hold(void)
{
    RESOLVE(NULL);
    REQUIRE(n == 1);
    CHECK_TEXT(get(0, "user"), "somebody");
    CHECK_TEXT(targets[0].port, "5432");
    CHECK(targets[0].host == NULL); /* the Unix socket, nothing to look up */
    RESOLVE("");
    CHECK_INT(n, 1);
    RESOLVE("postgresql://");
    CHECK_INT(n, 1);
}

static void
test_several_hosts_have_their_own_ports_and_addresses(void)
{
    RESOLVE("postgresql://u:p@one:6001,two:6002,three/d");
    REQUIRE(n == 3);
    CHECK_TEXT(get(0, "host"), "one");
    CHECK_TEXT(get(0, "port"), "6001");
    CHECK_TEXT(get(1, "host"), "two");
    CHECK_TEXT(get(1, "port"), "6002");
    CHECK_TEXT(get(2, "host"), "three");
    CHECK_TEXT(targets[2].port, "5432");
    for (int i = 0; i < n; i++) {
        CHECK_TEXT(get(i, "password"), "p");
        CHECK_TEXT(get(i, "dbname"), "d");
    }
    RESOLVE("host=one,two port=6000");
    REQUIRE(n == 2);
    CHECK_TEXT(targets[0].port, "6000");
    CHECK_TEXT(targets[1].port, "6000");
    RESOLVE("host=one,two,three hostaddr=10.0.0.1,,10.0.0.3");
    REQUIRE(n == 3);
    CHECK_TEXT(get(0, "hostaddr"), "10.0.0.1");
    CHECK(targets[0].host == NULL);
    CHECK_TEXT(get(1, "hostaddr"), "");
    CHECK_TEXT(targets[1].host, "two");
    CHECK_TEXT(get(2, "hostaddr"), "10.0.0.3");
}

static void
test_addresses_need_no_resolving(void)
{
    RESOLVE("hostaddr=192.0.2.1 dbname=d");
    REQUIRE(n == 1);
    CHECK(targets[0].host == NULL);
    RESOLVE("postgresql://192.0.2.7/d");
    CHECK(n == 1 && targets[0].host == NULL);
    RESOLVE("postgresql://u@[2001:db8::7]:6000/d");
    REQUIRE(n == 1);
    CHECK(targets[0].host == NULL);
    CHECK_TEXT(get(0, "host"), "2001:db8::7");
    CHECK_TEXT(targets[0].port, "6000");
    RESOLVE("host=fe80::1%eth0");
    CHECK(n == 1 && targets[0].host == NULL);
    RESOLVE("host=name hostaddr=192.0.2.1"); /* the name is for TLS and the password file */
    REQUIRE(n == 1);
    CHECK(targets[0].host == NULL);
    CHECK_TEXT(get(0, "host"), "name");
    RESOLVE("hostaddr=192.0.2.1,192.0.2.2 port=1,2");
    REQUIRE(n == 2);
    CHECK_TEXT(get(1, "hostaddr"), "192.0.2.2");
    CHECK_TEXT(get(1, "port"), "2");
    CHECK_TEXT(get(1, "host"), "");
}

static void
test_unix_sockets_need_no_resolving(void)
{
    RESOLVE("postgresql://u@%2Fvar%2Frun%2Fpg:6000/d");
    REQUIRE(n == 1);
    CHECK(targets[0].host == NULL);
    CHECK_TEXT(get(0, "host"), "/var/run/pg");
    CHECK_TEXT(get(0, "port"), "6000");
    RESOLVE("host=/tmp,localhost,@abstract");
    REQUIRE(n == 3);
    CHECK(targets[0].host == NULL);
    CHECK_TEXT(targets[1].host, "localhost");
    CHECK(targets[2].host == NULL);
}

static void
test_explicit_parameters_win_over_the_dsn(void)
{
    static const char *const KEYWORDS[] = {"user", "application_name", "host", "port", NULL};
    static const char *const VALUES[] = {"me", "app", "two,three", "1,2", NULL};
    RESOLVE_WITH("postgresql://you:p@one:9/d?application_name=x", KEYWORDS, VALUES);
    REQUIRE(n == 2);
    CHECK_TEXT(get(0, "user"), "me");
    CHECK_TEXT(get(0, "password"), "p");
    CHECK_TEXT(get(0, "application_name"), "app");
    CHECK_TEXT(get(0, "host"), "two");
    CHECK_TEXT(get(1, "host"), "three");
    CHECK_TEXT(get(1, "port"), "2");
}

static void
test_the_environment_fills_what_is_left_out(void)
{
    setenv("PGHOST", "envone,envtwo", 1);
    setenv("PGPORT", "7001,7002", 1);
    setenv("PGPASSWORD", "from env", 1);
    setenv("PGDATABASE", "envdb", 1);
    setenv("PGAPPNAME", "envapp", 1);
    RESOLVE("user=u");
    REQUIRE(n == 2);
    CHECK_TEXT(get(0, "host"), "envone");
    CHECK_TEXT(get(0, "port"), "7001");
    CHECK_TEXT(get(1, "host"), "envtwo");
    CHECK_TEXT(get(1, "port"), "7002");
    CHECK_TEXT(get(1, "password"), "from env");
    CHECK_TEXT(get(1, "dbname"), "envdb");
    CHECK_TEXT(get(1, "application_name"), "envapp");
    CHECK_TEXT(get(1, "user"), "u");
}

/* An item left empty means libpq's default, also where the list is of the environment. */
static void
test_an_empty_port_of_the_environment_is_the_default_one(void)
{
    setenv("PGHOST", "envone,envtwo", 1);
    setenv("PGPORT", "7001,", 1);
    RESOLVE("user=u");
    REQUIRE(n == 2);
    CHECK_TEXT(targets[0].port, "7001");
    CHECK_TEXT(targets[1].port, "5432");
}

static void
test_a_service_file_is_read(void)
{
    setenv("PGSERVICEFILE",
           write_file("services", "[mine]\nhost=svc1,svc2\nport=8001,8002\ndbname=svcdb\nuser=svcuser\n"
                                  "password=svcpass\nsslmode=disable\n"),
           1);
    RESOLVE("service=mine dbname=other");
    REQUIRE(n == 2);
    CHECK_TEXT(get(0, "host"), "svc1");
    CHECK_TEXT(get(1, "host"), "svc2");
    CHECK_TEXT(get(1, "port"), "8002");
    CHECK_TEXT(get(1, "dbname"), "other");
    CHECK_TEXT(get(1, "password"), "svcpass");
    CHECK_TEXT(get(1, "sslmode"), "disable");
    CHECK_TEXT(get(1, "service"), ""); /* merged: not to be read again by each connection */
    CHECK_INT(resolve_with("service=absent", NONE, NONE), -1);
    CHECK_INT(error.kind, HP_ERR_CONNECT);
}

static void
test_the_password_file_gives_each_host_its_own(void)
{
    setenv("PGPASSFILE", write_file("passwords", "one:6001:d:u:first\ntwo:*:*:u:sec\\:ond\n*:*:*:nobody:no\n"), 1);
    RESOLVE("postgresql://u@one:6001,two:6002,three:6003/d");
    REQUIRE(n == 3);
    CHECK_TEXT(get(0, "password"), "first");
    CHECK_TEXT(get(1, "password"), "sec:ond");
    CHECK_TEXT(get(2, "password"), "");
    RESOLVE("postgresql://u:given@one:6001,two:6002/d");
    REQUIRE(n == 2);
    CHECK_TEXT(get(0, "password"), "given");
    CHECK_TEXT(get(1, "password"), "given");
}

static void
test_transport_parameters_are_kept(void)
{
    if (has_tls()) {
        RESOLVE("host=h sslmode=verify-full sslrootcert=/ca.crt ssl_min_protocol_version=TLSv1.2 "
                "ssl_max_protocol_version=TLSv1.3 channel_binding=require");
        REQUIRE(n == 1);
        CHECK_TEXT(get(0, "sslmode"), "verify-full");
        CHECK_TEXT(get(0, "sslrootcert"), "/ca.crt");
        CHECK_TEXT(get(0, "ssl_min_protocol_version"), "TLSv1.2");
        CHECK_TEXT(get(0, "ssl_max_protocol_version"), "TLSv1.3");
        CHECK_TEXT(get(0, "channel_binding"), "require");
    }
    RESOLVE("host=h gssencmode=disable keepalives_idle=7 tcp_user_timeout=9");
    REQUIRE(n == 1);
    CHECK_TEXT(get(0, "gssencmode"), "disable");
    CHECK_TEXT(get(0, "keepalives_idle"), "7");
    CHECK_TEXT(get(0, "tcp_user_timeout"), "9");
    /* and what a pool needs where nobody asked */
    RESOLVE("host=h");
    CHECK_TEXT(get(0, "gssencmode"), "disable");
    CHECK_TEXT(get(0, "client_encoding"), "UTF8");
    CHECK_TEXT(get(0, "keepalives_idle"), "30");
    CHECK_TEXT(get(0, "ssl_max_protocol_version"), "");
    RESOLVE("host=h ssl_max_protocol_version=TLSv1.2");
    CHECK_TEXT(get(0, "ssl_max_protocol_version"), "TLSv1.2");
}

static void
test_the_connect_timeout_is_of_one_attempt(void)
{
    RESOLVE("host=h connect_timeout=7");
    REQUIRE(n == 1);
    CHECK(targets[0].attempt_timeout == 7 * HP_SECOND);
    RESOLVE("host=h connect_timeout=0");
    CHECK(n == 1 && targets[0].attempt_timeout == HP_NEVER);
    RESOLVE("host=h connect_timeout=-1");
    CHECK(n == 1 && targets[0].attempt_timeout == HP_NEVER);
    if (resolve_with("host=h connect_timeout=99999999999999999999", NONE, NONE) == 0) {
        CHECK(targets[0].attempt_timeout > 0); /* too large for the type is not in the past */
    }
    setenv("PGCONNECT_TIMEOUT", "9", 1);
    RESOLVE("host=h");
    CHECK(n == 1 && targets[0].attempt_timeout == 9 * HP_SECOND);
}

static void
test_prefer_standby_is_seen(void)
{
    RESOLVE("host=a,b target_session_attrs=prefer-standby");
    REQUIRE(n == 2);
    CHECK(targets[0].prefer_standby && targets[1].prefer_standby);
    RESOLVE("host=a,b target_session_attrs=read-write");
    REQUIRE(n == 2);
    CHECK(!targets[0].prefer_standby);
    CHECK_TEXT(get(1, "target_session_attrs"), "read-write");
}

/* ---- what is refused, and how ---- */

/* Every text has the password in it, as people write them wrongly. */
static const char *const INVALID[] = {
    "postgresql://user:hunter2@[::1/db",
    "postgresql://user:hunter2@[]/db",
    "postgresql://user:hunter2@host:port:x/db",
    "postgresql://user:%zzhunter2@host/db",
    "postgresql://user:hunter2%@host/db",
    "postgresql://user:hunter2%00@host/db",
    "postgresql://user:pa/hunter2@host/db",
    "postgresql://user:pa?hunter2@host/db",
    "postgresql://user:p@a:hunter2@host/db",
    "postgresql://host/db?password=hunter2=x",
    "postgresql://host/db?hunter2",
    "postgresql://host/db?hunter2=1",
    "postgresql://host/db?password=hunter2&sslmode",
    "postgresql://host/db?password=hunter2&connect_timeout=x&sslmode=maybe-hunter2",
    "host=h password=hunter2 nonsense",
    "host=h password=hunter2 nonsense=1",
    "host=h password='hunter2",
    "host=h password=pass hunter2",
    "host=h pass\"hunter2",
    "host=h pa\"ss\"hunter2\"",
    "host=h hunter2",
    "host=h hunter2=1",
    "host=h port=hunter2 password=hunter2",
    "host=h port=1,2,3 password=hunter2",
    "host=h,i hostaddr=1.2.3.4 password=hunter2",
    "host=h sslmode=hunter2",
    "host=h channel_binding=hunter2",
    /* quotation marks that came with the value of an environment variable */
    "\"postgresql://user:hunter2@host/db\"",
    "'postgresql://user:hunter2@host/db'",
    "\"\"postgresql://user:hunter2@host/db\"\"",
    "DATABASE_URL=\"postgresql://user:hunter2@host/db\"",
    "\"host=h\" \"password=hunter2\"",
    "mysql://user:hunter2@host/db",
    "postgresql:/user:hunter2@host/db",
    "postgresql+asyncpg://user:hunter2@host/db",
    "user:hunter2@host/db",
    "user:hunter2\n@host/db",
    "\n\"\nhunter2\" x",
};

static void
test_no_message_shows_what_was_given(void)
{
    for (size_t i = 0; i < sizeof INVALID / sizeof INVALID[0]; i++) {
        error.text[0] = '\0';
        if (resolve_with(INVALID[i], NONE, NONE) == 0) {
            continue; /* understood in some way that we need not judge */
        }
        CHECK(targets == NULL && n == 0);
        CHECK_INT(error.kind, HP_ERR_CONNECT);
        CHECK(error.text[0] != '\0');
        if (strstr(error.text, "hunter2") != NULL) {
            harness_note(__FILE__, __LINE__, error.text);
        }
    }
}

static void
test_parameters_that_libpq_refuses_are_refused_without_their_values(void)
{
    static const char *const KEYWORDS[] = {"host", "password", "port", NULL};
    static const char *const BAD_PORTS[] = {"h", "hunter2", "hunter2,hunter2", NULL};
    static const char *const UNKNOWN[] = {"hunter2", NULL};
    static const char *const ONE[] = {"hunter2", NULL};
    static const char *const MODE[] = {"sslmode", NULL};
    static const char *const QUOTED[] = {"a\"b\"hunter2", NULL};
    CHECK_INT(resolve_with(NULL, KEYWORDS, BAD_PORTS), -1);
    CHECK(strstr(error.text, "hunter2") == NULL);
    CHECK_INT(resolve_with(NULL, UNKNOWN, ONE), -1);
    CHECK(strstr(error.text, "hunter2") == NULL);
    CHECK_INT(resolve_with(NULL, MODE, ONE), -1);
    CHECK(strstr(error.text, "hunter2") == NULL);
    CHECK_INT(resolve_with(NULL, MODE, QUOTED), -1);
    CHECK(strstr(error.text, "hunter2") == NULL);
    CHECK_INT(resolve_with(NULL, QUOTED, ONE), -1);
    CHECK(strstr(error.text, "hunter2") == NULL);
}

static void
test_numbers_of_hosts_ports_and_addresses_must_agree(void)
{
    CHECK_INT(resolve_with("host=a,b port=1,2,3", NONE, NONE), -1);
    CHECK_INT(resolve_with("host=a,b hostaddr=192.0.2.1", NONE, NONE), -1);
}

/* ---- targets ---- */

static void
test_a_target_is_a_deep_copy(void)
{
    char keyword[] = "host";
    char value[] = "db";
    const char *keywords[] = {keyword, "port", NULL};
    const char *values[] = {value, "6000", NULL};
    hp_target *target = calloc(1, sizeof *target);
    REQUIRE(target != NULL && hp_target_fill(target, keywords, values) == 0);
    memset(keyword, 'x', 4);
    memset(value, 'x', 2);
    CHECK_TEXT(target->keywords[0], "host");
    CHECK_TEXT(target->values[0], "db");
    CHECK_TEXT(target->host, "db");
    CHECK_TEXT(target->port, "6000");
    CHECK(target->keywords[2] == NULL && target->values[2] == NULL);
    hp_targets_free(target, 1);
}

static void
test_a_target_without_parameters_is_refused(void)
{
    hp_target target;
    memset(&target, 0xff, sizeof target);
    CHECK_INT(hp_target_fill(&target, NONE, NONE), -1);
    CHECK(target.keywords == NULL && target.host == NULL && target.port == NULL);
    hp_targets_free(NULL, 0);
}

static void
test_a_target_may_have_many_parameters(void)
{
    enum { MANY = 200 };
    static char names[MANY][16];
    const char *keywords[MANY + 1];
    const char *values[MANY + 1];
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "k%d", i);
        keywords[i] = values[i] = names[i];
    }
    keywords[MANY] = values[MANY] = NULL;
    hp_target *target = calloc(1, sizeof *target);
    REQUIRE(target != NULL && hp_target_fill(target, keywords, values) == 0);
    CHECK_TEXT(target->keywords[MANY - 1], names[MANY - 1]);
    CHECK(target->keywords[MANY] == NULL && target->values[MANY] == NULL);
    hp_targets_free(target, 1);
}

#define RUN_CLEAN(test)                                                                                                \
    do {                                                                                                               \
        clean_environment();                                                                                           \
        RUN(test);                                                                                                     \
        forget();                                                                                                      \
    } while (0)

int
main(void)
{
    snprintf(directory, sizeof directory, "/tmp/hp-conninfo-XXXXXX");
    REQUIRE(mkdtemp(directory) != NULL);
    RUN_CLEAN(test_a_uri_gives_its_parts);
    RUN_CLEAN(test_keyword_value_pairs_give_their_values);
    RUN_CLEAN(test_without_anything_libpq_defaults_hold);
    RUN_CLEAN(test_several_hosts_have_their_own_ports_and_addresses);
    RUN_CLEAN(test_addresses_need_no_resolving);
    RUN_CLEAN(test_unix_sockets_need_no_resolving);
    RUN_CLEAN(test_explicit_parameters_win_over_the_dsn);
    RUN_CLEAN(test_the_environment_fills_what_is_left_out);
    RUN_CLEAN(test_an_empty_port_of_the_environment_is_the_default_one);
    RUN_CLEAN(test_a_service_file_is_read);
    RUN_CLEAN(test_the_password_file_gives_each_host_its_own);
    RUN_CLEAN(test_transport_parameters_are_kept);
    RUN_CLEAN(test_the_connect_timeout_is_of_one_attempt);
    RUN_CLEAN(test_prefer_standby_is_seen);
    RUN_CLEAN(test_no_message_shows_what_was_given);
    RUN_CLEAN(test_parameters_that_libpq_refuses_are_refused_without_their_values);
    RUN_CLEAN(test_numbers_of_hosts_ports_and_addresses_must_agree);
    RUN_CLEAN(test_a_target_is_a_deep_copy);
    RUN_CLEAN(test_a_target_without_parameters_is_refused);
    RUN_CLEAN(test_a_target_may_have_many_parameters);
    char path[128];
    snprintf(path, sizeof path, "%s/services", directory);
    unlink(path);
    snprintf(path, sizeof path, "%s/passwords", directory);
    unlink(path);
    rmdir(directory);
    return harness_end();
}
