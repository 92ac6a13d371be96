//! What the check allows, an independent reader must be able to read.
