//! Interleaved measuring, and tables.

use std::time::Instant;

/// Number of rounds. Each runs every job once, so that a slow moment of the machine affects all jobs alike.
const ROUNDS: usize = 15;

/// The median seconds of each job, which runs `times` times in a row for one figure.
pub(crate) fn measure(jobs: &mut [Box<dyn FnMut() + '_>], times: usize) -> Vec<f64> {
    let start = Instant::now();
    measure_by(&|| start.elapsed().as_secs_f64(), jobs, times)
}

/// As [`measure`], in processor seconds of this thread: time taken by neighbours does not count.
pub(crate) fn measure_processor(jobs: &mut [Box<dyn FnMut() + '_>], times: usize) -> Vec<f64> {
    measure_by(&processor_seconds, jobs, times)
}

/// The processor seconds of this thread.
#[cfg(target_os = "linux")]
fn processor_seconds() -> f64 {
    type GetTime = unsafe extern "C" fn(i32, *mut [i64; 2]) -> i32;
    const THREAD: i32 = 3;
    thread_local! {
        static GET_TIME: GetTime = {
            let this = libloading::os::unix::Library::this();
            // SAFETY: the type is that of the C library's function, which stays loaded.
            *unsafe { this.get::<GetTime>("clock_gettime") }.expect("the C library has it")
        };
    }
    let mut time = [0; 2];
    // SAFETY: it writes the two numbers.
    let result = GET_TIME.with(|get_time| unsafe { get_time(THREAD, &mut time) });
    assert_eq!(result, 0);
    time[0] as f64 + time[1] as f64 * 1e-9
}

/// Elsewhere only the clock is available.
#[cfg(not(target_os = "linux"))]
fn processor_seconds() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

fn measure_by(now: &dyn Fn() -> f64, jobs: &mut [Box<dyn FnMut() + '_>], times: usize) -> Vec<f64> {
    let mut seconds = vec![Vec::with_capacity(ROUNDS); jobs.len()];
    // Round 0 warms caches and page tables.
    for round in 0..=ROUNDS {
        for (job, seconds) in jobs.iter_mut().zip(&mut seconds) {
            let start = now();
            for _ in 0..times {
                job();
            }
            let taken = (now() - start) / times as f64;
            if round > 0 {
                seconds.push(taken);
            }
        }
    }
    seconds
        .into_iter()
        .map(|mut seconds| {
            seconds.sort_by(f64::total_cmp);
            seconds[seconds.len() / 2]
        })
        .collect()
}

/// Billions per second.
pub(crate) fn rate(count: usize, seconds: f64) -> f64 {
    count as f64 / seconds / 1e9
}

/// A Markdown table that is printed once it is complete.
pub(crate) struct Table {
    title: String,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(title: &str, header: &[&str]) -> Self {
        Table { title: title.to_owned(), rows: vec![header.iter().map(|&cell| cell.to_owned()).collect()] }
    }

    pub(crate) fn row(&mut self, cells: &[String]) {
        self.rows.push(cells.to_vec());
    }

    pub(crate) fn print(&self) {
        println!("\n### {}\n", self.title);
        for (at, row) in self.rows.iter().enumerate() {
            println!("| {} |", row.join(" | "));
            if at == 0 {
                println!("|{}", "---|".repeat(row.len()));
            }
        }
    }
}
