//! Parallel work whose results are consumed in order.

/// Runs `work` on the items, some of them ahead of consumption, and passes `take` a function that waits for the next result and
/// returns `None` when all have been taken. Without the feature `rayon` each result is computed on request.
#[cfg(feature = "rayon")]
pub(super) fn in_order<J: Send, T: Send, R>(
    items: impl Iterator<Item = J>,
    work: impl Fn(J) -> T + Sync,
    take: impl FnOnce(&mut dyn FnMut() -> Option<T>) -> R,
) -> R {
    use std::collections::VecDeque;
    use std::sync::mpsc;

    /// Waits for the next result. A thread of rayon's own pool works in the meantime, since it may be the only one.
    fn wait<T>(result: &mpsc::Receiver<T>) -> Option<T> {
        loop {
            match result.try_recv() {
                Ok(result) => return Some(result),
                // The work panicked, and the scope will panic when it ends.
                Err(mpsc::TryRecvError::Disconnected) => return None,
                Err(mpsc::TryRecvError::Empty) => match rayon::yield_now() {
                    None => return result.recv().ok(),
                    Some(rayon::Yield::Executed) => {}
                    Some(rayon::Yield::Idle) => std::thread::yield_now(),
                },
            }
        }
    }

    // While one result is consumed, each core finishes its item and finds another.
    let ahead = 2 * rayon::current_num_threads() + 1;
    let work = &work;
    let mut items = items.fuse();
    rayon::in_place_scope_fifo(|scope| {
        let mut results = VecDeque::with_capacity(ahead);
        take(&mut || {
            while results.len() < ahead
                && let Some(item) = items.next()
            {
                let (sender, receiver) = mpsc::sync_channel(1);
                results.push_back(receiver);
                scope.spawn_fifo(move |_| {
                    // If consuming failed, nothing is waiting any more.
                    let _ = sender.send(work(item));
                });
            }
            results.pop_front().and_then(|result| wait(&result))
        })
    })
}

/// Runs `work` on each item when its result is requested.
#[cfg(not(feature = "rayon"))]
pub(super) fn in_order<J, T, R>(
    mut items: impl Iterator<Item = J>,
    work: impl Fn(J) -> T,
    take: impl FnOnce(&mut dyn FnMut() -> Option<T>) -> R,
) -> R {
    take(&mut || items.next().map(&work))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items() {
        let squares = in_order(0..1000u64, |i| i * i, |next| std::iter::from_fn(next).collect::<Vec<_>>());
        assert_eq!(squares, (0..1000).map(|i| i * i).collect::<Vec<_>>());
    }

    #[test]
    fn whoever_takes_may_stop_early() {
        assert_eq!(in_order(0..1000, |i| i + 1, |next| (next(), next())), (Some(1), Some(2)));
    }

    #[cfg(feature = "rayon")]
    #[test]
    fn the_only_thread_of_a_pool_may_take() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let sum = pool.install(|| in_order(0..100, |i| i, |next| std::iter::from_fn(next).sum::<i32>()));
        assert_eq!(sum, 4950);
    }
}
