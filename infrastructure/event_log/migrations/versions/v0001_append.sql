-- The write path on PostgreSQL: `postgres.py` calls kasal_append once a flush, `recorders.py` calls kasal_store.
-- Every inner statement of a volatile function has its own snapshot, so what is read under the lock is current.
-- Sequential scans are off: a plan that was made while the table was empty would stay bad as it grows.

-- Stores events at the next positions, in the order given, and tells listeners once. Returns the new head.
CREATE FUNCTION kasal_store(
    streams text[], versions bigint[], topics text[], states bytea[], metadatas text[]
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    head bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('kasal_events', 0));
    UPDATE kasal_head SET position = position + cardinality(streams) RETURNING position INTO head;
    INSERT INTO kasal_events (notification_id, originator_id, originator_version, topic, state, metadata)
        SELECT head - cardinality(streams) + e.place, e.stream, e.version, e.topic, e.state, e.metadata
        FROM unnest(streams, versions, topics, states, metadatas)
            WITH ORDINALITY AS e (stream, version, topic, state, metadata, place);
    PERFORM pg_notify('kasal_events', head::text);
    RETURN head;
END $$;

-- Decides a batch of commands one after another, as if each had come alone, and stores what holds.
--
-- streams    every stream that the batch names, once; the others refer to it by place, from 1
-- command_*  one element a command: its stream, the version it expects, how many events it brings
-- guard_*    one element a guard, in the order of the commands: whose, the stream, the version it must be at
-- keys       every idempotency key of the batch, once
-- record_*   one element a command that has a key, in the order of the commands: whose, the place of its key, its record
-- event_*    one element an event, in the order of the commands: whose, then what kasal_store takes
--
-- outcomes   0 appended · 1 conflict · 2 replayed: the key is known
-- versions   appended: the version of the last event; conflict: the version that was found
-- positions  appended: the position of the last event; conflict: the place of the stream that was not as expected
-- head       when every command was appended, the position of the last event; the three above are left NULL
--
-- Commands on streams of their own, without guards and keys, are decided by comparing two arrays. It matters: each
-- expression of plpgsql is made ready again in each transaction, and the loop has forty.
CREATE FUNCTION kasal_append(
    streams text[],
    command_stream bigint[], command_expected bigint[], command_events bigint[],
    guard_of bigint[], guard_stream bigint[], guard_version bigint[],
    keys text[],
    record_of bigint[], record_key bigint[], record_hash text[], record_command text[], record_response bytea[],
    event_of bigint[], event_stream text[], event_version bigint[],
    event_topic text[], event_state bytea[], event_metadata text[],
    OUT outcomes bigint[], OUT versions bigint[], OUT positions bigint[], OUT head bigint
) LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    total int := cardinality(command_stream);
    guards int := cardinality(guard_of);
    records int := cardinality(record_of);
    guard int := 1;
    next_record int := 1;
    currents bigint[];
    known boolean[];
    last bigint;
    stored int := 0;
    key int;
    moved bigint;
    reached bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('kasal_events', 0));
    currents := ARRAY(
        SELECT coalesce((SELECT max(e.originator_version) FROM kasal_events e WHERE e.originator_id = s), 0)
        FROM unnest(streams) s);
    IF currents = command_expected AND guards = 0 AND records = 0 THEN
        head := kasal_store(event_stream, event_version, event_topic, event_state, event_metadata);
        RETURN;
    END IF;
    IF records > 0 THEN
        -- Not EXISTS: the planner may answer that from a hash of the whole table, made anew each time.
        known := ARRAY(
            SELECT coalesce((SELECT true FROM kasal_commands c WHERE c.key = k), false) FROM unnest(keys) k);
    END IF;
    last := (SELECT position FROM kasal_head);
    outcomes := array_fill(1::bigint, ARRAY[total]);
    versions := array_fill(0::bigint, ARRAY[total]);
    positions := array_fill(0::bigint, ARRAY[total]);

    FOR command IN 1..total LOOP
        moved := 0;
        IF currents[command_stream[command]] <> command_expected[command] THEN
            moved := command_stream[command];
        END IF;
        WHILE guard <= guards AND guard_of[guard] = command LOOP
            IF moved = 0 AND currents[guard_stream[guard]] <> guard_version[guard] THEN
                moved := guard_stream[guard];
            END IF;
            guard := guard + 1;
        END LOOP;
        key := NULL;
        IF next_record <= records AND record_of[next_record] = command THEN
            key := record_key[next_record];
            next_record := next_record + 1;
        END IF;

        IF known[key] THEN
            outcomes[command] := 2;
        ELSIF moved > 0 THEN
            versions[command] := currents[moved];
            positions[command] := moved;
        ELSE
            reached := command_expected[command] + command_events[command];
            last := last + command_events[command];
            stored := stored + 1;
            currents[command_stream[command]] := reached;
            outcomes[command] := 0;
            versions[command] := reached;
            positions[command] := last;
            IF key IS NOT NULL THEN
                known[key] := true;
            END IF;
        END IF;
    END LOOP;

    IF stored = total THEN
        PERFORM kasal_store(event_stream, event_version, event_topic, event_state, event_metadata);
    ELSIF stored > 0 THEN
        PERFORM kasal_store(array_agg(e.stream), array_agg(e.version), array_agg(e.topic), array_agg(e.state),
                            array_agg(e.metadata))
        FROM unnest(event_of, event_stream, event_version, event_topic, event_state, event_metadata)
            AS e (owner, stream, version, topic, state, metadata)
        WHERE outcomes[e.owner] = 0;
    END IF;
    IF records > 0 AND stored > 0 THEN
        INSERT INTO kasal_commands (key, request_hash, command_id, response, version, position)
            SELECT keys[r.key], r.hash, r.command, r.response, versions[r.owner], positions[r.owner]
            FROM unnest(record_of, record_key, record_hash, record_command, record_response)
                AS r (owner, key, hash, command, response)
            WHERE outcomes[r.owner] = 0;
    END IF;
END $$;
