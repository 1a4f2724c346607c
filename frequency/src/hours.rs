//! What the detector does at the border of an hour: what is over waits a day, and what has waited is learned, unless an alarm held it back or
//! nobody saw it whole.

use crate::{
    channel::exposure,
    detector::{Detector, KNOWN, OPEN_HELD, OPEN_VOID},
    settings::HALF_LIFE,
    time::{Time, cell},
};

impl Detector {
    /// The hour `hour` is over.
    pub(crate) fn close_hour(&mut self, hour: i64) {
        let slot = slot(hour);
        self.learn(hour - 24);
        self.raw.close_hour(slot);
        self.sessions.close_hour(slot);
        let bit = 1 << slot;
        self.waiting &= !bit;
        self.held &= !bit;
        if self.flags & OPEN_VOID == 0 {
            self.waiting |= bit;
            if self.flags & OPEN_HELD != 0 {
                self.held |= bit;
            }
        }
        self.flags &= !(OPEN_VOID | OPEN_HELD);
    }

    /// Sets what the hour of `now` is judged by.
    pub(crate) fn open_hour(&mut self) {
        let hour = self.now.hour();
        let (visits, hours) = (self.visits[cell(hour)], f64::from(self.hours));
        let frozen = self.is_anchored().then(|| self.exposures.map(crate::small::Half::get));
        let vouched = self.flags & KNOWN != 0;
        self.raw.open_hour(hour, visits, hours, frozen, vouched);
        self.sessions.open_hour(hour, visits, hours, frozen, vouched);
    }

    /// Learns an hour that waits, if it may be learned.
    fn learn(&mut self, hour: i64) {
        let slot = slot(hour);
        let bit = 1 << slot;
        if hour < 0 || self.waiting & bit == 0 || self.held & bit != 0 {
            return;
        }
        let cell = cell(hour);
        let (visits, hours) = (self.visits[cell], f64::from(self.hours));
        self.raw.commit(slot, hour, visits, hours);
        self.sessions.commit(slot, hour, visits, hours);
        self.visits[cell] = visits.saturating_add(1);
        self.hours = (hours * (-1.0 / HALF_LIFE).exp2() + 1.0) as f32;
        self.waiting &= !bit;
    }

    /// Learns all that waits and may be learned, oldest first.
    pub(crate) fn learn_what_waits(&mut self) {
        let open = self.now.hour();
        for hour in open - 24..open {
            self.learn(hour);
        }
    }

    /// Goes on at `to` without having seen what was in between: nothing of it is learned, and what was in the buckets is over.
    pub(crate) fn begin_anew(&mut self, to: Time) {
        self.reset_buckets();
        self.skip(to);
        (self.waiting, self.held) = (0, 0);
    }

    /// Goes on at `to`; the hours that this leaves unseen in part are not learned.
    pub(crate) fn skip(&mut self, to: Time) {
        let skipped = to.hour() - self.now.hour();
        if skipped > 0 {
            self.close_hour_unseen(skipped);
        }
        self.now = self.now.max(to);
        self.flowed = self.now.of_hour();
        self.flags |= OPEN_VOID;
        self.open_hour();
    }

    fn close_hour_unseen(&mut self, skipped: i64) {
        self.flags |= OPEN_VOID;
        let hour = self.now.hour();
        for hour in hour..hour + skipped.min(24) {
            self.flags |= OPEN_VOID;
            self.close_hour(hour);
        }
        self.raw.forget_hour();
        self.sessions.forget_hour();
    }

    /// Decayed days that were learned from, for people.
    pub(crate) fn learned_days(&self) -> f64 {
        let kinds = [0..24, 24..48];
        let visits = |cells: &std::ops::Range<usize>| cells.clone().map(|cell| f64::from(self.visits[cell])).sum::<f64>() / 24.0;
        kinds.iter().map(visits).sum()
    }

    /// Mean exposure of weekdays and weekends.
    pub(crate) fn mean_exposures(&self) -> [f64; 2] {
        [false, true].map(|weekend| {
            let first = if weekend { 24 } else { 0 };
            (first..first + 24).map(|cell| exposure(self.visits[cell], weekend)).sum::<f64>() / 24.0
        })
    }
}

/// Where an hour waits: its hour of the day.
fn slot(hour: i64) -> usize {
    hour.rem_euclid(24) as usize
}
