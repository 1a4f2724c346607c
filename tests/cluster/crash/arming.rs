//! Which writes of which lives a fault hits. The proxy counts only what is armed, so its fault hits every counted write.

use std::sync::{Arc, Mutex};

use devcluster::proxy::{Call, Fault, Script};
use http::Method;

use super::lives::{Names, Write};

/// More than any round arms.
const MANY: usize = 128;

/// Armed writes that have not come yet.
#[derive(Clone, Default)]
pub struct Arming(Arc<Mutex<Vec<Armed>>>);

#[derive(Debug)]
struct Armed {
    method: Method,
    path: String,
    /// How many of this method and path pass first.
    skip: usize,
}

impl Arming {
    /// A script that does this to every armed write, once.
    pub fn script(&self, fault: &Fault) -> Script {
        let table = self.clone();
        let script = Script::counting(move |call| table.hits(call));
        (1..=MANY).fold(script, |script, n| match fault.clone() {
            Fault::Before(action) => script.before(n, action),
            Fault::After(action) => script.after(n, action),
        })
    }

    /// Arms the n-th of the writes of a life, from 0.
    pub fn arm(&self, writes: &[Write], n: usize, names: &Names) {
        let write = &writes[n];
        let skip = writes[..n].iter().filter(|earlier| *earlier == write).count();
        let armed = Armed { method: write.method.clone(), path: names.fill(&write.path), skip };
        self.0.lock().unwrap().push(armed);
    }

    /// What has not come, for messages.
    pub fn left(&self) -> String {
        format!("{:?}", self.0.lock().unwrap())
    }

    fn hits(&self, call: &Call) -> bool {
        let mut table = self.0.lock().unwrap();
        let Some(found) = table.iter().position(|armed| armed.method == call.method && armed.path == call.path) else { return false };
        if table[found].skip > 0 {
            table[found].skip -= 1;
            return false;
        }
        table.remove(found);
        true
    }
}
