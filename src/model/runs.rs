//! Tensors that are laid out the same in the input and the output, and are copied as one run of bytes.

use super::job::Job;

/// Longer padding than this ends a run, because the padding would have to be read to check that it is zeros.
const MOST_PADDING: usize = 4096;

/// Returns the number of jobs, including the first, that form one run: each begins in the same file where the
/// previous one ends with its padding, and the padding is zeros, as it must be. `copied` returns whether another job
/// is copied like the first.
pub(super) fn run_len(jobs: &[Job<'_>], alignment: u32, copied: impl Fn(&Job<'_>) -> bool) -> usize {
    let follows =
        |pair: &[Job<'_>]| copied(&pair[1]) && follows(&pair[0], &pair[1], alignment).unwrap_or(false);
    1 + jobs.windows(2).take_while(|pair| follows(pair)).count()
}

fn follows(job: &Job<'_>, next: &Job<'_>, alignment: u32) -> Option<bool> {
    let (file, its) = (job.origin.source.as_file()?, next.origin.source.as_file()?);
    let bytes = job.origin.byte_len();
    let end = job.origin.offset.checked_add(bytes)?;
    let padding = bytes.checked_next_multiple_of(alignment.into())? - bytes;
    let padding_here = usize::try_from(padding).ok().filter(|&padding| padding <= MOST_PADDING)?;
    if !std::ptr::eq(file, its) || end.checked_add(padding)? != next.origin.offset {
        return Some(false);
    }
    let mut buffer = [1; MOST_PADDING];
    let between = &mut buffer[..padding_here];
    job.origin.source.fill_at(between, end).ok()?;
    Some(between.iter().all(|&byte| byte == 0))
}
