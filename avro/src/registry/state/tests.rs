//! Changes of the state, without a store: limits, deletes, modes, imports, and what a restart makes of the rows.

use super::{super::Origin, *};

fn schema(i: usize, bytes: usize) -> StoredSchema {
    let text = format!("\"n{i}\"");
    let padding = " ".repeat(bytes.saturating_sub(text.len()));
    StoredSchema { schema: (text + &padding).into(), references: Vec::new() }
}

fn referring(i: usize, subject: &str, version: u32) -> StoredSchema {
    let key = ReferenceKey { name: "n".into(), subject: subject.into(), version };
    StoredSchema { references: vec![key], ..schema(i, 0) }
}

fn apply(state: &mut State, changes: Vec<super::super::Change>) {
    let changes = state.stamped(changes).unwrap();
    changes.iter().for_each(|(key, value)| state.apply(key, value.as_deref()).unwrap());
}

fn add(state: &mut State, subject: &str, schema: &StoredSchema) -> (u32, u32) {
    let (version, id, changes) = state.add(subject, schema, None).unwrap();
    apply(state, changes);
    (version, id)
}

fn import(state: &mut State, subject: &str, i: usize, id: u32, version: Option<u32>) -> Result<(u32, u32), String> {
    let (version, id, changes) =
        state.add(subject, &schema(i, 0), Some(Origin { id, version })).map_err(|e| e.to_string())?;
    apply(state, changes);
    Ok((version, id))
}

/// State with schemas of ids from 1.
fn state(count: usize, bytes: usize) -> State {
    let mut state = State::default();
    for i in 0..count {
        add(&mut state, "s", &schema(i, bytes));
    }
    state
}

fn delete(state: &mut State, subject: &str, version: u32, permanent: bool) -> Result<(), DeleteRefused> {
    let (_, changes) = state.delete_version(subject, Some(version), permanent)?;
    apply(state, changes);
    Ok(())
}

fn delete_subject(state: &mut State, subject: &str, permanent: bool) -> Result<Vec<u32>, DeleteRefused> {
    let (versions, changes) = state.delete_subject(subject, permanent)?;
    apply(state, changes);
    Ok(versions)
}

fn set_mode(state: &mut State, subject: Option<&str>, mode: Option<Mode>, force: bool) -> Result<(), RegistryError> {
    let changes = state.set_mode(subject, mode, force)?;
    apply(state, changes);
    Ok(())
}

#[test]
fn a_full_registry_takes_no_new_schema_but_known_ones() {
    let mut state = state(MAX_SCHEMAS - 1, 8);
    let at_the_limit = add(&mut state, "s", &schema(MAX_SCHEMAS, 8));
    assert_eq!(at_the_limit, (MAX_SCHEMAS as u32, MAX_SCHEMAS as u32));
    assert!(matches!(state.add("s", &schema(MAX_SCHEMAS + 1, 8), None), Err(RegistryError::Full(_))));
    assert_eq!(state.add("other", &schema(0, 8), None).unwrap().1, 1);
}

#[test]
fn the_bytes_of_all_texts_are_bounded() {
    let mut state = state(63, 1 << 20);
    assert!(matches!(state.add("s", &schema(64, (1 << 20) + 1), None), Err(RegistryError::Full(_))));
    add(&mut state, "s", &schema(64, 1 << 20));
    assert!(state.add("s", &schema(65, 8), None).is_err());
    delete(&mut state, "s", 64, false).unwrap();
    assert!(state.add("s", &schema(65, 8), None).is_err(), "a deleted schema keeps its room");
    delete(&mut state, "s", 64, true).unwrap();
    assert!(state.add("s", &schema(65, 8), None).is_ok(), "one that is gone gives it back");
}

#[test]
fn versions_and_settings_are_bounded() {
    let mut state = State::default();
    for i in 0..MAX_VERSIONS {
        add(&mut state, &format!("s{i}"), &schema(0, 0));
    }
    assert!(matches!(state.add("more", &schema(0, 0), None), Err(RegistryError::Full(_))));
    for i in 0..MAX_SETTINGS {
        let changes = state.set_level(Some(&format!("s{i}")), Some(Compatibility::Full)).unwrap();
        apply(&mut state, changes);
    }
    assert!(matches!(state.set_level(Some("more"), Some(Compatibility::Full)), Err(RegistryError::Full(_))));
    assert_eq!(state.set_level(Some("s0"), Some(Compatibility::None)).unwrap().len(), 1, "a change is no new one");
    assert_eq!(state.set_level(None, Some(Compatibility::None)).unwrap().len(), 1);
    assert!(state.set_mode(Some("more"), Some(Mode::Readonly), false).is_ok(), "modes count for themselves");
}

#[test]
fn a_version_is_hidden_first_and_then_removed() {
    let mut state = state(3, 0);
    assert!(matches!(delete(&mut state, "s", 3, true), Err(DeleteRefused::NotDeleted)));
    delete(&mut state, "s", 3, false).unwrap();
    assert!(matches!(delete(&mut state, "s", 3, false), Err(DeleteRefused::Deleted)));
    assert_eq!(state.versions("s", Shown::Live).unwrap(), [(1, 1), (2, 2)]);
    assert_eq!(state.versions("s", Shown::All).unwrap().len(), 3);
    assert_eq!(state.versions("s", Shown::Deleted).unwrap(), [(3, 3)]);
    assert!(state.schema(3).is_ok(), "records of a deleted version are still read");
    assert_eq!(add(&mut state, "s", &schema(2, 0)), (4, 3), "the same schema again: a new version, its old id");
    delete(&mut state, "s", 3, true).unwrap();
    assert!(state.schema(3).is_ok(), "another version holds it");
    delete(&mut state, "s", 4, false).unwrap();
    delete(&mut state, "s", 4, true).unwrap();
    assert!(matches!(state.schema(3), Err(RegistryError::UnknownId(3))));
    assert_eq!(add(&mut state, "s", &schema(2, 0)), (3, 4), "ids are never given twice");
    for unknown in [delete(&mut state, "s", 9, false), delete(&mut state, "none", 1, false)] {
        assert!(matches!(unknown, Err(DeleteRefused::Registry(_))), "{unknown:?}");
    }
}

#[test]
fn a_subject_goes_with_its_settings() {
    let mut state = state(2, 0);
    let changes = state.set_level(Some("s"), Some(Compatibility::Full)).unwrap();
    apply(&mut state, changes);
    set_mode(&mut state, Some("s"), Some(Mode::Readwrite), false).unwrap();
    delete(&mut state, "s", 1, false).unwrap();
    assert!(matches!(delete_subject(&mut state, "s", true), Err(DeleteRefused::NotDeleted)));
    assert_eq!(delete_subject(&mut state, "s", false).unwrap(), [2], "what was hidden is not told again");
    assert!(matches!(delete_subject(&mut state, "s", false), Err(DeleteRefused::Deleted)));
    assert_eq!((state.own_level(Some("s")), state.own_mode(Some("s"))), (None, None));
    assert!(state.subjects(Shown::Live).is_empty());
    assert_eq!((state.subjects(Shown::All), state.subjects(Shown::Deleted)), (vec!["s".into()], vec!["s".into()]));
    assert_eq!(delete_subject(&mut state, "s", true).unwrap(), [1, 2]);
    assert!(state.subjects(Shown::All).is_empty() && state.schemas.is_empty());
    assert_eq!((state.versions, state.bytes, state.last_id()), (0, 0, 2));
    assert!(matches!(delete_subject(&mut state, "s", true), Err(DeleteRefused::Registry(_))));
}

#[test]
fn what_is_referred_to_stays() {
    let mut state = State::default();
    add(&mut state, "target", &schema(1, 0));
    add(&mut state, "user", &referring(2, "target", 1));
    assert_eq!(state.referenced_by("target", 1, Shown::Live), [2]);
    for refused in [delete(&mut state, "target", 1, false), delete_subject(&mut state, "target", false).map(drop)] {
        let Err(DeleteRefused::Referenced { version: 1, by, .. }) = &refused else { panic!("{refused:?}") };
        assert_eq!(by, &[2]);
    }
    delete(&mut state, "user", 1, false).unwrap();
    assert!(state.referenced_by("target", 1, Shown::Live).is_empty());
    delete(&mut state, "target", 1, false).unwrap();
    assert_eq!(state.resolve(&state.schema(2).unwrap().references, Shown::All).unwrap().len(), 1);
    assert!(state.resolve(&state.schema(2).unwrap().references, Shown::Live).is_err(), "no new schema may name it");
    assert!(matches!(delete(&mut state, "target", 1, true), Err(DeleteRefused::Referenced { .. })), "still readable");
    delete(&mut state, "user", 1, true).unwrap();
    delete(&mut state, "target", 1, true).unwrap();
}

#[test]
fn a_subject_that_refers_to_itself_can_go() {
    let mut state = State::default();
    add(&mut state, "s", &schema(1, 0));
    add(&mut state, "s", &referring(2, "s", 1));
    assert!(delete(&mut state, "s", 1, false).is_err());
    assert_eq!(delete_subject(&mut state, "s", false).unwrap(), [1, 2]);
    assert_eq!(delete_subject(&mut state, "s", true).unwrap(), [1, 2]);
}

#[test]
fn modes_and_what_they_allow() {
    use Mode::*;
    let origin = Some(Origin { id: 7, version: None });
    for (global, own, in_force, writes, registers, imports) in [
        (None, None, Readwrite, true, true, false),
        (Some(Readonly), None, Readonly, false, false, false),
        (Some(Readonly), Some(Readwrite), Readwrite, true, true, false),
        (Some(ReadonlyOverride), Some(Readwrite), ReadonlyOverride, false, false, false),
        (Some(Import), None, Import, true, false, true),
        (Some(Import), Some(Readonly), Readonly, false, false, false),
        (None, Some(Import), Import, true, false, true),
    ] {
        let mut state = State::default();
        set_mode(&mut state, None, global, false).unwrap();
        set_mode(&mut state, Some("s"), own, false).unwrap();
        assert_eq!(state.mode(Some("s")), in_force);
        assert_eq!(state.check_writable(Some("s")).is_ok(), writes, "{global:?} {own:?}");
        assert_eq!(state.set_level(Some("s"), Some(Compatibility::Full)).is_ok(), writes, "{global:?} {own:?}");
        assert_eq!(state.check_registers("s", None).is_ok(), registers, "{global:?} {own:?}");
        assert_eq!(state.check_registers("s", origin).is_ok(), imports, "{global:?} {own:?}");
    }
}

#[test]
fn read_only_subjects_are_not_deleted() {
    let mut state = state(1, 0);
    set_mode(&mut state, Some("s"), Some(Mode::Readonly), false).unwrap();
    let refused = delete(&mut state, "s", 1, false).unwrap_err();
    assert!(matches!(refused, DeleteRefused::Registry(RegistryError::NotPermitted(_))), "{refused:?}");
    assert!(delete_subject(&mut state, "s", false).is_err());
    set_mode(&mut state, Some("s"), None, false).unwrap();
    assert!(delete_subject(&mut state, "s", false).is_ok());
}

#[test]
fn imports_begin_in_an_empty_place() {
    let state = state(1, 0);
    for subject in [None, Some("s")] {
        let refused = state.set_mode(subject, Some(Mode::Import), false);
        assert!(matches!(refused, Err(RegistryError::NotPermitted(_))), "{refused:?}");
        assert!(state.set_mode(subject, Some(Mode::Import), true).is_ok());
    }
    assert!(state.set_mode(Some("new"), Some(Mode::Import), false).is_ok());
    let no_subjects = state.set_mode(Some("s"), Some(Mode::ReadonlyOverride), false);
    assert!(matches!(no_subjects, Err(RegistryError::Invalid(_))), "{no_subjects:?}");
}

#[test]
fn imports_keep_ids_and_versions() {
    let mut state = State::default();
    assert_eq!(import(&mut state, "s", 1, 70, Some(3)).unwrap(), (3, 70));
    assert_eq!(import(&mut state, "s", 1, 70, Some(3)).unwrap(), (3, 70), "again: no change");
    assert_eq!(import(&mut state, "s", 1, 70, None).unwrap(), (3, 70));
    assert_eq!(import(&mut state, "s", 2, 5, Some(1)).unwrap(), (1, 5), "in any order");
    assert_eq!(import(&mut state, "s", 3, 71, None).unwrap(), (4, 71));
    assert_eq!(import(&mut state, "t", 1, 6, None).unwrap(), (1, 6), "one schema may come under two ids");
    assert_eq!(state.versions("s", Shown::Live).unwrap(), [(1, 5), (3, 70), (4, 71)]);
    for (i, id, version, says) in [
        (9, 70, None, "id 70 is another schema's"),
        (9, 8, Some(3), "version 3 of \"s\" is there already"),
        (9, 0, None, "an id is a number from 1"),
        (9, MAX_NUMBER + 1, None, "an id is a number from 1"),
        (9, 8, Some(0), "a version is a number from 1"),
    ] {
        let refused = import(&mut state, "s", i, id, version).unwrap_err();
        assert!(refused.contains(says), "{refused}");
    }
    assert_eq!(add(&mut state, "u", &schema(1, 0)), (1, 6), "the lowest id of a schema");
    assert_eq!(add(&mut state, "u", &schema(9, 0)), (2, 72), "new ids come after imported ones");
    import(&mut state, "s", 10, MAX_NUMBER, Some(MAX_NUMBER)).unwrap();
    assert!(matches!(state.add("u", &schema(11, 0), None), Err(RegistryError::Full(_))));
    assert!(matches!(state.add("s", &schema(1, 0), None), Err(RegistryError::Full(_))));
}

#[test]
fn a_guid_finds_its_schema() {
    let mut state = state(3, 0);
    let guid = state.entry(2).unwrap().guid;
    assert_eq!(state.id_of_guid(guid), Some(2));
    delete(&mut state, "s", 2, false).unwrap();
    assert_eq!(state.id_of_guid(guid), Some(2));
    delete(&mut state, "s", 2, true).unwrap();
    assert_eq!(state.id_of_guid(guid), None);
    add(&mut state, "other", &schema(1, 0));
    assert_eq!(state.id_of_guid(guid), Some(4), "the same schema has the same GUID again");
}

#[test]
fn stores_of_the_first_format_are_read_and_raised_by_the_next_change() {
    let rows: Vec<Row> = [
        (&b"config"[..], &br#""FULL""#[..]),
        (b"config/s", br#""NONE""#),
        (b"format", b"1"),
        (b"id/\0\0\0\x01", br#"{"schema":"\"int\""}"#),
        (b"id/\0\0\0\x02", br#"{"schema":"\"long\"","references":[{"name":"n","subject":"s","version":1}]}"#),
        (b"subject/s\0\0\0\0\x01", br#"{"id":1}"#),
        (b"subject/s\0\0\0\0\x02", br#"{"id":2}"#),
    ]
    .map(|(key, value)| (key.to_vec(), value.to_vec()))
    .to_vec();
    let mut state = State::load(rows).unwrap();
    assert_eq!(state.versions("s", Shown::Live).unwrap(), [(1, 1), (2, 2)]);
    assert_eq!((state.level(None), state.level(Some("s"))), (Compatibility::Full, Compatibility::None));
    assert_eq!((state.last_id(), state.format), (2, Some(1)));
    assert!(state.stamped(Vec::new()).unwrap().is_empty(), "reading changes nothing");
    let (_, changes) = state.delete_version("s", Some(2), false).unwrap();
    let changes = state.stamped(changes).unwrap();
    assert_eq!(
        changes[0],
        (b"format".to_vec(), Some(b"2".to_vec())),
        "an older version must not half read what follows"
    );
    changes.iter().for_each(|(key, value)| state.apply(key, value.as_deref()).unwrap());
    assert_eq!(state.stamped(vec![(b"mode".to_vec(), None)]).unwrap().len(), 1, "once is enough");
}

#[test]
fn rows_and_state_agree() {
    // After any row of changes, the state is what a restart makes of the rows.
    let mut state = State::default();
    let mut rows = BTreeMap::new();
    let mut step = |state: &mut State, changes: Vec<super::super::Change>| {
        for (key, value) in state.stamped(changes).unwrap() {
            state.apply(&key, value.as_deref()).unwrap();
            match value {
                Some(value) => drop(rows.insert(key, value)),
                None => drop(rows.remove(&key)),
            }
        }
        let loaded = State::load(rows.clone().into_iter().collect()).unwrap();
        assert_eq!(format!("{:?}", loaded.subjects), format!("{:?}", state.subjects));
        assert_eq!(format!("{:?}", loaded.schemas), format!("{:?}", state.schemas));
        assert_eq!((&loaded.ids, loaded.last_id), (&state.ids, state.last_id));
        assert_eq!((loaded.versions, loaded.bytes, loaded.format), (state.versions, state.bytes, state.format));
        assert_eq!(loaded.mode(Some("a")), state.mode(Some("a")));
    };
    for (i, origin) in [(1, None), (2, None), (1, Some(Origin { id: 9, version: Some(7) })), (3, None)] {
        let (_, _, changes) = state.add("a", &schema(i, 0), origin).unwrap();
        step(&mut state, changes);
    }
    for (version, permanent) in [(7, false), (1, false), (1, true), (7, true), (8, false), (8, true)] {
        let (_, changes) = state.delete_version("a", Some(version), permanent).unwrap();
        step(&mut state, changes);
    }
    let changes = state.set_mode(Some("a"), Some(Mode::Readonly), false).unwrap();
    step(&mut state, changes);
    let changes = state.set_mode(Some("a"), None, false).unwrap();
    step(&mut state, changes);
    for permanent in [false, true] {
        let (_, changes) = state.delete_subject("a", permanent).unwrap();
        step(&mut state, changes);
    }
    let (_, id, changes) = state.add("b", &schema(4, 0), None).unwrap();
    step(&mut state, changes);
    assert_eq!(id, 11);
}
