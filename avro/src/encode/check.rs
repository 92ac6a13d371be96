//! Values that no type describes: checked for what holds everywhere, and stepped over.

use super::{Done, Pass, Step};
use crate::json::cursor::Kind;

impl Pass<'_, '_> {
    /// Steps over one value: syntax, depth, duplicate members, lone surrogates, length of numbers.
    pub(crate) fn check(&mut self) -> Done {
        match self.cursor.kind()? {
            Kind::Null => self.cursor.null()?,
            Kind::Boolean => drop(self.cursor.boolean()?),
            Kind::Number => drop(self.number()?),
            Kind::String => {
                if self.cursor.string()?.lone_surrogate {
                    self.lone_surrogate()?;
                }
            }
            Kind::Array => self.check_array()?,
            Kind::Object => self.check_object()?,
        }
        Ok(())
    }

    fn check_array(&mut self) -> Done {
        if !self.enter()? {
            return Ok(());
        }
        let (mut first, mut index) = (true, 0);
        while self.cursor.element(&mut first)? {
            self.faults.path.push(Step::Index(index));
            self.check()?;
            self.faults.path.pop();
            index += 1;
        }
        self.leave();
        Ok(())
    }

    fn check_object(&mut self) -> Done {
        if !self.enter()? {
            return Ok(());
        }
        let mut level = self.keys_level();
        let mut first = true;
        while let Some(key) = self.member(&mut first)? {
            if self.new_key(&mut level, &key)? {
                self.faults.path.push(Step::Key(key));
                self.check()?;
                self.faults.path.pop();
            }
        }
        self.close_keys(level);
        self.leave();
        Ok(())
    }
}
