-- What the service keeps: people, what they chose, and what they did. About 5,000 people and 50,000 events, enough
-- that every query needs its index. Everything lives in a schema of its own; dropping it leaves nothing behind.
DROP SCHEMA IF EXISTS holisticpool_demo CASCADE;
CREATE SCHEMA holisticpool_demo;

CREATE TYPE holisticpool_demo.event_kind AS ENUM ('signup', 'login', 'check_in', 'workout', 'meal', 'sleep');

CREATE TABLE holisticpool_demo.users (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email        text NOT NULL UNIQUE,
    display_name text NOT NULL,
    timezone     text NOT NULL DEFAULT 'UTC',
    is_active    boolean NOT NULL DEFAULT true,
    goal_weight  numeric(5, 2),
    preferences  jsonb NOT NULL DEFAULT '{}',
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz
);

CREATE TABLE holisticpool_demo.events (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id     bigint NOT NULL REFERENCES holisticpool_demo.users (id) ON DELETE CASCADE,
    kind        holisticpool_demo.event_kind NOT NULL,
    payload     jsonb NOT NULL DEFAULT '{}',
    occurred_at timestamptz NOT NULL DEFAULT now()
);

INSERT INTO holisticpool_demo.users (email, display_name, timezone, is_active, goal_weight, preferences, created_at)
SELECT
    format('person%s@example.com', n),
    format('%s %s',
           (ARRAY['Ada', 'Grace', 'Edsger', 'Barbara', 'Alan', 'Katherine', 'Donald', 'Margaret'])[1 + n % 8],
           (ARRAY['Nguyen', 'Okafor', 'Silva', 'Schmidt', 'Haddad', 'Kim', 'Novak'])[1 + n % 7]),
    (ARRAY['UTC', 'Europe/Berlin', 'America/New_York', 'Asia/Kolkata'])[1 + n % 4],
    n % 20 <> 0,
    55 + n % 40 + 0.25,
    jsonb_build_object('units', (ARRAY['metric', 'imperial'])[1 + n % 2], 'newsletter', n % 3 = 0),
    now() - make_interval(days => n % 700)
FROM generate_series(1, 5000) AS n;

INSERT INTO holisticpool_demo.events (user_id, kind, payload, occurred_at)
SELECT
    1 + (n * 7919) % 5000,
    (ARRAY['login', 'check_in', 'workout', 'meal', 'sleep']::holisticpool_demo.event_kind[])[1 + n % 5],
    jsonb_build_object('minutes', 5 + n % 90, 'source', (ARRAY['phone', 'watch', 'web'])[1 + n % 3]),
    now() - make_interval(mins => n)
FROM generate_series(1, 50000) AS n;

CREATE INDEX events_by_user ON holisticpool_demo.events (user_id, occurred_at DESC);
ANALYZE holisticpool_demo.users;
ANALYZE holisticpool_demo.events;
