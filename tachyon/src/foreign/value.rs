//! Values of users' code that this crate owns: the futures of handlers, and their outputs.
#![cfg_attr(not(feature = "tokio"), allow(dead_code, reason = "only a runtime runs futures"))]

use core::pin::Pin;
use core::task::{Context, Poll};

use super::{Panicked, run};

/// Drops a value of users' code. The panic hook reports a panic of its destructor.
fn discard<T>(value: T) {
    drop(run(|| drop(value)));
}

/// A value of users' code. The drop guards its destructor.
pub(crate) struct Foreign<T>(Option<T>);

impl<T> Foreign<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// The value, for use within [`run`]; `None` once it is taken.
    pub(crate) fn get_mut(&mut self) -> Option<&mut T> {
        self.0.as_mut()
    }

    /// The value. The caller consumes it within [`run`].
    pub(crate) fn take(mut self) -> Option<T> {
        self.0.take()
    }
}

impl<T> core::fmt::Debug for Foreign<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Foreign(..)")
    }
}

impl<T> Drop for Foreign<T> {
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            discard(value);
        }
    }
}

/// A future of users' code. Its end drops the future, before the output is used.
impl<F: Future + Unpin> Future for Foreign<F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = &mut self.0 else { unreachable!("a future is not polled after its end") };
        match run(|| Pin::new(future).poll(context)) {
            Ok(Poll::Pending) => Poll::Pending,
            outcome => {
                if let Some(future) = self.0.take() {
                    discard(future);
                }
                Poll::Ready(outcome.map(|polled| match polled {
                    Poll::Ready(output) => output,
                    Poll::Pending => unreachable!("handled above"),
                }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Bomb;
    use super::*;

    #[test]
    fn destructors_end_where_the_value_ends() {
        discard(Bomb(2));
        drop(Foreign::new(Bomb(2)));
        core::mem::forget(Foreign::new(Bomb(2)).take());
    }

    #[test]
    fn a_future_that_panics_or_ends_in_one_gives_its_outcome() {
        let mut context = Context::from_waker(core::task::Waker::noop());
        let bomb = Bomb(1);
        let mut done = Foreign::new(Box::pin(async move {
            core::future::ready(()).await;
            let _held = &bomb;
            5
        }));
        // The bomb is part of the future, and is dropped with it.
        assert!(matches!(Pin::new(&mut done).poll(&mut context), Poll::Ready(Err(_) | Ok(5))));
        let mut panics = Foreign::new(Box::pin(async { panic!("later") }));
        let Poll::Ready(Err(panicked)) = Pin::new(&mut panics).poll(&mut context).map_ok(|()| ()) else {
            panic!("a panic passed")
        };
        assert_eq!(panicked.to_string(), "panicked: later");
    }
}
