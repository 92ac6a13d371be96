//! Parsed schemas, as many as may be kept.

use std::{collections::HashMap, sync::Arc};

use super::super::Registered;

/// Most parsed schemas kept; others are parsed again when they are asked for.
const PARSED_SCHEMAS: usize = 1_000;
/// Most bytes of text of the parsed schemas kept.
const PARSED_BYTES: usize = 8 << 20;

/// Parsed schemas by id, with the time of their last use.
#[derive(Default)]
pub(super) struct Parsed {
    schemas: HashMap<u32, (u64, Arc<Registered>)>,
    bytes: usize,
    clock: u64,
}

impl Parsed {
    pub(super) fn get(&mut self, id: u32) -> Option<Arc<Registered>> {
        self.clock += 1;
        let (used, registered) = self.schemas.get_mut(&id)?;
        *used = self.clock;
        Some(registered.clone())
    }

    /// Drops what is not wanted any more.
    pub(super) fn retain(&mut self, wanted: impl Fn(u32) -> bool) {
        self.schemas.retain(|id, _| wanted(*id));
        self.bytes = self.schemas.values().map(|(_, registered)| size(registered)).sum();
    }

    /// Adds a schema, and drops those unused for longest while there are too many.
    pub(super) fn put(&mut self, registered: Arc<Registered>) {
        self.clock += 1;
        self.bytes += size(&registered);
        if let Some((_, old)) = self.schemas.insert(registered.id, (self.clock, registered)) {
            self.bytes -= size(&old);
        }
        while self.schemas.len() > PARSED_SCHEMAS || (self.bytes > PARSED_BYTES && self.schemas.len() > 1) {
            let oldest = self.schemas.iter().min_by_key(|(_, (used, _))| *used).map(|(id, _)| *id);
            let Some((_, dropped)) = oldest.and_then(|id| self.schemas.remove(&id)) else { break };
            self.bytes -= size(&dropped);
        }
    }
}

/// Bytes of text behind a parsed schema.
fn size(registered: &Registered) -> usize {
    let references = registered.schema.references().iter().map(|r| r.schema.len()).sum::<usize>();
    registered.schema.text().len() + references
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Schema;

    #[test]
    fn parsed_schemas_are_bounded_and_the_used_ones_stay() {
        let schema = Schema::parse("\"int\"", &[]).unwrap();
        let mut parsed = Parsed::default();
        for id in 0..PARSED_SCHEMAS as u32 + 10 {
            parsed.put(Arc::new(Registered { id, schema: schema.clone() }));
            assert!(parsed.get(0).is_some(), "used all the time");
        }
        assert_eq!((parsed.schemas.len(), parsed.bytes), (PARSED_SCHEMAS, PARSED_SCHEMAS * 5));
        assert!(parsed.get(1).is_none());
        parsed.retain(|id| id != 0);
        assert_eq!((parsed.schemas.len(), parsed.bytes), (PARSED_SCHEMAS - 1, (PARSED_SCHEMAS - 1) * 5));
        let large = Schema::parse(&format!("\"int\"{}", " ".repeat(1_000_000)), &[]).unwrap();
        for id in 5_000..5_020 {
            parsed.put(Arc::new(Registered { id, schema: large.clone() }));
        }
        assert_eq!(parsed.schemas.len(), PARSED_BYTES / 1_000_005);
    }
}
