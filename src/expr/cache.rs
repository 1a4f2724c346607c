//! Compiled programs by source, the least recently used going first.

use std::{collections::HashMap, sync::Arc};

use super::{limits, program::Program};

/// At most [`limits::CACHED_PROGRAMS`] programs.
#[derive(Debug, Default)]
pub(super) struct Cache {
    programs: HashMap<String, Entry>,
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    program: Arc<Program>,
    used: u64,
}

impl Cache {
    /// The program of this source, if it is still here.
    pub(super) fn get(&mut self, source: &str) -> Option<Arc<Program>> {
        self.uses += 1;
        let entry = self.programs.get_mut(source)?;
        entry.used = self.uses;
        Some(entry.program.clone())
    }

    /// Keeps a program, in the place of the one that was not used for longest.
    pub(super) fn keep(&mut self, program: Arc<Program>) {
        if self.programs.len() >= limits::CACHED_PROGRAMS
            && let Some(oldest) = self.programs.iter().min_by_key(|(_, entry)| entry.used).map(|(source, _)| source.clone())
        {
            self.programs.remove(&oldest);
        }
        self.uses += 1;
        self.programs.insert(program.source().to_owned(), Entry { program, used: self.uses });
    }
}
