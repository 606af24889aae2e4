//! A future beside a busy one in the same task. It is polled when it was woken itself, and not each time that the other one is:
//! that is twice for every statement.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

struct Signal {
    is_woken: AtomicBool,
    task: Waker,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

pub(super) struct Aside<F> {
    future: F,
    signal: Option<(Arc<Signal>, Waker)>,
}

impl<F: Future + Unpin> Aside<F> {
    pub(super) fn new(future: F) -> Self {
        Self { future, signal: None }
    }

    pub(super) fn poll(&mut self, context: &Context<'_>) -> Poll<F::Output> {
        let (signal, waker) = match self.signal.take() {
            Some((signal, waker)) if signal.task.will_wake(context.waker()) => (signal, waker),
            // The first time, or in another task.
            _ => {
                let is_woken = AtomicBool::new(true);
                let signal = Arc::new(Signal { is_woken, task: context.waker().clone() });
                (Arc::clone(&signal), Waker::from(signal))
            }
        };
        let polled = if signal.is_woken.swap(false, Ordering::AcqRel) {
            Pin::new(&mut self.future).poll(&mut Context::from_waker(&waker))
        } else {
            Poll::Pending
        };
        self.signal = Some((signal, waker));
        polled
    }
}
