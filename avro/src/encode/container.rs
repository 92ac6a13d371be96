//! Arrays and maps.

use super::{Done, Pass, Step, wire};
use crate::{json::cursor::Kind, schema::NodeId};

impl Pass<'_, '_> {
    pub(super) fn array(&mut self, id: NodeId, items: NodeId) -> Done {
        if self.kind()? != Kind::Array {
            return self.wrong(id, "list_type", "");
        }
        if !self.enter()? {
            return Ok(());
        }
        let start = self.open_block();
        let (mut first, mut count) = (true, 0);
        while self.cursor.element(&mut first)? {
            self.faults.path.push(Step::Index(count));
            self.value(items)?;
            self.faults.path.pop();
            count += 1;
        }
        self.close_block(start, count);
        self.leave();
        Ok(())
    }

    pub(super) fn map(&mut self, id: NodeId, values: NodeId) -> Done {
        if self.kind()? != Kind::Object {
            return self.wrong(id, "dict_type", "");
        }
        if !self.enter()? {
            return Ok(());
        }
        let start = self.open_block();
        let mut level = self.keys_level();
        let (mut first, mut count) = (true, 0);
        while let Some(key) = self.member(&mut first)? {
            if !self.new_key(&mut level, &key)? {
                continue;
            }
            self.put_text(&key);
            self.faults.path.push(Step::Key(key));
            self.value(values)?;
            self.faults.path.pop();
            count += 1;
        }
        self.close_keys(level);
        self.close_block(start, count);
        self.leave();
        Ok(())
    }

    /// Leaves one byte for the count of a block, which is known at its end only; 63 items fit in one byte.
    pub(crate) fn open_block(&mut self) -> usize {
        self.out.push(0);
        self.out.len() - 1
    }

    /// Writes the count of the block that began at `start`, and the end of the blocks.
    pub(crate) fn close_block(&mut self, start: usize, count: usize) {
        if count == 0 {
            // The byte left for the count is the end already.
            return;
        }
        self.scratch.clear();
        wire::count(count, &mut self.scratch);
        self.out.splice(start..=start, self.scratch.iter().copied());
        self.out.push(0);
    }
}
