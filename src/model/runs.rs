//! Tensors that lie in a file as they will lie in another: copied as one run of bytes.

use super::job::Job;

/// Longer padding than this ends a run: it would have to be read to know that it is zeros.
const MOST_PADDING: usize = 4096;

/// How many jobs, the first included, are one run: each begins in the same file where the one before it ends with its
/// padding, and the padding is zeros, as it is to be. `copied` says of the others which are copied as the first is.
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
