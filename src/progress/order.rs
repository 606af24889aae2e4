//! Parts of a run that go on side by side, and look as if they came one after the other: what a part says is held until it has its
//! turn, and before that it changes nothing. So a later part may look ahead, and neither the screen nor the account tells.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Progress;

/// The parts, by the order of their turns.
#[derive(Debug)]
pub struct Order {
    state: Mutex<State>,
    passed: Condvar,
}

#[derive(Debug)]
struct State {
    /// Whose turn it is.
    turn: usize,
    parts: Vec<Part>,
    /// The first part that failed: those after it have no turn any more.
    failed: Option<usize>,
}

#[derive(Debug, Default)]
struct Part {
    held: Vec<Said>,
    ended: bool,
}

/// What a part has to say.
#[derive(Debug)]
pub(super) enum Said {
    /// On stderr.
    Line(String),
    /// On stdout.
    Result(String),
    /// A step of the recap, and how long it took.
    Step(String, Duration),
}

/// A part, and the part that its parts are parts of.
#[derive(Debug, Clone)]
pub struct Place {
    order: Arc<Order>,
    number: usize,
    outer: Option<Box<Place>>,
}

thread_local! {
    /// The innermost part that this thread works for.
    static PLACE: RefCell<Option<Place>> = const { RefCell::new(None) };
    /// How long this thread has waited for its turns.
    static WAITED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// The part that this thread works for.
pub fn place() -> Option<Place> {
    PLACE.with_borrow(Clone::clone)
}

/// Runs something as a part, also on another thread.
pub fn within<T>(place: Option<Place>, run: impl FnOnce() -> T) -> T {
    /// Puts the outer part back, also when a panic passes.
    struct Restore(Option<Place>);
    impl Drop for Restore {
        fn drop(&mut self) {
            PLACE.set(self.0.take());
        }
    }
    let _restore = Restore(PLACE.replace(place));
    run()
}

/// Waits until this thread's part has its turn. `false`: it gets none, since a part before it has failed.
pub fn turn() -> bool {
    let Some(place) = place() else { return true };
    let began = Instant::now();
    let mine = place.turn();
    WAITED.set(WAITED.get() + began.elapsed());
    mine
}

/// How long this thread has waited for its turns.
pub(super) fn waited() -> Duration {
    WAITED.get()
}

/// Gives back what may be said now, and holds what has to wait.
pub(super) fn hold(said: Said) -> Option<Said> {
    match place() {
        Some(place) => place.hold(said),
        None => Some(said),
    }
}

impl Place {
    fn hold(&self, said: Said) -> Option<Said> {
        let mut state = self.order.lock();
        if state.turn < self.number {
            state.parts[self.number].held.push(said);
            return None;
        }
        drop(state);
        match &self.outer {
            Some(outer) => outer.hold(said),
            None => Some(said),
        }
    }

    fn turn(&self) -> bool {
        let mut state = self.order.lock();
        while state.turn < self.number {
            if state.failed.is_some_and(|failed| failed < self.number) {
                return false;
            }
            state = self.order.passed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let failed = state.failed.is_some_and(|failed| failed < self.number);
        drop(state);
        !failed && self.outer.as_ref().is_none_or(|outer| outer.turn())
    }
}

impl Order {
    pub fn new(parts: usize) -> Arc<Self> {
        let state = State { turn: 0, parts: (0..parts).map(|_| Part::default()).collect(), failed: None };
        Arc::new(Order { state: Mutex::new(state), passed: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a part, which fails where it gives an error.
    pub fn run<T, E>(
        self: &Arc<Self>,
        number: usize,
        progress: &Progress,
        run: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        /// Ends the part, also when a panic passes: others wait for that.
        struct Ending<'a> {
            order: &'a Order,
            number: usize,
            progress: &'a Progress,
            failed: bool,
        }
        impl Drop for Ending<'_> {
            fn drop(&mut self) {
                self.order.end(self.number, self.failed, self.progress);
            }
        }
        let mut ending = Ending { order: self, number, progress, failed: true };
        let part = Place { order: self.clone(), number, outer: place().map(Box::new) };
        let outcome = within(Some(part), run);
        ending.failed = outcome.is_err();
        outcome
    }

    /// Passes the turn on, and says what those have held whose turn has come.
    fn end(&self, number: usize, failed: bool, progress: &Progress) {
        let mut state = self.lock();
        state.parts[number].ended = true;
        if failed {
            state.failed = Some(state.failed.map_or(number, |first| first.min(number)));
        }
        while state.parts.get(state.turn).is_some_and(|part| part.ended) {
            state.turn += 1;
            let turn = state.turn;
            let held = state.parts.get_mut(turn).map(|part| std::mem::take(&mut part.held));
            for said in held.unwrap_or_default() {
                progress.say(said);
            }
        }
        drop(state);
        self.passed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::LogStyle;

    #[test]
    fn turns_come_in_order_and_end_with_a_failure() {
        let order = Order::new(3);
        let progress = Progress::new(LogStyle::default());
        let turns: Mutex<Vec<usize>> = Mutex::new(Vec::new());
        std::thread::scope(|threads| {
            for number in (0..3).rev() {
                let (order, progress, turns) = (&order, &progress, &turns);
                threads.spawn(move || {
                    order.run(number, progress, || {
                        let mine = turn();
                        if mine {
                            turns.lock().unwrap().push(number);
                        }
                        if mine && number == 0 { Ok(()) } else { Err(()) }
                    })
                });
            }
        });
        assert_eq!(*turns.lock().unwrap(), [0, 1], "the third has none, since the second failed");
    }

    #[test]
    fn what_is_said_before_the_turn_waits_also_inside_another_part() {
        let (outer, inner) = (Order::new(2), Order::new(2));
        let place = |order: &Arc<Order>, number, outer| Place { order: order.clone(), number, outer };
        let second = place(&outer, 1, None);
        let first_of_second = place(&inner, 0, Some(Box::new(second.clone())));
        let line = || Said::Line("a line".to_owned());
        assert!(place(&outer, 0, None).hold(line()).is_some());
        assert!(first_of_second.hold(line()).is_none());
        outer.end(0, false, &Progress::new(LogStyle::default()));
        assert!(first_of_second.hold(line()).is_some() && second.hold(line()).is_some());
        assert!(place(&inner, 1, Some(Box::new(second))).hold(line()).is_none());
    }
}
