//! Tables of cases: what somebody tries, and what must come of it. All are played; the failures are told together, by name.

use std::time::Duration;

use devcluster::wait;

use super::calls::{Answer, Call, Caller};

/// How long controllers may take for what they do in their own time.
const CONTROLLERS_WITHIN: Duration = Duration::from_secs(60);

/// One cell.
pub struct Case<'a> {
    name: &'a str,
    who: &'a Caller,
    does: Call,
    gets: Expected,
}

/// What must be answered.
#[derive(Clone, Debug)]
pub struct Expected {
    code: u16,
    says: Vec<String>,
    never: Vec<String>,
}

/// The cells so far.
#[derive(Default)]
#[must_use = "call holds() at the end"]
pub struct Matrix {
    played: usize,
    failures: Vec<String>,
}

/// One cell: its name, who tries, what, and what must come of it.
pub fn case<'a>(name: &'a str, who: &'a Caller, does: Call, gets: Expected) -> Case<'a> {
    Case { name, who, does, gets }
}

/// 201.
pub fn created() -> Expected {
    code(201)
}

/// 200.
pub fn passes() -> Expected {
    code(200)
}

/// 422: the schema, before any validating policy is asked.
pub fn invalid(says: &str) -> Expected {
    code(422).says(says)
}

/// 403 by this policy of ours, and not by RBAC or another policy.
pub fn refused(policy: &str) -> Expected {
    code(403).says(&format!("ValidatingAdmissionPolicy '{policy}.daypass.dev'"))
}

/// Another code.
pub fn code(code: u16) -> Expected {
    Expected { code, says: vec![], never: vec![] }
}

impl Expected {
    /// The answer holds this text as well.
    pub fn says(mut self, text: &str) -> Self {
        self.says.push(text.to_owned());
        self
    }

    /// The answer holds this text nowhere.
    pub fn never(mut self, text: &str) -> Self {
        self.never.push(text.to_owned());
        self
    }

    fn differs(&self, answer: &Answer) -> Option<String> {
        // Messages are JSON strings in the body, with some characters escaped.
        let text = answer.text.replace("\\\"", "\"").replace("\\u003c", "<").replace("\\u003e", ">").replace("\\u0026", "&");
        let ok = answer.code == self.code
            && self.says.iter().all(|says| text.contains(says))
            && !self.never.iter().any(|never| text.contains(never));
        let message = answer.field("/message");
        let got = if message.is_empty() { text.chars().take(400).collect() } else { message };
        (!ok).then(|| format!("wanted {} saying {:?} and never {:?}\n      got {}: {got}", self.code, self.says, self.never, answer.code))
    }
}

impl Matrix {
    /// Plays the cases one after the other.
    pub async fn play<'a>(&mut self, cases: impl IntoIterator<Item = Case<'a>>) {
        for Case { name, who, does, gets } in cases {
            self.one(name, who, does, gets).await;
        }
    }

    /// Plays one case and returns its answer.
    pub async fn one(&mut self, name: &str, who: &Caller, does: Call, gets: Expected) -> Answer {
        let answer = who.send(&does).await;
        self.judge(name, gets.differs(&answer));
        answer
    }

    /// Plays a case until it comes out as it must: for what controllers do in their own time.
    pub async fn soon(&mut self, name: &str, who: &Caller, does: Call, gets: Expected) {
        let last = std::cell::RefCell::new(None);
        let come = wait::until(name, CONTROLLERS_WITHIN, || async {
            let differs = gets.differs(&who.send(&does).await);
            let come = differs.is_none();
            last.replace(differs);
            come.then_some(())
        })
        .await;
        self.judge(name, come.err().and(last.take()));
    }

    /// What was found is what was wanted.
    pub fn same<T: PartialEq + std::fmt::Debug>(&mut self, name: &str, wanted: T, found: T) {
        let differs = (wanted != found).then(|| format!("wanted {wanted:?}\n      got {found:?}"));
        self.judge(name, differs);
    }

    /// Fails with everything that went differently.
    pub fn holds(self) {
        let (failed, told) = (self.failures.len(), self.failures.join("\n"));
        assert!(self.failures.is_empty(), "{failed} of {} cases went differently:\n{told}", self.played);
        println!("{} cases", self.played);
    }

    fn judge(&mut self, name: &str, differs: Option<String>) {
        self.played += 1;
        if let Some(differs) = differs {
            self.failures.push(format!("  {name}\n      {differs}"));
        }
    }
}
